"""Cash flow and runway, by hand and by their laws."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova.errors import UsageProblem
from nova.ledger.flows import DaySum
from nova.money import Money
from nova.revenue.analytics.cash import Flow, balances, cashflow, declare_opening, flows, runway, runway_of

DAY = date(2026, 4, 1)


def usd(text: str) -> Money:
    return Money.parse(text, "USD")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def test_a_day_by_hand(house: Any) -> None:
    declare_opening(house, "100", "anna")
    house.book("revenue", "50", at("2026-03-30T10:00+02:00"))
    house.book("revenue", "20", at("2026-04-02T10:00+02:00"), id="sale")
    house.book("fee", "0.88", at("2026-04-02T10:00+02:00"))
    house.book("refund", "5", at("2026-04-02T11:00+02:00"))
    house.book("dispute", "2", at("2026-04-02T11:00+02:00"))
    house.book("cost", "7.50", at("2026-04-02T12:00+02:00"))
    house.book("adjustment", "-1", at("2026-04-02T13:00+02:00"), corrects="shop/sale")
    found = cashflow(house, since=at("2026-04-02T00:00+02:00"), until=at("2026-04-04T00:00+02:00"))
    assert found["opening"] == "150.00"
    assert found["rows"][0] == {
        "day": "2026-04-02", "opening": "150.00", "sales": "20.00", "refunds": "5.00", "disputes": "2.00",
        "fees": "0.88", "adjustments": "-1.00", "costs": "7.50", "net": "3.62", "closing": "153.62",
    }  # fmt: skip
    assert [row["day"] for row in found["rows"]] == ["2026-04-02", "2026-04-03"]
    assert found["closing"] == "153.62"


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata", "America/St_Johns"])
def test_days_turn_where_the_operator_lives_also_when_clocks_change(
    open_house: Callable[[str], Any], zone: str
) -> None:
    house = open_house(zone)
    local = house.ledger.store.zone
    for day in (28, 29, 30):
        first = datetime(2026, 3, day, tzinfo=local)
        house.book("revenue", "1", first)
        house.book("revenue", "2", datetime(2026, 3, day, 23, 59, 59, tzinfo=local))
    rows = cashflow(house, since=datetime(2026, 3, 28, tzinfo=local), until=datetime(2026, 3, 31, tzinfo=local))["rows"]
    assert [row["sales"] for row in rows] == ["3.00", "3.00", "3.00"]


def test_what_has_no_rate_is_told_and_left_out(house: Any) -> None:
    house.book("revenue", "10 EUR", at("2026-04-09T10:00Z"))
    house.book("revenue", "1", at("2026-04-09T10:00Z"))
    found = cashflow(house)
    assert found["closing"] == "1.00"
    assert found["unconverted"] == [{"currency": "EUR", "amount": "10.00", "entries": 1}]
    house.ledger.rates.set("EUR", Decimal("1.10"), "anna")
    assert cashflow(house)["closing"] == "12.00"


def test_a_flow_that_would_end_before_it_begins_is_refused(house: Any) -> None:
    with pytest.raises(UsageProblem):
        cashflow(house, since=at("2026-04-09T00:00Z"), until=at("2026-04-01T00:00Z"))


amounts = st.integers(min_value=-(10**12), max_value=10**12)
sums = st.lists(
    st.tuples(
        st.integers(0, 20), st.sampled_from(["revenue", "refund", "fee", "dispute", "adjustment", "cost"]), amounts
    )
)


@given(sums, amounts)
def test_a_day_opens_with_what_the_day_before_closed_with(given_sums: list[tuple[int, str, int]], opening: int) -> None:
    rows = [
        DaySum(DAY + timedelta(days=n), kind, "cost" if kind == "cost" else "revenue", "", 1, micros)
        for n, kind, micros in given_sums
    ]
    found = balances(flows(rows, "USD"), Money(opening, "USD"), DAY + timedelta(days=5), DAY + timedelta(days=20))
    assert all(one.closing == after.opening for one, after in pairwise(found))
    effect = sum(micros * (1 if kind in ("revenue", "adjustment") else -1) for _, kind, micros in given_sums)
    assert found[-1].closing.micros == opening + effect


def lost(amount: str) -> Flow:
    nothing = Money.zero("USD")
    return Flow(nothing, nothing, nothing, nothing, nothing, usd(amount))


def test_the_runway_is_the_balance_over_the_mean_loss() -> None:
    left = runway(usd("100"), [lost("3"), lost("5"), lost("4")])
    assert left.days_left == 25
    assert left.burn == usd("4")


def test_without_a_loss_there_is_no_runway_and_without_a_balance_none_is_left() -> None:
    assert runway(usd("100"), [lost("-3")]).days_left is None
    assert runway(usd("100"), []).days_left is None
    assert runway(usd("-1"), [lost("3")]).days_left == 0


def test_the_runway_counts_whole_days_only_and_names_the_day(house: Any) -> None:
    declare_opening(house, "90", "anna")
    house.book("cost", "20", at("2026-04-08T10:00+02:00"))
    house.book("cost", "50", at("2026-04-10T10:00+02:00"))
    found = runway_of(house)
    assert (found["balance"], found["days"], found["daily_burn"]) == ("20.00", 2, "10.00")
    assert (found["days_left"], found["empty_on"]) == (2, "2026-04-12")
