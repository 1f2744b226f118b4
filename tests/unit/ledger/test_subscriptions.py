"""What platforms tell of subscriptions, kept once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from nova.ledger.store import Store
from nova.ledger.subscriptions import SubscriptionEvent, Subscriptions
from nova.money import Money

AT = datetime(2026, 3, 1, tzinfo=UTC)


def event(kind: str, amount: int, at: datetime = AT, id: str = "sub_1", **more: str) -> SubscriptionEvent:
    return SubscriptionEvent("stripe", id, at, kind, Money(amount * 1_000_000, "USD"), **more)


def test_a_fact_told_twice_is_kept_once(store: Store) -> None:
    kept = Subscriptions(store)
    kept.put([event("started", 10, subject="stripe:a")])
    kept.put([event("started", 10), event("ended", 0, AT + timedelta(days=3))])
    assert [(one.kind, one.subject) for one in kept.all()] == [("started", "stripe:a"), ("ended", None)]


def test_what_is_told_anew_of_a_fact_holds(store: Store) -> None:
    kept = Subscriptions(store)
    kept.put([event("started", 10)])
    kept.put([event("started", 12, worker="mailer")])
    (one,) = kept.all()
    assert str(one.monthly) == "12.00"
    assert one.worker == "mailer"


def test_facts_come_in_order_also_within_an_instant(store: Store) -> None:
    kept = Subscriptions(store)
    kept.put([event("ended", 0), event("started", 10), event("started", 5, AT - timedelta(days=1), id="sub_2")])
    assert [(one.id, one.kind) for one in kept.all()] == [
        ("sub_1", "started"), ("sub_1", "ended"), ("sub_2", "started"),
    ]  # fmt: skip
    assert kept.all(until=AT) == [event("started", 5, AT - timedelta(days=1), id="sub_2")]
