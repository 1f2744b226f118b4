"""What platforms told of subscriptions: each fact once, however often it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Row, select, text

from nova.clock import from_us, to_us
from nova.ledger.schema_revenue import subscription_events
from nova.money import Money

if TYPE_CHECKING:
    from typing import Any

    from nova.ledger.store import Store

KINDS = ("started", "changed", "paused", "resumed", "cancelled", "ended")
# What a platform tells anew of a fact it told before holds from then on.
_PUT = text("""
    INSERT INTO subscription_events (source, id, at_us, kind, subject, worker, product, monthly_micros, currency)
    VALUES (:source, :id, :at, :kind, :subject, :worker, :product, :micros, :currency)
    ON CONFLICT (source, id, at_us, kind) DO UPDATE SET
        subject = coalesce(excluded.subject, subject), worker = coalesce(excluded.worker, worker),
        product = coalesce(excluded.product, product), monthly_micros = excluded.monthly_micros,
        currency = excluded.currency
""")


@dataclass(frozen=True, slots=True)
class SubscriptionEvent:
    """`monthly` is what it brings a month from `at` on. `subject` is a hash of who subscribes."""

    source: str
    id: str
    at: datetime
    kind: str
    monthly: Money
    subject: str | None = None
    worker: str | None = None
    product: str | None = None


def put(conn: Connection, events: Sequence[SubscriptionEvent]) -> None:
    """Again is harmless."""
    rows = [
        {
            "source": one.source, "id": one.id, "at": to_us(one.at), "kind": one.kind, "subject": one.subject,
            "worker": one.worker, "product": one.product, "micros": one.monthly.micros,
            "currency": one.monthly.currency,
        }
        for one in events
    ]  # fmt: skip
    if rows:
        conn.execute(_PUT, rows)


def read(conn: Connection, until: datetime | None = None) -> list[SubscriptionEvent]:
    """Before `until`, one subscription after the other, each in order."""
    table = subscription_events
    query = select(table).order_by(table.c.source, table.c.id, table.c.at_us)
    if until is not None:
        query = query.where(table.c.at_us < to_us(until))
    found = [_event(row) for row in conn.execute(query)]
    return sorted(found, key=lambda one: (one.source, one.id, one.at, KINDS.index(one.kind)))


class Subscriptions:
    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, events: Sequence[SubscriptionEvent]) -> None:
        self._store.apply(lambda conn: put(conn, events))

    def all(self, until: datetime | None = None) -> list[SubscriptionEvent]:
        with self._store.read() as conn:
            return read(conn, until)


def _event(row: Row[Any]) -> SubscriptionEvent:
    return SubscriptionEvent(
        source=row.source,
        id=row.id,
        at=from_us(row.at_us),
        kind=row.kind,
        monthly=Money(row.monthly_micros, row.currency),
        subject=row.subject,
        worker=row.worker,
        product=row.product,
    )
