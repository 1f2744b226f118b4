from __future__ import annotations

import time

import pytest

from nova.errors import UsageProblem
from platforms.web_extract import Row, Selector, extract
from platforms.web_tree import MOST_ELEMENTS, PageTooLarge

PAGE = """
<html><head><base href="/shop/"></head><body>
<div class="item" id="i1"><b>Blue  <i>pen</i></b><span class=price>1.50</span><a href="pen?x=1">more</a></div>
<div class="item" id="i2"><b>Ink<br>black</b><a href="https://other.example/ink">more</a></div>
<div class="item"></div>
</body></html>
"""


def rows(page: str | bytes, row: str | None, charset: str | None = None, **fields: str) -> list[Row]:
    body = page.encode() if isinstance(page, str) else page
    selectors = {name: Selector.parse(text) for name, text in fields.items()}
    return extract(body, charset, "https://example.com/a/b", row, selectors)


def test_each_element_of_the_row_selector_is_a_row() -> None:
    assert rows(PAGE, ".item", name="b", price=".price", id="@id") == [
        {"name": "Blue pen", "price": "1.50", "id": "i1"},
        {"name": "Ink black", "price": None, "id": "i2"},
    ]


def test_links_are_absolute() -> None:
    found = rows(PAGE, ".item", link="a@href")
    assert [row["link"] for row in found] == ["https://example.com/shop/pen?x=1", "https://other.example/ink"]


def test_without_a_row_selector_the_page_is_one_row() -> None:
    assert rows(PAGE, None, first="b", id=".item@id") == [{"first": "Blue pen", "id": "i1"}]


def test_the_row_itself_can_be_the_value() -> None:
    assert rows("<li>a</li><li>b</li>", "li", text=".") == [{"text": "a"}, {"text": "b"}]


def test_several_classes_are_one_text() -> None:
    assert rows('<p class="a b">x</p>', "p", kind="@class") == [{"kind": "a b"}]


@pytest.mark.parametrize(
    ("body", "charset"),
    [
        ("<p>Größe 5 €</p>".encode(), None),
        ("<p>Größe 5 €</p>".encode("cp1252"), "windows-1252"),
        ('<meta charset="iso-8859-15"><p>Größe 5 €</p>'.encode("iso-8859-15"), None),
        ("<p>Größe 5 €</p>".encode("utf-16"), "utf-8"),
        ("<p>Größe 5 €</p>".encode(), "no-such-charset"),
        ('<?xml version="1.0" encoding="utf-8"?><p>Größe 5 €</p>'.encode(), None),
    ],
)
def test_the_character_set_is_found(body: bytes, charset: str | None) -> None:
    assert rows(body, "p", text=".", charset=charset) == [{"text": "Größe 5 €"}]


@pytest.mark.parametrize("body", [b"", b"\0\1\2\xff", b"just words", b"https://example.com/x", b"<" * 1000])
def test_what_is_no_page_has_no_rows(body: bytes) -> None:
    assert rows(body, "p", text=".") == []


@pytest.mark.parametrize(
    ("text", "css", "attribute"),
    [
        (".a", ".a", None),
        (" a @href ", "a", "href"),
        ("@data-id", "", "data-id"),
        (".", "", None),
        ('a[href="x@y"]', 'a[href="x@y"]', None),
        ('a[href="x@y"]@title', 'a[href="x@y"]', "title"),
    ],
)
def test_a_selector_may_name_an_attribute(text: str, css: str, attribute: str | None) -> None:
    assert Selector.parse(text) == Selector(css, attribute)


@pytest.mark.parametrize("text", ["", "a[", "..x", ":no-such-thing(", "p >"])
def test_what_is_no_css_is_refused(text: str) -> None:
    with pytest.raises(UsageProblem):
        Selector.parse(text)


def test_a_list_has_every_value() -> None:
    html = '<li>Pen <i class=t>a</i> <i class=t>b</i> <a href="/1">x</a><a>y</a></li><li></li>'
    assert rows(html, "li", tags=".t[]", links="a@href[]") == [
        {"tags": ["a", "b"], "links": ["https://example.com/1"]},
    ]


def test_a_page_of_too_many_elements_is_refused() -> None:
    with pytest.raises(PageTooLarge, match="more than 300,000 elements"):
        rows("<i>" * (MOST_ELEMENTS + 1), None, text=".")


def test_what_is_nested_too_deep_is_text_of_what_it_stands_in() -> None:
    deep = "<div class=d>" * 5_000 + "end" + "</div>" * 5_000 + "<b>after</b>"
    found = rows(deep, ".d", text=".")
    assert 200 < len(found) < 300
    assert found[-1] == {"text": "end"}
    assert rows(deep, None, b="body > b") == [{"b": "after"}]


def test_line_breaks_without_number_take_no_more_than_linear_time() -> None:
    began = time.process_time()
    assert rows("<br>" * 100_000 + "<b>x</b>", None, b="b") == [{"b": "x"}]
    assert time.process_time() - began < 5.0  # moved one by one they took minutes


def test_an_attribute_may_be_named_in_braces() -> None:
    assert rows("<p {http://x}a=1 class='b c'>t</p>", None, t="p.c", c="p@class") == [{"t": "t", "c": "b c"}]


@pytest.mark.parametrize("charset", ["punycode", "Punycode!", "unicode_escape", "utf-7", "idna", "no such"])
def test_what_is_no_charset_of_the_web_is_not_decoded_by(charset: str) -> None:
    declared = f'<meta charset="{charset}"><b>a-b\\u0041+AEE-é</b>'
    assert rows(declared, None, b="b") == rows(declared, None, charset=charset, b="b") == [{"b": "a-b\\u0041+AEE-é"}]
