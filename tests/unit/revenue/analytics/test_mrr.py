"""Recurring revenue: its movements by hand, and that they add up."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nova.ledger.cursors import Cursor
from nova.ledger.subscriptions import SubscriptionEvent
from nova.money import Money
from nova.revenue.analytics.mrr import Change, Month, lifetime, movements
from nova.revenue.analytics.recurring import recurring
from nova.revenue.subscriptions import cursor_of

UNTIL = date(2026, 4, 10)


def usd(units: int) -> Money:
    return Money(units * 1_000_000, "USD")


def change(day: str, units: int, who: str = "anna", sub: str | None = None, *, paused: bool = False) -> Change:
    return Change(who, sub or f"of {who}", date.fromisoformat(day), usd(units), paused or units > 0)


def moved(month: Month) -> dict[str, int]:
    names = ("start", "new", "expansion", "contraction", "churned", "reactivated", "end")
    found = {name: getattr(month, name).micros // 1_000_000 for name in names}
    return {name: units for name, units in found.items() if units}


def test_each_movement_by_hand() -> None:
    found = movements(
        [
            change("2026-01-05", 10), change("2026-02-05", 25), change("2026-03-05", 20),
            change("2026-03-20", 0), change("2026-04-02", 30),
        ],
        UNTIL, "USD",
    )  # fmt: skip
    assert [moved(month) for month in found] == [
        {"new": 10, "end": 10},
        {"start": 10, "expansion": 15, "end": 25},
        {"start": 25, "contraction": 5, "churned": 20},
        {"reactivated": 30, "end": 30},
    ]
    assert [(month.came, month.lost, month.customers_end) for month in found] == [
        (1, 0, 1), (0, 0, 1), (0, 1, 0), (1, 0, 1),
    ]  # fmt: skip
    assert (found[2].gross_churn, found[2].net_churn, found[2].logo_churn) == (100, 100, 100)
    assert found[3].gross_churn is None


def test_a_plan_changed_by_ending_one_and_starting_another_that_day_loses_nobody() -> None:
    found = movements(
        [change("2026-03-01", 10, sub="a"), change("2026-04-01", 0, sub="a"), change("2026-04-01", 15, sub="b")],
        UNTIL, "USD",
    )  # fmt: skip
    assert moved(found[1]) == {"start": 10, "expansion": 5, "end": 15}
    assert found[1].lost == 0


def test_who_pauses_brings_nothing_and_is_not_lost() -> None:
    found = movements(
        [change("2026-02-01", 10), change("2026-03-01", 0, paused=True), change("2026-04-01", 10)], UNTIL, "USD"
    )
    assert [moved(month) for month in found[1:]] == [{"start": 10, "contraction": 10}, {"expansion": 10, "end": 10}]
    assert [month.customers_end for month in found] == [1, 1, 1]


def test_a_trial_is_no_customer_until_it_pays() -> None:
    found = movements([change("2026-03-01", 0), change("2026-04-01", 10)], UNTIL, "USD")
    assert [moved(month) for month in found] == [{"new": 10, "end": 10}]


subscriptions = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 99), st.integers(0, 50), st.booleans()), max_size=30
)


@given(subscriptions)
def test_the_movements_of_every_month_add_up(rows: list[tuple[int, int, int, int, bool]]) -> None:
    changes = [
        Change(
            f"c{who}",
            f"{who}.{sub}",
            date.fromordinal(date(2026, 1, 1).toordinal() + day),
            usd(units),
            kept or units > 0,
        )
        for who, sub, day, units, kept in rows
    ]
    found = movements(changes, UNTIL, "USD")
    assert all(one.end == after.start for one, after in pairwise(found))
    last: dict[str, Money] = {one.subscription: one.monthly for one in sorted(changes, key=lambda one: one.day)}
    if found:
        assert found[-1].end == Money.total(last.values(), "USD")
        assert all(0 <= month.customers_end <= 4 for month in found)


def month(customers: int, lost: int, units: int) -> Month:
    nothing = usd(0)
    return Month(date(2026, 1, 1), usd(units), nothing, nothing, nothing, nothing, nothing, customers, 0, lost)


def test_lifetime_value_is_arpa_times_margin_over_churn() -> None:
    found = lifetime([month(40, 2, 800), month(40, 0, 800)], Decimal("0.8"))
    assert found.churn == Decimal("2.5")
    assert found.value == usd(640)  # 20 x 0.8 / 0.025


def test_without_churn_nothing_says_how_long_a_customer_stays() -> None:
    assert lifetime([month(40, 0, 800)], Decimal(1)).value is None
    assert lifetime([], Decimal(1)).value is None


def event(id: str, day: str, kind: str, amount: str, subject: str | None = None) -> SubscriptionEvent:
    at = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=UTC)
    return SubscriptionEvent("stripe", id, at, kind, Money.parse(amount, "USD"), subject, worker="mailer")


def test_the_figures_of_a_ledger(house: Any) -> None:
    house.ledger.subscriptions.put(
        [
            event("a", "2026-01-10", "started", "10", "stripe:anna"),
            event("b", "2026-02-10", "started", "20 EUR", "stripe:ben"),
            event("c", "2026-02-10", "started", "5", "mail:anna"),
            event("a", "2026-03-10", "ended", "0"),
            event("c", "2026-03-20", "cancelled", "5"),
            event("d", "2026-03-20", "started", "7 GBP"),
            event("b", "2026-05-10", "ended", "0"),
        ]
    )
    house.ledger.rates.set("EUR", Decimal("1.5"), "anna")
    house.ledger.subjects.same("stripe:anna", "mail:anna")
    house.ledger.cursors.failed(cursor_of("gumroad"), "closed")
    found = recurring(house)
    assert (found["mrr"], found["customers"], found["arpa"]) == ("35.00", 2, "17.50")
    assert found["unconverted"] == ["GBP"]
    assert found["problems"] == [{"source": "gumroad", "error": "closed"}]
    assert [row["end"] for row in found["months"]] == ["10.00", "45.00", "35.00", "35.00"]
    assert found["months"][2]["contraction"] == "10.00"
    assert found["lifetime_value"] is None
    assert recurring(house, worker="nobody")["months"] == []
    assert isinstance(house.ledger.cursors.get("gumroad"), Cursor)


def test_the_margin_is_the_ledgers_where_none_is_given(house: Any) -> None:
    house.ledger.subscriptions.put(
        [
            event("a", "2026-02-10", "started", "10", "anna"), event("b", "2026-02-10", "started", "10", "ben"),
            event("b", "2026-03-20", "ended", "0"),
        ]
    )  # fmt: skip
    house.book("revenue", "100", datetime(2026, 3, 5, tzinfo=UTC))
    house.book("cost", "20", datetime(2026, 3, 5, tzinfo=UTC))
    found = recurring(house)
    assert found["lifetime"]["margin_percent"] == 80
    assert found["lifetime_value"] == "16.00"  # ARPA 10 x 0.8 / 50%: one of the two that March began with
    assert recurring(house, margin=Decimal("0.5"))["lifetime_value"] == "10.00"
    house.book("cost", "60", datetime(2026, 3, 5, tzinfo=UTC), worker="other")
    assert recurring(house)["lifetime"]["margin_percent"] == 20
    assert recurring(house, worker="mailer")["lifetime"]["margin_percent"] == 80
