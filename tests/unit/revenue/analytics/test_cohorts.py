"""Cohorts of payments and of subscriptions."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import insert

from nova.clock import to_us
from nova.errors import UsageProblem
from nova.ledger.schema_revenue import credits, subjects
from nova.ledger.subscriptions import SubscriptionEvent
from nova.money import Money
from nova.revenue.analytics.cohorts import Paid, cohort_table, cohorts

JAN, FEB, MAR = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)


def paid(who: str, month: date, units: int, pays: bool = True) -> Paid:
    return Paid(who, month, Money(units * 1_000_000, "USD"), pays)


def test_a_cohort_by_hand() -> None:
    rows = [
        paid("a", JAN, 10),
        paid("b", JAN, 20),
        paid("a", MAR, 10),
        paid("b", FEB, -5, pays=False),
        paid("c", MAR, 7),
    ]
    first, second = cohorts(rows, MAR, "USD")
    assert (first.first, first.customers, first.retained) == (JAN, 2, (2, 0, 1))
    assert [str(amount) for amount in first.revenue] == ["30.00", "-5.00", "10.00"]
    assert (second.first, second.retained) == (MAR, (1,))


def test_who_never_paid_is_in_none() -> None:
    assert cohorts([paid("a", JAN, -5, pays=False)], MAR, "USD") == []


def test_payments_are_brought_together_by_the_hash_of_who_paid(house: Any) -> None:
    for number, (day, subject) in enumerate([("01-15", "x"), ("02-15", "alias of x"), ("02-20", "y")]):
        when = datetime.fromisoformat(f"2026-{day}T12:00").replace(tzinfo=UTC)
        house.book("revenue", "10", when, object=f"pi_{number}")
        house.book("fee", "1", when, object=f"pi_{number}")
        row = {"source": "shop", "object": f"pi_{number}", "at_us": to_us(when), "subject": subject}
        house.ledger.apply(
            lambda conn, row=row: conn.execute(insert(credits), {**row, "evidence": "{}", "stale": False})
        )
    alias = {"alias": "alias of x", "subject": "x", "at_us": 0}
    house.ledger.apply(lambda conn: conn.execute(insert(subjects), alias))
    found = cohort_table(house)
    assert found["of"] == "payment"
    assert [(row["month"], row["customers"], row["retained"]) for row in found["cohorts"]] == [
        ("2026-01", 1, [1, 1, 0, 0]), ("2026-02", 1, [1, 0, 0]),
    ]  # fmt: skip
    assert found["cohorts"][0]["revenue"] == ["9.00", "9.00", "0.00", "0.00"]


def test_subscriptions_stay_until_they_end(house: Any) -> None:
    def event(id: str, day: str, kind: str, units: int) -> SubscriptionEvent:
        at = datetime.fromisoformat(f"2026-{day}T12:00").replace(tzinfo=UTC)
        return SubscriptionEvent("stripe", id, at, kind, Money(units * 1_000_000, "USD"), f"stripe:{id}")

    house.ledger.subscriptions.put(
        [
            event("a", "02-03", "started", 10), event("b", "02-04", "started", 20), event("b", "03-04", "ended", 0),
            event("c", "03-04", "started", 5), event("c", "03-09", "ended", 0),
        ]
    )  # fmt: skip
    found = cohort_table(house)
    assert found["of"] == "subscription"
    assert [(row["month"], row["retained"], row["revenue"]) for row in found["cohorts"]] == [
        ("2026-02", [2, 1, 1], ["30.00", "10.00", "10.00"]),
        ("2026-03", [1, 0], ["0.00", "0.00"]),
    ]


def test_a_strange_kind_is_refused(house: Any) -> None:
    with pytest.raises(UsageProblem):
        cohort_table(house, of="product")
