"""The money facts: recording, finding, correcting and moving them between workers. None is ever changed or removed."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, select

from nova.clock import from_us
from nova.errors import LedgerConflict, NotFound, UsageProblem
from nova.ledger import audit, credits
from nova.ledger.booking import PENDING, Conflict, Recorded, find_keys, record_facts
from nova.ledger.facts import KINDS, MOVES, REVENUE_SIGNS, Entry, admit
from nova.ledger.schema import entries
from nova.money import Money

if TYPE_CHECKING:
    from nova.ledger.store import Store

__all__ = [
    "KINDS", "MOVES", "Conflict", "Entries", "Entry", "Handing", "Recorded", "StoredEntry", "find_entries",
    "hand_over", "held", "holders", "move", "moves_of", "of_objects", "owner_of", "record_entries",
    "with_corrections", "word_on",
]  # fmt: skip

_SHOWN = 5
_CHUNK = 500


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
    whole = [Handing(one, {worker: one.effect.micros}, model, evidence) for one in with_corrections(conn, store, moved)]
    count = len(hand_over(conn, store, whole))
    if count:
        for stored in moved:
            detail = {"to": worker, "model": model, "evidence": evidence}
            audit.append(conn, store.clock.now(), by, "entry_attributed", stored.ref, detail)
    return count


@dataclass(frozen=True, slots=True)
class Handing:
    """Who is to hold how many millionths of an entry's effect, which is their sum, and what says so."""

    stored: StoredEntry
    parts: Mapping[str | None, int]
    model: str
    evidence: str | None


