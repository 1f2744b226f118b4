"""One sale or one cost, booked by hand."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Connection

from nova.clock import iso
from nova.errors import LedgerConflict, UsageProblem
from nova.ledger import audit
from nova.ledger.entries import Entry, StoredEntry, find_entries, record_entries
from nova.money import Money

if TYPE_CHECKING:
    from nova.ledger.store import Store
    from nova.revenue.office import Office


def record_revenue(
    nova: Office,
    worker: str,
    amount: str | Money,
    *,
    id: str | None = None,
    source: str = "manual",
    at: datetime | None = None,
    note: str | None = None,
    by: str = "operator",
) -> dict[str, Any]:
    """Books a sale of `worker` and returns it, with `new` False where the same was booked under the id before.

    Without an id it gets one of its own. Raises UsageProblem, and LedgerConflict where the id has another content.
    """
    return _record(nova, "revenue", worker, amount, id, source, at, note, by)


def record_cost(
    nova: Office,
    worker: str,
    amount: str | Money,
    *,
    id: str | None = None,
    source: str = "manual",
    at: datetime | None = None,
    note: str | None = None,
    by: str = "operator",
) -> dict[str, Any]:
    """Money that is gone: booked whatever the budgets say, and counted in them. As `record_revenue` otherwise."""
    return _record(nova, "cost", worker, amount, id, source, at, note, by)


def _record(
    nova: Office,
    kind: Literal["revenue", "cost"],
    worker: str,
    amount: str | Money,
    id: str | None,
    source: str,
    at: datetime | None,
    note: str | None,
    by: str,
) -> dict[str, Any]:
    store = nova.ledger.store
    money = Money.of(amount, store.currency)
    if money.micros <= 0:
        raise UsageProblem(
            f"the amount must be more than zero, not {money}",
            hint="correct what is booked with `nova ledger adjust ENTRY AMOUNT --note T`",
        )
    entry = Entry(
        id=id or uuid.uuid4().hex,
        source=source,
        kind=kind,
        amount=money,
        at=at or nova.clock.now(),
        worker=worker,
        model="manual",
        evidence=f"by {by}",
        note=note,
    )
    return nova.ledger.apply(lambda conn: _book(conn, store, entry, by, dated=at is not None))


def _book(conn: Connection, store: Store, entry: Entry, by: str, *, dated: bool) -> dict[str, Any]:
    key = (entry.source, entry.id)
    stored = find_entries(conn, store, [key]).get(key)
    if stored is not None:
        _same(stored, entry, dated=dated)
        return _document(stored, new=False)
    recorded = record_entries(conn, store, [entry])
    if recorded.conflicts:
        raise LedgerConflict(recorded.conflicts[0].message)
    detail = {"kind": entry.kind, "worker": entry.worker, "amount": f"{entry.amount} {entry.amount.currency}"}
    audit.append(conn, store.clock.now(), by, "entry_recorded", entry.ref, detail)
    return _document(find_entries(conn, store, [key])[key], new=True)


def _same(stored: StoredEntry, entry: Entry, *, dated: bool) -> None:
    """Who says it again and when does not matter; what is said does."""
    there = stored.entry
    if (there.kind, there.worker, there.amount) != (entry.kind, entry.worker, entry.amount) or (
        dated and there.at != entry.at
    ):
        raise LedgerConflict(
            f"{entry.ref} is booked already: {there.kind} of {there.amount} {there.amount.currency}"
            f" for {there.worker or 'nobody'} at {iso(there.at)}",
            hint="give what is new an id of its own",
        )


def _document(stored: StoredEntry, *, new: bool) -> dict[str, Any]:
    entry = stored.entry
    return {
        "source": entry.source,
        "id": entry.id,
        "kind": entry.kind,
        "worker": entry.worker,
        "amount": str(entry.amount),
        "currency": entry.amount.currency,
        "converted": stored.booked is not None,
        "at": iso(entry.at),
        "note": entry.note,
        "new": new,
    }
