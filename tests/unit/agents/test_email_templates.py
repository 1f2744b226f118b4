from __future__ import annotations

import pytest

from nova.errors import UsageProblem
from workers.agents import templates
from workers.agents.email_templates import Source, check, rendered, tracked

HI = Source(
    "Hi {{ name }}",
    "Dear {{ name }},\n{% if vip %}best {% endif %}regards",
    "<p title='{{ name }}'>Dear {{ name }}</p>{% for one in wares %}<i>{{ one }}</i>{% endfor %}",
)


def fill_in(content: str | None, values: dict[str, str]) -> str | None:
    """As SendGrid does: one tag after the other."""
    for tag, value in values.items():
        content = content and content.replace(tag, value)
    return content


def received(source: Source, **values: object) -> tuple[str | None, ...]:
    made = rendered(source, values)
    return tuple(fill_in(part, dict(made.values)) for part in made.content)


def test_everybody_gets_what_the_template_says_escaped_in_html_alone() -> None:
    assert received(HI, name="Ann <b>", vip=False, wares=["a&b", "c"]) == (
        "Hi Ann <b>",
        "Dear Ann <b>,\nregards",
        "<p title='Ann &lt;b&gt;'>Dear Ann &lt;b&gt;</p><i>a&amp;b</i><i>c</i>",
    )


def test_mails_that_differ_only_in_what_is_put_in_are_one_request() -> None:
    ann, ben, vip = (
        rendered(HI, {"name": name, "vip": vip, "wares": ["w"]})
        for name, vip in (("Ann", False), ("Ben", False), ("Cid", True))
    )
    assert ann.content == ben.content != vip.content
    assert "Ann" in ann.values.values() and "Ben" in ben.values.values()


@pytest.mark.parametrize(
    ("text", "values", "gets"),
    [
        ("{% set x %}Hi {{ name }}{% endset %}{{ x }}", {"name": "Ann"}, "Hi Ann"),
        ("{% set x %}Hi {{ name }}{% endset %}{{ x | upper }}", {"name": "Ann"}, "HI ANN"),
        ("{% filter upper %}Hi {{ name }}{% endfilter %}", {"name": "Ann"}, "HI ANN"),
        ("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(name) }}", {"name": "Ann"}, "<Ann>"),
        ("{{ name }}", {"name": "[%nv0%] and [%nv1%]"}, "[%nv0%] and [%nv1%]"),
        ("{{ name }}", {"name": "x" * 20_000}, "x" * 20_000),
        ("{{ name | truncate(5, True, '...', 0) }}|{{ n + 1 }}", {"name": "Annabella", "n": 1}, "An...|2"),
    ],
)
def test_what_tags_cannot_carry_is_sent_as_it_is(text: str, values: dict[str, object], gets: str) -> None:
    assert received(Source("s", text), **values)[1] == gets


def test_a_missing_name_a_wrong_template_and_reaching_out_of_it_are_told() -> None:
    for text, words in (
        ("{{ nmae }}", "'nmae' is undefined"),
        ("{% if %}", "the template is wrong"),
        ("{{ ''.__class__.__mro__ }}", "cannot be filled in"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
    ):
        with pytest.raises(UsageProblem, match=words):
            rendered(Source("s", text), {"name": "Ann"})
    with pytest.raises(UsageProblem, match="template is wrong"):
        check(Source("s", None, "{{ }"))
    with pytest.raises(UsageProblem, match="one line"):
        rendered(Source("Hi {{ name }}", "x"), {"name": "Ann\nBcc: x"})


def test_addresses_in_a_template_become_links_and_those_put_together_do_not() -> None:
    source = tracked(
        Source(
            "See https://a.example", "Go to https://a.example/x?y=1. Or https://b.example/{{ id }}",
            '<a href="https://a.example/?x=1&amp;y=2">a</a><img src="https://i.example/1.png">',
        )
    )  # fmt: skip
    followed: list[str] = []
    values = {"id": 7, "link": lambda url: followed.append(url) or f"L{len(followed)}&"}
    made = rendered(source, values)
    assert made.content[0] == "See https://a.example"
    followed.clear()
    assert templates.rendered(source.text or "", values) == "Go to L1&. Or https://b.example/7"
    assert "https://a.example/?x=1&y=2" not in followed
    assert fill_in(made.content[2], dict(made.values)) is not None
    assert '<img src="https://i.example/1.png">' in (made.content[2] or "")
