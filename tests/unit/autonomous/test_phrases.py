from __future__ import annotations

from datetime import timedelta

import pytest

from nova.autonomous import phrases
from nova.money import Money


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (timedelta(seconds=90), "90s"),
        (timedelta(hours=6), "6h"),
        (timedelta(minutes=90), "1.5h"),
        (timedelta(days=7), "7d"),
        (timedelta(days=7, minutes=38), "7.0d"),
    ],
)
def test_spans_of_time_are_short(length: timedelta, words: str) -> None:
    assert phrases.span(length) == words


def test_one_is_singular() -> None:
    assert [phrases.count(number, "sale") for number in (0, 1, 2000)] == ["0 sales", "1 sale", "2,000 sales"]


@pytest.mark.parametrize(("amount", "words"), [("120.357887", "120.36 USD"), ("0.000412", "0.000412 USD")])
def test_less_than_a_unit_is_not_rounded_away(amount: str, words: str) -> None:
    assert phrases.money(Money.parse(amount, "USD")) == words
