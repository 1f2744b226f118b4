"""Whose the sales of a product, price, coupon or campaign are, as a person declared it. Ended, never removed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, insert, select, update

from nova.clock import from_us, to_us
from nova.errors import LedgerConflict, NotFound, UsageProblem
from nova.ledger import audit, credits
from nova.ledger.facts import check_name
from nova.ledger.schema_revenue import mappings

if TYPE_CHECKING:
    from nova.ledger.store import Store

KINDS = ("price", "product", "coupon", "campaign")  # what says it more exactly comes first


@dataclass(frozen=True, slots=True)
class Mapping:
    """`until` None: in force."""

    source: str
    kind: str
    object: str
    worker: str
    by: str
    at: datetime
    until: datetime | None = None

    @property
    def ref(self) -> str:
        return f"{self.source}/{self.kind}/{self.object}"


def declare(conn: Connection, store: Store, source: str, kind: str, object: str, worker: str, by: str) -> bool:
    """From now on, and for what was sold before; in the place of an earlier word. False where it was said before.

    Raises UsageProblem.
    """
    _check(source, kind, object)
    check_name("worker", worker)
    there = _in_force(conn, source, kind, object)
    if there is not None and there.worker == worker:
        return False
    at_us = store.now_us()
    last = conn.execute(select(mappings.c.at_us).where(*_named(source, kind, object)).order_by(mappings.c.at_us.desc()))
    earlier = last.scalars().first()
    if earlier is not None:
        at_us = max(at_us, earlier + 1)  # the clock may stand still, or go back
    _end(conn, source, kind, object, at_us)
    named = {"source": source, "kind": kind, "object": object}
    conn.execute(insert(mappings), {**named, "worker": worker, "by": by, "at_us": at_us, "until_us": None})
    credits.outdate_evidence(conn, source, kind, object)
    audit.append(conn, store.clock.now(), by, "mapped", f"{source}/{kind}/{object}", {"to": worker})
    return True


def end(conn: Connection, store: Store, source: str, kind: str, object: str, by: str) -> Mapping:
    """The word as it was. What it gave goes back by new entries. Raises NotFound or UsageProblem."""
    _check(source, kind, object)
    there = _in_force(conn, source, kind, object)
    if there is None:
        raise NotFound(f"{kind} {object} of {source} is mapped to nobody", hint="see `nova revenue mappings`")
    _end(conn, source, kind, object, max(store.now_us(), to_us(there.at)))
    credits.outdate_evidence(conn, source, kind, object)
    audit.append(conn, store.clock.now(), by, "unmapped", there.ref, {"from": there.worker})
    return there


def in_force(conn: Connection, sources: Iterable[str]) -> dict[tuple[str, str, str], Mapping]:
    """By (source, kind, object)."""
    query = select(mappings).where(mappings.c.source.in_(list(sources)), mappings.c.until_us.is_(None))
    return {(row.source, row.kind, row.object): _mapping(row) for row in conn.execute(query)}


def _in_force(conn: Connection, source: str, kind: str, object: str) -> Mapping | None:
    query = select(mappings).where(*_named(source, kind, object), mappings.c.until_us.is_(None))
    row = conn.execute(query).first()
    return None if row is None else _mapping(row)


def _end(conn: Connection, source: str, kind: str, object: str, at_us: int) -> None:
    where = (*_named(source, kind, object), mappings.c.until_us.is_(None))
    conn.execute(update(mappings).where(*where).values(until_us=at_us))


def _named(source: str, kind: str, object: str) -> tuple[Any, ...]:
    return (mappings.c.source == source, mappings.c.kind == kind, mappings.c.object == object)


def _check(source: str, kind: str, object: str) -> None:
    check_name("source", source)
    check_name("id", object)
    if kind not in KINDS:
        raise UsageProblem(f"not what can be mapped: {kind!r}", hint=f"it is one of {', '.join(KINDS)}")


def _mapping(row: Row[Any]) -> Mapping:
    until = None if row.until_us is None else from_us(row.until_us)
    return Mapping(row.source, row.kind, row.object, row.worker, row.by, from_us(row.at_us), until)


def of_worker(conn: Connection, store: Store, source: str, kind: str, object: str, worker: str) -> bool:
    """As a worker says it of itself: over nobody's word. False where it was said before; LedgerConflict."""
    _check(source, kind, object)
    there = _in_force(conn, source, kind, object)
    if there is not None and there.worker != worker:
        raise LedgerConflict(
            f"{there.ref} is {there.worker}'s already; {worker} cannot have it", hint="see `nova revenue mappings`"
        )
    return declare(conn, store, source, kind, object, worker, f"worker:{worker}")


class Mappings:
    def __init__(self, store: Store) -> None:
        self._store = store

    def declare(self, source: str, kind: str, object: str, worker: str, by: str) -> bool:
        return self._store.apply(lambda conn: declare(conn, self._store, source, kind, object, worker, by))

    def of_worker(self, source: str, kind: str, object: str, worker: str) -> bool:
        return self._store.apply(lambda conn: of_worker(conn, self._store, source, kind, object, worker))

    def end(self, source: str, kind: str, object: str, by: str) -> Mapping:
        return self._store.apply(lambda conn: end(conn, self._store, source, kind, object, by))

    def all(self, *, ended: bool = False) -> list[Mapping]:
        """Those in force, or also what was `ended`, by what they name."""
        query = select(mappings).order_by(mappings.c.source, mappings.c.kind, mappings.c.object, mappings.c.at_us)
        if not ended:
            query = query.where(mappings.c.until_us.is_(None))
        with self._store.read() as conn:
            return [_mapping(row) for row in conn.execute(query)]
