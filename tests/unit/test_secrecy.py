from __future__ import annotations

import pytest

from nova.secrecy import Scrubber

LOOKS = [
    ("charging with sk_live_abc123 now", "charging with *** now"),
    ("whsec_0123", "***"),
    ("Bearer SG.ab-c.de_f", "Bearer ***"),
    ("ghp_" + "a" * 36, "***"),
    ("github_pat_11AA_bb", "***"),
    ("postgres://nova:hunter2@db/nova", "postgres://***@db/nova"),
    ("see https://example.com/a_b", "see https://example.com/a_b"),
]


@pytest.mark.parametrize(("text", "shown"), LOOKS)
def test_what_looks_like_a_secret_is_hidden(text: str, shown: str) -> None:
    assert Scrubber().text(text) == shown
    assert Scrubber().fields({"said": [text]}) == {"said": [shown]}


def test_known_values_are_hidden_the_longer_first_and_short_ones_are_words() -> None:
    scrubber = Scrubber(["s3cret-value", "s3cret-value-and-more", "word", ""])
    assert scrubber.text("a s3cret-value-and-more, s3cret-value, word") == "a ***, ***, word"
    scrubber.add(["another-one"])
    assert scrubber.text("another-one=1") == "***=1"
    assert "another" not in repr(scrubber)


def test_a_key_of_several_lines_is_hidden_line_by_line_too() -> None:
    scrubber = Scrubber(["-----BEGIN KEY-----\nMIIEvQIBADANBg\nqX==\n-----END KEY-----"])
    assert scrubber.text("MIIEvQIBADANBg") == "***"
    assert scrubber.text("line qX==") == "line qX=="


def test_what_stands_under_the_name_of_a_secret_is_hidden() -> None:
    assert Scrubber().fields({"apiKey": "x", "to": "kim", "n": 1, "deep": {"password": 7}}) == {
        "apiKey": "***", "to": "kim", "n": 1, "deep": {"password": "***"},
    }  # fmt: skip
