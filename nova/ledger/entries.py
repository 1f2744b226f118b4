"""The money facts: recording, finding, correcting and moving them between workers. None is ever changed or removed."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, select

from nova.clock import from_us
from nova.errors import LedgerConflict, NotFound, UsageProblem
from nova.ledger import audit
from nova.ledger.booking import PENDING, Conflict, Recorded, find_keys, record_facts
from nova.ledger.facts import KINDS, MOVES, REVENUE_SIGNS, Entry, admit
from nova.ledger.schema import entries
from nova.money import Money

if TYPE_CHECKING:
    from nova.ledger.store import Store

__all__ = [
    "KINDS", "MOVES", "Conflict", "Entries", "Entry", "Recorded", "StoredEntry",
    "find_entries", "move", "owner_of", "record_entries", "word_on",
]  # fmt: skip

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry in the ledger. `booked` is its amount in the reporting currency, None while it has no rate.

    `entry.worker` is whom it was recorded for; `side` is revenue, cost, or pending: it corrects what has not arrived.
    """

    seq: int
    entry: Entry
    side: str
    booked: Money | None
    recorded_at: datetime

    @property
    def ref(self) -> str:
        return self.entry.ref

    @property
    def effect(self) -> Money:
        """What it adds to net revenue or to cost, in its own currency."""
        return self.entry.amount * REVENUE_SIGNS.get(self.entry.kind, 1)


def record_entries(conn: Connection, store: Store, given: Sequence[Entry], *, counted: bool = False) -> Recorded:
    """Records inside the caller's transaction. An entry that is not valid raises UsageProblem, and none is recorded.

    `counted`: the budgets' windows hold these costs already.
    """
    return record_facts(conn, store, [admit(entry, store.currency) for entry in given], counted=counted)


def find_entries(conn: Connection, store: Store, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], StoredEntry]:
    """What the ledger holds under these (source, id)."""
    seqs = [known.seq for known in find_keys(conn, keys).values()]
    found: dict[tuple[str, str], StoredEntry] = {}
    for start in range(0, len(seqs), 1000):
        rows = conn.execute(select(entries).where(entries.c.seq.in_(seqs[start : start + 1000])))
        found |= {(row.source, row.id): _stored(row, store.currency) for row in rows}
    return found


def owner_of(conn: Connection, stored: StoredEntry) -> str | None:
    """The worker an entry belongs to after every move of it."""
    return word_on(conn, stored)[0]


def word_on(conn: Connection, stored: StoredEntry) -> tuple[str | None, str | None]:
    """The worker an entry belongs to now, and the model that said so."""
    moved = _moves(conn, stored.ref)
    return (moved[-1].worker, moved[-1].model) if moved else (stored.entry.worker, stored.entry.model)


def move(
    conn: Connection,
    store: Store,
    moved: Sequence[StoredEntry],
    worker: str | None,
    *,
    model: str,
    evidence: str | None,
    by: str,
) -> int:
    """Gives entries, with what corrects them, to a worker, by pairs of adjustments dated as the entries are.

    Returns how many moved; what belongs to the worker already does not.
    """
    pairs: list[Entry] = []
    count = 0
    for stored in _with_corrections(conn, store, moved):
        number = len(_moves(conn, stored.ref)) // 2
        steps = _steps(conn, stored, worker)
        for step, (giver, taker, amount) in enumerate(steps, number + 1):
            pairs += _pair(stored, step, giver, taker, amount, model, evidence)
        count += bool(steps)
    if not pairs:
        return 0
    recorded = record_entries(conn, store, pairs)
    if recorded.conflicts:
        raise LedgerConflict(recorded.conflicts[0].message)
    for stored in moved:
        detail = {"to": worker, "model": model, "evidence": evidence}
        audit.append(conn, store.clock.now(), by, "entry_attributed", stored.ref, detail)
    return count


def _steps(conn: Connection, stored: StoredEntry, worker: str | None) -> list[tuple[str | None, str | None, Money]]:
    """Who gives how much to whom, so that all of an entry is the worker's.

    Two ledgers that moved an entry differently, brought together, leave parts of it with several: those are gathered.
    """
    effect, moves = stored.effect, _moves(conn, stored.ref)
    held: dict[str | None, int] = {stored.entry.worker: effect.micros}
    for row in moves:
        held[row.worker] = held.get(row.worker, 0) + row.micros
    if sum(held.values()) != effect.micros:  # half of a move has not arrived
        held = {moves[-1].worker: effect.micros}
    steps = []
    for holder, micros in held.items():
        if holder != worker and micros:
            owed = (micros > 0) != (effect.micros > 0)
            amount = Money(-micros if owed else micros, effect.currency)
            steps.append((worker, holder, amount) if owed else (holder, worker, amount))
    return steps


def _pair(
    stored: StoredEntry,
    number: int,
    owner: str | None,
    worker: str | None,
    amount: Money,
    model: str,
    evidence: str | None,
) -> list[Entry]:
    # The id follows from what is moved, so that the same move made twice, or in two ledgers, is one.
    key = f"{hashlib.sha256(stored.ref.encode()).hexdigest()[:32]}:{number}"
    common = Entry(
        id=f"{key}:from",
        source=MOVES,
        kind="adjustment",
        amount=-amount,
        at=stored.entry.at,
        worker=owner,
        run=stored.entry.run,
        rate=stored.entry.rate,
        model=model,
        evidence=evidence,
        corrects=stored.ref,
        object=stored.entry.object,
    )
    return [common, replace(common, id=f"{key}:to", worker=worker, amount=amount)]


