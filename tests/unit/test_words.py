from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from nova.money import Money
from nova.words import count, exact_money, money, percent, span, threshold, when


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
    assert span(length) == words


def test_one_is_singular() -> None:
    assert [count(number, "sale") for number in (0, 1, 2000)] == ["0 sales", "1 sale", "2,000 sales"]


@pytest.mark.parametrize(
    ("amount", "rounded", "exact"),
    [
        ("1120.357887", "$1,120.36", "$1,120.357887"),
        ("-0.000412", "-$0.00041", "-$0.000412"),
        ("5", "$5.00", "$5.00"),
        ("4.9999 EUR", "5.00 EUR", "4.9999 EUR"),
        ("1200 JPY", "1,200 JPY", "1,200 JPY"),
    ],
)
def test_an_amount_is_rounded_for_reading_and_exact_where_a_millionth_decides(
    amount: str, rounded: str, exact: str
) -> None:
    read = Money.parse(amount, "USD")
    assert (money(read), exact_money(read)) == (rounded, exact)


def test_a_threshold_is_said_as_it_was_set_and_a_figure_is_rounded() -> None:
    assert [threshold(value) for value in (150, 99.95, 0.0, -20)] == ["150%", "99.95%", "0%", "-20%"]
    assert [percent(value) for value in (845.8, 87.64, 1628.4, None)] == ["846%", "87.6%", "1,628%", "-"]


def test_an_instant_is_told_to_the_second() -> None:
    assert when(datetime(2026, 3, 1, 9, 0, 1, 999_999, UTC)) == "2026-03-01T09:00:01Z"
