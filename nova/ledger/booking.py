"""How facts become rows: told from what is known, converted, put on their side, and counted in the sums."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection

from nova.ledger import rollups, usage
from nova.ledger.conversion import by_currency, converted
from nova.ledger.facts import MOVES, REVENUE_SIGNS, Fact

if TYPE_CHECKING:
    from nova.ledger.store import Store

PENDING = "pending"
_SIDES = {**dict.fromkeys(REVENUE_SIGNS, "revenue"), "cost": "cost"}  # an adjustment has that of what it corrects
_CHUNK = 4000  # keys a statement

_COLUMNS = (
    "source, id, kind, side, worker, run, micros, currency, rate, rate_at_us, booked_micros, at_us, model, evidence,"
    " corrects, note, object, digest, recorded_us"
)
_INSERT = f"INSERT INTO entries ({_COLUMNS}) VALUES ({', '.join('?' * 19)}) ON CONFLICT (source, id) DO NOTHING"
_KNOWN = "seq, source, id, kind, side, worker, micros, currency, booked_micros, at_us, rate, digest"


@dataclass(frozen=True, slots=True)
class Conflict:
    """`index` is the position of the refused entry in what was given."""

    source: str
    id: str
    message: str
    index: int


@dataclass(frozen=True, slots=True)
class Recorded:
    new: int = 0
    duplicate: int = 0
    conflicts: tuple[Conflict, ...] = ()


class Known(NamedTuple):
    """What the ledger holds under a key."""

    seq: int
    source: str
    id: str
    kind: str
    side: str
    worker: str | None
    micros: int
    currency: str
    booked: int | None
    at_us: int
    rate: str | None
    digest: bytes

    def seen(self, side: str | None = None) -> rollups.Row:
        return (
            *(self.source, self.id, self.kind, side or self.side, self.worker, None, self.micros, self.currency),
            *(self.rate, None, self.booked, self.at_us),
        )


def record_facts(conn: Connection, store: Store, facts: Sequence[Fact], *, counted: bool = False) -> Recorded:
    """Writes what is new. A key that is there with the same content is a duplicate, with another a conflict.

    `counted`: the budgets' windows hold these costs already.
    """
    if not facts:
        return Recorded()
    before: int = conn.exec_driver_sql("SELECT coalesce(max(seq), 0) FROM entries").scalar_one()
    rows = _rows(conn, store, facts)
    written = conn.exec_driver_sql(_INSERT, rows).rowcount
    if written == len(rows):
        _count(conn, store, rows, counted)
        _resolve(conn, store, [f"{fact.source}/{fact.id}" for fact in facts])
        return Recorded(new=written)
    return _settle(conn, store, facts, rows, before, counted)


def _settle(
    conn: Connection, store: Store, facts: Sequence[Fact], rows: list[tuple[Any, ...]], before: int, counted: bool
) -> Recorded:
    """Sorts a batch of which some keys were there already, or came twice."""
    known = find_keys(conn, [(fact.source, fact.id) for fact in facts])
    fresh: dict[tuple[str, str], tuple[Any, ...]] = {}
    repeated: list[tuple[int, Fact]] = []
    for index, (fact, row) in enumerate(zip(facts, rows, strict=True)):
        key = (fact.source, fact.id)
        if known[key].seq > before and key not in fresh:
            fresh[key] = row
        else:
            repeated.append((index, fact))
    _count(conn, store, list(fresh.values()), counted)
    _resolve(conn, store, [f"{source}/{id}" for source, id in fresh])
    conflicts: list[Conflict] = []
    rated: dict[tuple[str, str], str] = {}
    for index, fact in repeated:
        there = known[fact.source, fact.id]
        message = _contradiction(fact, there)
        if message:
            conflicts.append(Conflict(fact.source, fact.id, message, index))
        elif there.rate is None and fact.rate is not None:
            rated[fact.source, fact.id] = fact.rate
    if rated:
        now = find_keys(conn, rated)  # what it corrects may have arrived in this very batch
        convert(conn, store, _with_moves(conn, [(now[key], rate) for key, rate in rated.items()]))
    return Recorded(len(fresh), len(repeated) - len(conflicts), tuple(conflicts))


def _contradiction(fact: Fact, there: Known) -> str | None:
    ref = f"{fact.source}/{fact.id}"
    if fact.digest != there.digest:
        return f"{ref} is in the ledger with another content"
    if fact.rate is not None and there.rate is not None and Decimal(fact.rate) != Decimal(there.rate):
        return f"{ref} is in the ledger with the rate {there.rate}, not {fact.rate}"
    return None


def find_keys(conn: Connection, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Known]:
    """What the ledger holds under these (source, id)."""
    wanted = list(dict.fromkeys(keys))
    found: dict[tuple[str, str], Known] = {}
    for start in range(0, len(wanted), _CHUNK):
        part = wanted[start : start + _CHUNK]
        holes = ", ".join(["(?, ?)"] * len(part))
        # CROSS JOIN: the keys lead and the index follows; with IN, SQLite reads the whole index.
        sql = (
            f"WITH wanted (its_source, its_id) AS (VALUES {holes})"
            f" SELECT {_KNOWN} FROM wanted CROSS JOIN entries WHERE source = its_source AND id = its_id"
        )
        for row in conn.exec_driver_sql(sql, tuple(text for key in part for text in key)):
            found[row[1], row[2]] = Known._make(row)
    return found


def _rows(conn: Connection, store: Store, facts: Sequence[Fact]) -> list[tuple[Any, ...]]:
    reporting, now_us = store.currency, store.now_us()
    corrected = [fact for fact in facts if fact.kind == "adjustment"]
    sides = _sides(conn, facts, corrected) if corrected else {}
    current: dict[str, str] | None = None
    rows = []
    for fact in facts:
        source, id, kind, worker, run, micros, currency, rate, at_us, *rest = fact
        booked: int | None = micros
        rate_at_us = None
        if currency != reporting:
            if rate is None:
                current = by_currency(conn) if current is None else current
                rate = current.get(currency)
            booked, rate_at_us = converted(micros, currency, rate, reporting), None if rate is None else now_us
        side = _SIDES.get(kind) or sides.get(f"{source}/{id}", PENDING)
        row = (source, id, kind, side, worker, run, micros, currency, rate, rate_at_us, booked, at_us, *rest, now_us)
        rows.append(row)
    return rows


def _count(conn: Connection, store: Store, rows: Sequence[rollups.Row], counted: bool = False) -> None:
    rollups.add(conn, rows)
    if not counted:
        costs = [(row[4], row[10], row[11]) for row in rows if row[3] == "cost" and row[10] is not None]
        usage.count(conn, store, costs)


def _sides(conn: Connection, facts: Sequence[Fact], adjustments: Sequence[Fact]) -> dict[str, str]:
    """The sides of those adjustments whose entry is in the ledger or in the same batch."""
    kept = {f"{fact.source}/{fact.id}": fact for fact in reversed(facts)}  # of a key that comes twice the first
    sides = {ref: _SIDES[fact.kind] for ref, fact in kept.items() if fact.kind != "adjustment"}
    keys = [_key(fact.corrects or "") for fact in adjustments] + [(fact.source, fact.id) for fact in adjustments]
    for (source, id), known in find_keys(conn, keys).items():
        sides[f"{source}/{id}"] = known.side
    waiting = [fact for ref, fact in kept.items() if ref not in sides]
    while True:
        found = {f"{fact.source}/{fact.id}": sides[fact.corrects] for fact in waiting if fact.corrects in sides}
        if not found:
            return sides
        sides |= found
        waiting = [fact for fact in waiting if f"{fact.source}/{fact.id}" not in sides]


def _key(ref: str) -> tuple[str, str]:
    source, _, id = ref.partition("/")
    return source, id


def _resolve(conn: Connection, store: Store, arrived: list[str]) -> None:
    """Gives their side to the adjustments that waited for what arrived."""
    if conn.exec_driver_sql("SELECT 1 FROM entries WHERE side = 'pending' LIMIT 1").first() is None:
        return
    refs = arrived
    while refs:
        sides = {f"{known.source}/{known.id}": known.side for known in find_keys(conn, map(_key, refs)).values()}
        moved = [
            (known, sides[ref]) for ref, known in _correcting(conn, refs, "side = 'pending'") if sides[ref] != PENDING
        ]
        if moved:
            conn.exec_driver_sql(
                "UPDATE entries SET side = ? WHERE seq = ?", [(side, known.seq) for known, side in moved]
            )
            rollups.leave(conn, [known.seen() for known, _ in moved])
            _count(conn, store, [known.seen(side) for known, side in moved])
        refs = [f"{known.source}/{known.id}" for known, _ in moved]


def _correcting(conn: Connection, refs: Sequence[str], which: str) -> list[tuple[str, Known]]:
    """The entries that correct one of these, each with what it corrects."""
    found: list[tuple[str, Known]] = []
    for start in range(0, len(refs), _CHUNK):
        part = refs[start : start + _CHUNK]
        holes = ", ".join("?" * len(part))
        sql = f"SELECT corrects, {_KNOWN} FROM entries WHERE {which} AND corrects IN ({holes})"
        found += [(row[0], Known._make(row[1:])) for row in conn.exec_driver_sql(sql, tuple(part))]
    return found


def _with_moves(conn: Connection, rated: list[tuple[Known, str]]) -> list[tuple[Known, str]]:
    """What moved an entry to another worker is converted as the entry is; its own rate may have come along."""
    found = {f"{known.source}/{known.id}": rate for known, rate in rated}
    moves = _correcting(conn, list(found), f"source = '{MOVES}' AND booked_micros IS NULL")
    return rated + [(known, found[ref]) for ref, known in moves if f"{known.source}/{known.id}" not in found]


def convert(conn: Connection, store: Store, rated: Sequence[tuple[Known, str]], *, leaving: bool = True) -> None:
    """Books entries that had no rate. `leaving`: they are still in the sums of their own currency."""
    now_us = store.now_us()
    values, after = [], []
    for known, rate in rated:
        booked = converted(known.micros, known.currency, rate, store.currency)
        values.append((rate, now_us, booked, known.seq))
        after.append(known._replace(rate=rate, booked=booked).seen())
    conn.exec_driver_sql("UPDATE entries SET rate = ?, rate_at_us = ?, booked_micros = ? WHERE seq = ?", values)
    if leaving:
        rollups.leave(conn, [known.seen() for known, _ in rated])
    _count(conn, store, after)


def unconverted(conn: Connection, currency: str, after_seq: int, limit: int) -> list[Known]:
    """The next entries of a currency that have no rate."""
    sql = f"SELECT {_KNOWN} FROM entries WHERE booked_micros IS NULL AND currency = ? AND seq > ? ORDER BY seq LIMIT ?"
    return [Known._make(row) for row in conn.exec_driver_sql(sql, (currency, after_seq, limit))]