def hand_over(
    conn: Connection,
    store: Store,
    given: Sequence[Handing],
    moves: Mapping[str, Sequence[Row[Any]]] | None = None,
) -> set[str]:
    """Brings entries to those who are to hold them, by pairs of adjustments dated as the entry is.

    Returns which changed hands; again is harmless. `moves` are those made of each, where they were read before.
    """
    known = moves_of(conn, [one.stored.ref for one in given]) if moves is None else moves
    pairs: list[Entry] = []
    changed = set()
    for one in given:
        made = known[one.stored.ref]
        holding = held(one.stored, made)
        steps = _steps(holding, one.parts, one.stored.effect)
        for step, (giver, taker, amount) in enumerate(steps, len(made) // 2 + 1):
            ends = (
                ":from" if _turned(holding, giver, -amount.micros) else ":less",
                ":to" if _turned(holding, taker, amount.micros) else ":more",
            )
            pairs += _pair(one.stored, step, ends, giver, taker, amount, one.model, one.evidence)
            changed.add(one.stored.ref)
    recorded = record_entries(conn, store, pairs)
    if recorded.conflicts:
        raise LedgerConflict(recorded.conflicts[0].message)
    return changed


def holders(conn: Connection, stored: StoredEntry) -> dict[str | None, int]:
    """Who holds how much of an entry's effect after every move of it; whoever holds nothing is left out."""
    return held(stored, _moves(conn, stored.ref))


def held(stored: StoredEntry, moves: Sequence[Row[Any]]) -> dict[str | None, int]:
    """The same where its moves are known.

    Two ledgers that moved an entry differently, brought together, leave parts of it with several.
    """
    effect = stored.effect.micros
    found: dict[str | None, int] = {stored.entry.worker: effect}
    for row in moves:
        found[row.worker] = found.get(row.worker, 0) + row.micros
    if sum(found.values()) != effect:  # half of a move has not arrived
        return {moves[-1].worker: effect}
    return {holder: micros for holder, micros in found.items() if micros}


def _steps(
    now: Mapping[str | None, int], then: Mapping[str | None, int], effect: Money
) -> list[tuple[str | None, str | None, Money]]:
    """Who gives how much to whom. An amount has the sign of the entry's effect."""
    sign = -1 if effect.micros < 0 else 1
    over = {name: sign * (now.get(name, 0) - then.get(name, 0)) for name in (*now, *then)}
    steps: list[tuple[str | None, str | None, Money]] = []
    for giver in over:
        for taker in over:
            amount = min(over[giver], -over[taker])
            if amount > 0:
                steps.append((giver, taker, Money(sign * amount, effect.currency)))
                over[giver] -= amount
                over[taker] += amount
    return steps


def _turned(holding: dict[str | None, int], holder: str | None, more: int) -> bool:
    """Whether somebody begins or ceases to hold of an entry. `holding` is brought up to date."""
    before = holding.get(holder, 0)
    after = holding[holder] = before + more
    return (before > 0) != (after > 0) or (before < 0) != (after < 0)


def _pair(
    stored: StoredEntry,
    number: int,
    ends: tuple[str, str],
    owner: str | None,
    worker: str | None,
    amount: Money,
    model: str,
    evidence: str | None,
) -> list[Entry]:
    # The id follows from what is moved, so that the same move made twice, or in two ledgers, is one.
    key = f"{hashlib.sha256(stored.ref.encode()).hexdigest()[:32]}:{number}"
    common = Entry(
        id=key + ends[0],
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
    return [common, replace(common, id=key + ends[1], worker=worker, amount=amount)]


def _moves(conn: Connection, ref: str) -> list[Row[Any]]:
    return moves_of(conn, [ref])[ref]


def moves_of(conn: Connection, refs: Sequence[str]) -> dict[str, list[Row[Any]]]:
    """Of each entry in the order they were made, whatever order they arrived in."""
    found: dict[str, list[Row[Any]]] = {ref: [] for ref in refs}
    for start in range(0, len(refs), _CHUNK):
        # By nothing but what they correct: SQLite would rather read every move there is.
        for row in conn.execute(select(entries).where(entries.c.corrects.in_(refs[start : start + _CHUNK]))):
            if row.source == MOVES and row.id.count(":") > 1:
                found[row.corrects].append(row)
    return {ref: sorted(rows, key=lambda row: (_number(row.id), row.id)) for ref, rows in found.items()}


def _number(move_id: str) -> int:
    number = move_id.split(":")[1]
    return int(number) if number.isdecimal() else 0


def with_corrections(conn: Connection, store: Store, given: Sequence[StoredEntry]) -> list[StoredEntry]:
    """These and every adjustment that corrects one of them, in order of arrival, without what moved them."""
    found: dict[int, StoredEntry] = {}
    waiting = [stored for stored in given if stored.entry.source != MOVES]
    while waiting:
        found |= {stored.seq: stored for stored in waiting}
        refs = [stored.ref for stored in waiting]
        waiting = []
        for start in range(0, len(refs), _CHUNK):
            query = select(entries).where(entries.c.corrects.in_(refs[start : start + _CHUNK]))
            query = query.where(entries.c.source != MOVES, entries.c.kind == "adjustment")
            waiting += [_stored(row, store.currency) for row in conn.execute(query) if row.seq not in found]
    return [found[seq] for seq in sorted(found)]


def of_objects(
    conn: Connection, store: Store, keys: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], list[StoredEntry]]:
    """What platforms reported of these (source, object), in order of arrival."""
    wanted: dict[str, list[str]] = {}
    for source, object in dict.fromkeys(keys):
        wanted.setdefault(source, []).append(object)
    found: dict[tuple[str, str], list[StoredEntry]] = {}
    for source, objects in wanted.items():
        for start in range(0, len(objects), _CHUNK):
            named = (entries.c.object.in_(objects[start : start + _CHUNK]), entries.c.object.is_not(None))
            query = select(entries).where(entries.c.source == source, *named)
            for row in conn.execute(query.order_by(entries.c.seq)):
                found.setdefault((source, row.object), []).append(_stored(row, store.currency))
    return found


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
            if stored.entry.object is not None:  # where the payment is divided, so is this
                credits.outdate(conn, [(stored.entry.source, stored.entry.object)])
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
