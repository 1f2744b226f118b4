"""How long X finds a text: the rules that X publishes with twitter-text."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platforms.base import BadAnswer, InvalidRequest
from platforms.twitter_rules import check_post, post_id, username
from platforms.twitter_text import links_in, weighted_length
from platforms.twitter_types import page_of, post_of, same_text, usage_of, user_of
from platforms.twitter_wire import understood

FIELDS = st.sampled_from(
    [
        "id",
        "text",
        "entities",
        "urls",
        "url",
        "data",
        "meta",
        "includes",
        "users",
        "username",
        "public_metrics",
        "created_at",
        "referenced_tweets",
    ]
)
LETTERS = st.text(st.characters(categories=["L", "N", "S", "Zs"]), max_size=60)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("", 0), ("Hello, world! 👋", 16), ("café", 4), ("cafe\u0301", 4), ("日本語", 6), ("한국", 4), ("привет", 6),
        ("\u200d‐ ‑ – — “ ” ‟", 14), ("€", 2), ("→", 2), ("©", 1), ("™", 2),
        ("👾", 2), ("🙋🏽", 2), ("👨‍🎤", 2), ("👨‍👩‍👧‍👦", 2), ("❤️", 2), ("❤", 2), ("1️⃣", 2), ("#️⃣", 2), ("🇩🇪", 2),
        ("🏴󠁧󠁢󠁥󠁮󠁧󠁿", 2), ("©️", 2), ("😷👾😡🔥💩", 10), ("🏳️‍🌈", 2),
        ("https://example.com", 23), ("http://t.co", 23), ("example.com", 23), ("Look: example.com/a?b=c!", 30),
        ("https://example.com/very/long/path" + "x" * 300, 23), ("a https://example.com, b", 28),
        ("(see example.org/a_(b))", 29), ("中文example.com", 27), ("https://例え.jp/x", 23),
        ("пример.рф", 9), ("https://пример.рф", 23),
        ("file.txt", 8), ("0.5", 3), ("e.g.", 4), ("me@example.com", 14), ("#example.com", 12), ("@example.com", 12),
        ("http://localhost:80", 19), ("https://foo", 11), ("co.uk-", 6), ("-example.com", 12), ("example.com:80/x", 23),
        ("https://t.co/abc?x=1 https://t.co/abc", 47), ("https://" + "a" * 64 + ".com", 76),
        ("two.example.com.au and x.io", 51),
    ],
)  # fmt: skip
def test_a_text_is_as_long_as_x_counts_it(text: str, length: int) -> None:
    assert weighted_length(text) == length


@given(LETTERS)
def test_however_a_letter_is_composed_it_counts_the_same(text: str) -> None:
    assert weighted_length(unicodedata.normalize("NFD", text)) == weighted_length(text)


@given(LETTERS)
def test_what_is_no_link_counts_once_or_twice_a_sign(text: str) -> None:
    length = weighted_length(text)
    assert length <= 2 * len(unicodedata.normalize("NFC", text))
    assert weighted_length(f"{text} and") == length + 4


@given(st.text("abc./:-_@#?&()é中😀 \n", max_size=80))
def test_links_are_part_of_the_text_and_count_23_each(text: str) -> None:
    links = links_in(text)
    assert all(link in unicodedata.normalize("NFC", text) for link in links)
    assert weighted_length(text) >= 23 * len(links)


def test_a_long_text_is_counted_in_time() -> None:
    """Also where every sign could begin a link."""
    for text in ("中." * 20_000, "a.b-" * 10_000, "https://example.com/" + "((" * 20_000):
        began = time.process_time()
        assert weighted_length(text) > 280
        assert time.process_time() - began < 2


@pytest.mark.parametrize("text", ["x" * 281, "日" * 141, "😀" * 140 + "x", " ", "a\ufffe"])
def test_what_x_would_refuse_is_refused_here(text: str) -> None:
    with pytest.raises(InvalidRequest):
        check_post(text)


def test_what_fits_exactly_goes() -> None:
    assert check_post("x" * 256 + " https://example.com/" + "y" * 1000) == 280


@pytest.mark.parametrize(
    "told", ["17", "https://x.com/ann/status/17", "https://twitter.com/i/web/status/17?s=20", " 17 "]
)
def test_a_post_is_told_by_its_id_or_its_address(told: str) -> None:
    assert post_id(told) == "17"


@pytest.mark.parametrize("told", ["", "x", "17/../../users", "https://example.com/status/17", "-1"])
def test_anything_else_is_no_post(told: str) -> None:
    with pytest.raises(InvalidRequest):
        post_id(told)
    with pytest.raises(InvalidRequest):
        username("../me")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("see https://Example.com/a/", "see http://Example.com/a"),
        ("a & b", "a &amp; b"),
        ("thanks", "@ann @bob thanks"),
        ("two  words\n", "two words"),
    ],
)
def test_the_same_post_is_known_although_x_writes_it_otherwise(ours: str, theirs: str) -> None:
    assert same_text(ours, theirs) and not same_text(f"{ours} more", theirs)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=5),
    max_leaves=12,
)


@given(JSON)
def test_whatever_an_answer_holds_it_is_read_or_is_none(body: object) -> None:
    for make in (post_of, user_of, page_of, usage_of):
        try:
            understood(make, body)
        except BadAnswer:
            continue


def test_both_names_that_x_has_for_things_are_read() -> None:
    old = {"id": "1", "text": "t", "referenced_tweets": [{"type": "replied_to", "id": "9"}]}
    new = {"id": "1", "text": "t", "referenced_posts": [{"type": "replied_to", "id": "9"}]}
    assert post_of(old).replied_to == post_of(new).replied_to == "9"
