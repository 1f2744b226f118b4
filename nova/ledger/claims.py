"""Whose sale a platform's object is: claimed by the worker that made it, or said by a person."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, delete, insert, select, text

from nova.clock import from_us, to_us
from nova.errors import LedgerConflict
from nova.ledger.facts import check_name
from nova.ledger.schema import claims

if TYPE_CHECKING:
    from nova.ledger.store import Store

_CHUNK = 500
_ASSIGN = text("""
    INSERT INTO claims (source, object, worker, run, "by", at_us) VALUES (:source, :object, :worker, NULL, :by, :at)
    ON CONFLICT (source, object) DO UPDATE SET
        worker = excluded.worker, run = excluded.run, "by" = excluded."by", at_us = excluded.at_us
""")


@dataclass(frozen=True, slots=True)
class Claim:
    """`by` is `claim`, or the person who said so."""

    source: str
    object: str
    worker: str
    run: str | None
    by: str
    at: datetime


def claim(conn: Connection, at: datetime, source: str, object: str, worker: str, run: str | None = None) -> bool:
    """True when it is new. The first claim wins: the same worker again is no news, another one a LedgerConflict.

    Raises UsageProblem for what no entry could be named by.
    """
    check_name("source", source)
    check_name("id", object)
    found = get(conn, source, object)
    if found is None:
        values = {"source": source, "object": object, "worker": worker, "run": run, "by": "claim", "at_us": to_us(at)}
        conn.execute(insert(claims), values)
    elif found.worker != worker:
        raise LedgerConflict(f"{source} {object} is {found.worker}'s already; {worker} cannot claim it")
    return found is None


def assign(conn: Connection, at: datetime, source: str, object: str, worker: str, by: str) -> None:
    """A person's word, over any claim."""
    conn.execute(_ASSIGN, {"source": source, "object": object, "worker": worker, "by": by, "at": to_us(at)})


def withdraw(conn: Connection, source: str, object: str) -> None:
    """A person's word is taken back. A claim stays."""
    conn.execute(delete(claims).where(claims.c.source == source, claims.c.object == object, claims.c.by != "claim"))


def get(conn: Connection, source: str, object: str) -> Claim | None:
    return of_objects(conn, source, [object]).get(object)


def of_objects(conn: Connection, source: str, objects: Iterable[str]) -> dict[str, Claim]:
    """The claims on those of these objects that have one."""
    wanted = list(dict.fromkeys(objects))
    found: dict[str, Claim] = {}
    for first in range(0, len(wanted), _CHUNK):
        some = claims.c.object.in_(wanted[first : first + _CHUNK])
        for row in conn.execute(select(claims).where(claims.c.source == source, some)):
            found[row.object] = _claim(row)
    return found


def made_since(conn: Connection, source: str, since: datetime | None) -> list[Claim]:
    """In the order they were made."""
    query = select(claims).where(claims.c.source == source).order_by(claims.c.at_us, claims.c.object)
    if since is not None:
        query = query.where(claims.c.at_us >= to_us(since))
    return [_claim(row) for row in conn.execute(query)]


class Claims:
    def __init__(self, store: Store) -> None:
        self._store = store

    def claim(self, source: str, object: str, worker: str, run: str | None = None) -> bool:
        """Durable on return; LedgerConflict when it is another worker's."""
        return self._store.apply(lambda conn: claim(conn, self._store.clock.now(), source, object, worker, run))

    def assign(self, source: str, object: str, worker: str, by: str) -> None:
        self._store.apply(lambda conn: assign(conn, self._store.clock.now(), source, object, worker, by))

    def get(self, source: str, object: str) -> Claim | None:
        with self._store.read() as conn:
            return get(conn, source, object)

    def of_objects(self, source: str, objects: Iterable[str]) -> dict[str, Claim]:
        with self._store.read() as conn:
            return of_objects(conn, source, objects)


def _claim(row: Row[Any]) -> Claim:
    return Claim(row.source, row.object, row.worker, row.run, row.by, from_us(row.at_us))
