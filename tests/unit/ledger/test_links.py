"""Tracked links: one row each, led nowhere that nobody should go, and marks that only their maker can make."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova.clock import ManualClock
from nova.errors import ConfigInvalid, UsageProblem
from nova.ledger.ledger import Ledger
from nova.ledger.links import LINK, Link, Links, Visit, checked_url
from nova.ledger.store import Store
from nova.link_tokens import link_key, subject_in, token_of
from nova.people import CLICK, subject_of_click, subject_of_email
from workers.links import TrackedLinks

KEY = b"k" * 32
ANN = subject_of_email("ann@example.com")


def test_the_same_link_is_one_and_another_is_another(store: Store) -> None:
    links = Links(store)
    first = links.make("mailer", "https://shop.example/", campaign="may")
    assert Links(store).make("mailer", " https://shop.example/ ", campaign="may").slug == first.slug
    others = {
        links.make("mailer", "https://shop.example/").slug,
        links.make("poster", "https://shop.example/", campaign="may").slug,
        links.make("mailer", "https://shop.example/", content="may").slug,
        links.make("mailer", "https://shop.example/a", campaign="may").slug,
    }
    assert len(others) == 4 and first.slug not in others
    assert Links(store).get(first.slug) == first
    assert links.get("nosuch") is None and links.get("aaaaaaaaaaaa") is None


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "data:text/html,x", "JAVASCRIPT://x/%0aalert(1)", "ftp://x/", "//evil.example/", "/path",
        "https://", "https:///path", "http://user:secret@shop.example/", "https://a b/", "https://x/\nSet-Cookie: a",
        "https://x/\\evil", "file:///etc/passwd", "", "https://[::1", "https://x:99999/", "https://x/" + "a" * 3000,
        "https://\ud800.example/", "vbscript:x", " javascript:alert(1)", "java\tscript:alert(1)",
    ],
)  # fmt: skip
def test_nobody_is_led_where_they_should_not_go(store: Store, url: str) -> None:
    with pytest.raises(UsageProblem):
        Links(store).make("mailer", url)


@given(st.one_of(st.text(max_size=80), st.text(max_size=40).map(lambda text: f"https://shop.example/{text}")))
def test_any_text_is_an_address_in_ascii_or_refused(url: str) -> None:
    try:
        made = checked_url(url)
    except UsageProblem:
        return
    assert made.isascii() and urlsplit(made).scheme in ("http", "https") and urlsplit(made).hostname
    assert checked_url(made) == made


def test_an_address_in_another_alphabet_is_one_a_browser_takes() -> None:
    assert checked_url("https://bücher.example/straße?q=ä") == "https://xn--bcher-kva.example/stra%C3%9Fe?q=%C3%A4"
    assert checked_url("https://x.example/a%20b?q=1%2B1&r=a+b") == "https://x.example/a%20b?q=1%2B1&r=a+b"


def test_tags_are_added_where_the_address_has_none() -> None:
    at = datetime(2026, 11, 21, tzinfo=UTC)
    link = Link("s", "mailer", "https://x.example/p?utm_source=own&a=1#part", "mail", "may sale", "button", at)
    parts = urlsplit(link.target("c1"))
    assert parts.fragment == "part"
    assert parse_qs(parts.query) == {
        "utm_source": ["own"], "a": ["1"], "utm_medium": ["mail"], "utm_campaign": ["may sale"],
        "utm_content": ["button"], LINK: ["s"], CLICK: ["c1"],
    }  # fmt: skip


def test_marks_of_another_link_in_an_address_that_was_copied_give_way() -> None:
    at = datetime(2026, 11, 21, tzinfo=UTC)
    copied = "https://x.example/p?a=1&nova_link=other&b&nova_click=c0#part"
    target = Link("s", "mailer", copied, None, None, None, at).target("c1")
    assert target == "https://x.example/p?a=1&b&utm_source=nova&nova_link=s&nova_click=c1#part"
    assert "nova_click" not in Link("s", "mailer", copied, None, None, None, at).target()


def test_a_click_is_a_touch_of_whom_the_link_was_made_for(store: Store, clock: ManualClock) -> None:
    ledger = Ledger(store)
    link = ledger.links.make("mailer", "https://shop.example/", channel="mail")
    ledger.links.visited(Visit("c1", link, clock.now(), ANN))
    ledger.links.visited(Visit("c2", link, clock.now()))
    assert [one.id for one in ledger.touches.of(subject_of_click("c1"))] == ["click:c1"]
    assert [one.id for one in ledger.touches.of(ANN)] == ["click:c1"]
    ledger.subjects.same(subject_of_click("c2"), ANN)
    assert [one.id for one in ledger.touches.of(ANN)] == ["click:c1", "click:c2"]
    [row] = ledger.links.all("mailer")
    assert (row.clicks, row.last_at) == (2, clock.now())
    assert ledger.links.all("another") == []


def test_a_mark_says_for_whom_without_the_address_and_only_for_its_link(tmp_path: Path) -> None:
    token = token_of(KEY, "slug", ANN)
    assert token is not None and "ann" not in token and subject_in(KEY, "slug", token) == ANN
    assert subject_in(KEY, "other", token) is None
    assert subject_in(b"x" * 32, "slug", token) is None
    assert token_of(KEY, "slug", "click:1") is None and token_of(KEY, "slug", "mail:xyz") is None


@given(st.one_of(st.text(max_size=60), st.from_regex(r"[A-Za-z0-9_-]{0,60}", fullmatch=True)))
def test_any_other_mark_names_nobody(token: str) -> None:
    assert subject_in(KEY, "slug", token) is None


def test_the_key_is_made_once_and_is_its_owners_only(home: Path) -> None:
    key = link_key(home)
    assert link_key(home) == key
    assert (home / "link.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in home.iterdir()] == ["link.key"]
    (home / "link.key").write_bytes(b"short")
    with pytest.raises(ConfigInvalid):
        link_key(home)


def test_a_worker_is_given_the_public_address(store: Store, tmp_path: Path) -> None:
    links = TrackedLinks(Ledger(store), "https://go.example", tmp_path)
    plain = links.address("mailer", "https://shop.example/", "may", None, None)
    marked = links.address("mailer", "https://shop.example/", "may", None, None, ANN)
    assert plain.startswith("https://go.example/l/") and marked.startswith(f"{plain}?s=")
    assert marked == links.address("mailer", "https://shop.example/", "may", None, None, ANN)
