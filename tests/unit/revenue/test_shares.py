from __future__ import annotations

import calendar
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova.money import MAX_MICROS, Money, digits
from nova.revenue.shares import share_of_day, shares_among

CURRENCIES = st.sampled_from(["USD", "EUR", "JPY", "KWD"])
BILLS = st.builds(Money, st.integers(1, MAX_MICROS), CURRENCIES)
DAYS = st.dates(date(2000, 1, 1), date(2199, 12, 31))
WEIGHTS = st.dictionaries(st.text(min_size=1, max_size=8), st.integers(-(10**12), 10**15), max_size=12)


def usd(amount: str) -> Money:
    return Money.parse(amount, "USD")


@given(BILLS, DAYS)
def test_the_days_of_a_month_add_up_to_the_bill(bill: Money, day: date) -> None:
    days = calendar.monthrange(day.year, day.month)[1]
    parts = [share_of_day(bill, "month", day.replace(day=number)) for number in range(1, days + 1)]
    assert Money.total(parts, bill.currency) == bill
    unit = 10 ** (6 - digits(bill.currency))
    assert max(parts).micros - min(parts).micros <= unit


@given(BILLS, st.integers(2000, 2199))
def test_the_days_of_a_year_add_up_to_the_bill(bill: Money, year: int) -> None:
    first = date(year, 1, 1)
    days = [first + timedelta(days=number) for number in range(366 if calendar.isleap(year) else 365)]
    assert Money.total((share_of_day(bill, "year", day) for day in days), bill.currency) == bill


@given(BILLS, WEIGHTS)
def test_what_everyone_bears_adds_up_to_the_bill(amount: Money, weights: dict[str, int]) -> None:
    shares = shares_among(amount, weights)
    assert Money.total(shares.values(), amount.currency) == amount
    assert all(share.micros >= 0 for share in shares.values())
    assert set(shares) == (set(weights) or {None})


@given(BILLS, WEIGHTS, st.randoms(use_true_random=False))
def test_the_order_of_those_who_share_does_not_matter(amount: Money, weights: dict[str, int], random: object) -> None:
    names = list(weights)
    random.shuffle(names)  # type: ignore[attr-defined]
    assert shares_among(amount, {name: weights[name] for name in names}) == shares_among(amount, weights)


@given(BILLS, WEIGHTS.filter(lambda weights: any(weight > 0 for weight in weights.values())))
def test_a_share_is_within_a_millionth_of_its_proportion(amount: Money, weights: dict[str, int]) -> None:
    total = sum(max(0, weight) for weight in weights.values())
    for name, share in shares_among(amount, weights).items():
        exact = amount.micros * max(0, weights[name or ""])
        assert abs(share.micros * total - exact) < total


def test_a_day_is_in_whole_cents_where_every_day_gets_one() -> None:
    days = [share_of_day(usd("49"), "month", date(2026, 11, number)) for number in range(1, 31)]
    assert sorted({str(day) for day in days}) == ["1.63", "1.64"]
    assert share_of_day(usd("0.10"), "month", date(2026, 11, 1)) == usd("0.003333")
    assert share_of_day(usd("49"), "day", date(2026, 11, 1)) == usd("49")


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ({"a": 3, "b": 1}, {"a": "0.75", "b": "0.25"}),
        ({"a": 0, "b": 0}, {"a": "0.50", "b": "0.50"}),
        ({"a": -5, "b": 0}, {"a": "0.50", "b": "0.50"}),
        ({"a": -5, "b": 1}, {"a": "0.00", "b": "1.00"}),
        ({"a": 1, "b": 1, "c": 1}, {"a": "0.333334", "b": "0.333333", "c": "0.333333"}),
        ({}, {None: "1.00"}),
    ],
)
def test_who_has_nothing_to_go_by_shares_evenly_and_nobody_leaves_it_open(
    weights: dict[str, int], shares: dict[str | None, str]
) -> None:
    assert {name: str(share) for name, share in shares_among(usd("1"), weights).items()} == shares