def _moves(conn: Connection, ref: str) -> list[Row[Any]]:
    """In the order they were made, whatever order they arrived in."""
    query = select(entries).where(entries.c.corrects == ref, entries.c.source == MOVES, entries.c.id.like("%:%:%"))
    return sorted(conn.execute(query), key=lambda row: (_number(row.id), row.id))


def _number(move_id: str) -> int:
    number = move_id.split(":")[1]
    return int(number) if number.isdecimal() else 0


def _with_corrections(conn: Connection, store: Store, given: Sequence[StoredEntry]) -> list[StoredEntry]:
    found: dict[int, StoredEntry] = {}
    waiting = list(given)
    while waiting:
        stored = waiting.pop()
        if stored.seq in found or stored.entry.source == MOVES:
            continue
        found[stored.seq] = stored
        query = select(entries).where(entries.c.corrects == stored.ref, entries.c.source != MOVES)
        waiting += [_stored(row, store.currency) for row in conn.execute(query.where(entries.c.kind == "adjustment"))]
    return [found[seq] for seq in sorted(found)]


def _stored(row: Row[Any], reporting: str) -> StoredEntry:
    entry = Entry(
        id=row.id,
        source=row.source,
        kind=row.kind,
        amount=Money(row.micros, row.currency),
        at=from_us(row.at_us),
        worker=row.worker,
        run=row.run,
        rate=None if row.rate is None else Decimal(row.rate),
        model=row.model,
        evidence=row.evidence,
        corrects=row.corrects,
        note=row.note,
        object=row.object,
    )
    booked = None if row.booked_micros is None else Money(row.booked_micros, reporting)
    return StoredEntry(row.seq, entry, row.side, booked, from_us(row.recorded_us))


class Entries:
    """What an operator and the platforms' sync do with money facts."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(self, given: Sequence[Entry]) -> Recorded:
        """Durable when it returns. A conflict does not stop the others; an invalid entry, a UsageProblem, stops all."""
        store = self._store
        return store.apply(lambda conn: record_entries(conn, store, given))

    def find(self, ref: str) -> StoredEntry:
        """`ref` is SOURCE/ID, or an ID that only one source has. Raises NotFound, or UsageProblem for several."""
        with self._store.read() as conn:
            return _find(conn, self._store, ref)

    def owner(self, stored: StoredEntry) -> str | None:
        """The worker an entry belongs to after every move of it."""
        with self._store.read() as conn:
            return owner_of(conn, stored)

    def of_object(self, source: str, object: str) -> list[StoredEntry]:
        """What a platform reported of one of its objects, such as a payment intent, in order of arrival."""
        query = select(entries).where(
            entries.c.source == source, entries.c.object == object, entries.c.object.is_not(None)
        )
        with self._store.read() as conn:
            return [_stored(row, self._store.currency) for row in conn.execute(query.order_by(entries.c.seq))]

    def adjust(self, ref: str, amount: Money, note: str, by: str) -> StoredEntry:
        """Books now, for the worker it belongs to, that an entry was `amount` (signed) more than it says."""
        store = self._store

        def work(conn: Connection) -> StoredEntry:
            stored = _find(conn, store, ref)
            if amount.currency != stored.entry.amount.currency:
                raise UsageProblem(f"{stored.ref} is in {stored.entry.amount.currency}: adjust it in that currency")
            if stored.entry.source == MOVES:
                raise UsageProblem(
                    f"{stored.ref} moves an entry from one worker to another",
                    hint=f"adjust {stored.entry.corrects} instead",
                )
            if stored.side == PENDING:
                raise UsageProblem(f"{stored.ref} corrects an entry that has not arrived: it cannot be adjusted yet")
            entry = Entry(
                id=uuid.uuid4().hex,
                source="adjustment",
                kind="adjustment",
                amount=amount,
                at=store.clock.now(),
                worker=owner_of(conn, stored),
                rate=stored.entry.rate,
                model="manual",
                evidence=f"by {by}",
                corrects=stored.ref,
                note=note,
            )
            record_entries(conn, store, [entry])
            detail = {"amount": f"{amount} {amount.currency}", "note": note, "id": entry.ref}
            audit.append(conn, store.clock.now(), by, "entry_adjusted", stored.ref, detail)
            return find_entries(conn, store, [(entry.source, entry.id)])[entry.source, entry.id]

        return store.apply(work)

    def reattribute(
        self, moved: Sequence[StoredEntry], worker: str | None, *, model: str, evidence: str | None, by: str
    ) -> int:
        """Gives entries, with what corrects them, to a worker; again is harmless. Returns how many moved."""
        store = self._store
        return store.apply(lambda conn: move(conn, store, moved, worker, model=model, evidence=evidence, by=by))


def _find(conn: Connection, store: Store, ref: str) -> StoredEntry:
    source, slash, id = ref.partition("/")
    rows = list(conn.execute(select(entries).where(entries.c.source == source, entries.c.id == id))) if slash else []
    if not rows:
        rows = list(conn.execute(select(entries).where(entries.c.id == ref).limit(_SHOWN)))
    if not rows:
        raise NotFound(f"no entry {ref} is in the ledger", hint="name it as SOURCE/ID")
    if len(rows) > 1:
        named = ", ".join(f"{row.source}/{row.id}" for row in rows)
        raise UsageProblem(f"several entries have the id {ref}: {named}", hint="name it as SOURCE/ID")
    return _stored(rows[0], store.currency)
