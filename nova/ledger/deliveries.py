"""What webhooks brought: kept as it came before anybody looks into it, and marked when what follows from it is done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, Row, func, literal, select, text

from nova.clock import from_us, to_us
from nova.errors import NotFound
from nova.ledger.dialect import driver_of
from nova.ledger.schema_revenue import deliveries

if TYPE_CHECKING:
    from nova.ledger.store import Store

MOST_ATTEMPTS = 8
_FIRST_WAIT_S = 10.0
_LONGEST_WAIT_S = 6 * 3600.0
_CHARS = 1000
_CHUNK = 500

_WAITS = deliveries.c.state == literal("waiting", literal_execute=True)  # as the index over these says it
_KEEP = """
    INSERT OR IGNORE INTO deliveries (endpoint, id, received_us, kind, body, state, attempts, due_us)
    VALUES (?, ?, ?, ?, ?, 'waiting', 0, ?)
"""
_DONE = "UPDATE deliveries SET state = 'done', done_us = ?, error = ? WHERE endpoint = ? AND id = ?"
_LATER = "UPDATE deliveries SET attempts = ?, due_us = ?, error = ? WHERE endpoint = ? AND id = ? AND state = 'waiting'"
_DEAD = (
    "UPDATE deliveries SET state = 'dead', attempts = ?, done_us = ?, error = ?"
    " WHERE endpoint = ? AND id = ? AND state = 'waiting'"
)
_AGAIN = (
    "UPDATE deliveries SET state = 'waiting', attempts = 0, due_us = ?, done_us = NULL WHERE endpoint = ? AND id = ?"
)
_SOONER = text("UPDATE deliveries SET due_us = :now WHERE state = 'waiting' AND due_us > :latest")
# From each endpoint that something waits of to the next, without a look at all that waits.
_ENDPOINTS_DUE = text("""
    WITH RECURSIVE waiting (endpoint) AS (
        SELECT min(endpoint) FROM deliveries WHERE state = 'waiting'
        UNION ALL
        SELECT (SELECT min(endpoint) FROM deliveries WHERE state = 'waiting' AND endpoint > waiting.endpoint)
        FROM waiting WHERE endpoint IS NOT NULL
    ), oldest (endpoint, due_us) AS (
        SELECT endpoint, (
            SELECT min(due_us) FROM deliveries WHERE state = 'waiting' AND deliveries.endpoint = waiting.endpoint
        ) FROM waiting WHERE endpoint IS NOT NULL
    )
    SELECT endpoint FROM oldest WHERE due_us <= :now ORDER BY due_us, endpoint
""")
_PRUNE = text("""
    DELETE FROM deliveries WHERE (endpoint, id) IN
        (SELECT endpoint, id FROM deliveries WHERE state = 'done' AND received_us < :before LIMIT :most)
""")


class Arrived(NamedTuple):
    """A delivery that was verified. `id` is the sender's, or the hash of the body."""

    endpoint: str
    id: str
    received_us: int
    kind: str | None
    body: bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """`state` is waiting, done or dead; `error` why the last attempt failed, or what there was to remark."""

    endpoint: str
    id: str
    received_at: datetime
    kind: str | None
    body: bytes
    state: str
    attempts: int
    due_at: datetime
    error: str | None
    done_at: datetime | None


@dataclass(frozen=True, slots=True)
class Count:
    endpoint: str
    state: str
    deliveries: int
    last_at: datetime


def keep(conn: Connection, arrived: Sequence[Arrived]) -> None:
    """What is there under its endpoint and id stays as it is."""
    driver_of(conn).executemany(_KEEP, [(*one, one.received_us) for one in arrived])


def done(conn: Connection, given: Iterable[Delivery], at: datetime, remark: str | None = None) -> None:
    """Call it in the transaction that books what follows from them."""
    rows = [(to_us(at), None if remark is None else remark[:_CHARS], one.endpoint, one.id) for one in given]
    driver_of(conn).executemany(_DONE, rows)


def wait_s(attempts: int) -> float:
    """After so many failed attempts: from ten seconds on fourfold, up to six hours."""
    return float(min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 4 ** (attempts - 1)))


class Deliveries:
    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, arrived: Sequence[Arrived]) -> None:
        """Durable on return."""
        self._store.apply(lambda conn: keep(conn, arrived))

    def endpoints_due(self, now: datetime) -> list[str]:
        """Those that something waits of, the one that waits longest first; however much waits, at little cost."""
        with self._store.read() as conn:
            return list(conn.execute(_ENDPOINTS_DUE, {"now": to_us(now)}).scalars())

    def due(self, endpoint: str, now: datetime, most: int = _CHUNK) -> list[Delivery]:
        """What waits of it, in the order it is due; what failed comes after what has not been tried."""
        query = select(deliveries).where(*_due(now), deliveries.c.endpoint == endpoint)
        with self._store.read() as conn:
            rows = conn.execute(query.order_by(deliveries.c.due_us, deliveries.c.id).limit(most))
            return [_delivery(row) for row in rows]

    def done(self, given: Sequence[Delivery], remark: str | None = None) -> None:
        self._store.apply(lambda conn: done(conn, given, self._store.clock.now(), remark))

    def failed(self, given: Sequence[Delivery], error: str) -> list[Delivery]:
        """They are tried again later; those that were tried too often are dead, and returned."""
        now, last = self._store.clock.now(), [one for one in given if one.attempts + 1 >= MOST_ATTEMPTS]
        again = [one for one in given if one.attempts + 1 < MOST_ATTEMPTS]
        due = [now + timedelta(seconds=wait_s(one.attempts + 1)) for one in again]
        rows = [
            (one.attempts + 1, to_us(at), error[:_CHARS], one.endpoint, one.id)
            for one, at in zip(again, due, strict=True)
        ]
        self._store.apply(lambda conn: driver_of(conn).executemany(_LATER, rows))
        self.dead(last, error)
        return last

    def dead(self, given: Sequence[Delivery], error: str) -> None:
        """They are not tried again until a person says so."""
        now = to_us(self._store.clock.now())
        rows = [(one.attempts + 1, now, error[:_CHARS], one.endpoint, one.id) for one in given]
        self._store.apply(lambda conn: driver_of(conn).executemany(_DEAD, rows))

    def replay(self, given: Iterable[Delivery]) -> None:
        """They are looked into again, as if they had come now."""
        now = self._store.now_us()
        rows = [(now, one.endpoint, one.id) for one in given]
        self._store.apply(lambda conn: driver_of(conn).executemany(_AGAIN, rows))

    def find(self, endpoint: str, id: str) -> Delivery:
        """By its id, or the beginning of it that only one has. Raises NotFound."""
        begins = deliveries.c.id.startswith(id, autoescape=True)
        query = select(deliveries).where(deliveries.c.endpoint == endpoint, begins).limit(2)
        with self._store.read() as conn:
            rows = list(conn.execute(query.order_by(deliveries.c.id)))
        if not rows or (len(rows) > 1 and rows[0].id != id):
            several = "several deliveries begin with it" if rows else "there is no such delivery"
            raise NotFound(f"{endpoint} {id}: {several}", hint="nova webhooks dead shows those that failed")
        return _delivery(rows[0])

    def in_state(self, state: str, endpoint: str | None = None, most: int | None = None) -> list[Delivery]:
        """Newest first, without their bodies, which are large together."""
        told = [literal(b"").label("body") if one.name == "body" else one for one in deliveries.c]
        query = select(*told).where(deliveries.c.state == state)
        if endpoint is not None:
            query = query.where(deliveries.c.endpoint == endpoint)
        with self._store.read() as conn:
            rows = conn.execute(query.order_by(deliveries.c.received_us.desc(), deliveries.c.id).limit(most))
            return [_delivery(row) for row in rows]

    def counts(self) -> list[Count]:
        number, last = func.count(), func.max(deliveries.c.received_us)
        query = select(deliveries.c.endpoint, deliveries.c.state, number, last).group_by(
            deliveries.c.endpoint, deliveries.c.state
        )
        with self._store.read() as conn:
            return [Count(row[0], row[1], row[2], from_us(row[3])) for row in conn.execute(query)]

    def hasten(self) -> None:
        """Makes due what waits longer than anything has to: it came, or failed, while the clock was ahead."""
        now = self._store.now_us()
        values = {"now": now, "latest": now + round(_LONGEST_WAIT_S * 1_000_000)}
        self._store.apply(lambda conn: conn.execute(_SOONER, values))

    def prune(self, before: datetime) -> int:
        """Removes some of what is done and came before then. Returns how many; 0 when none is left."""
        values = {"before": to_us(before), "most": _CHUNK}
        return self._store.apply(lambda conn: conn.execute(_PRUNE, values).rowcount)


def _due(now: datetime) -> tuple[Any, Any]:
    return _WAITS, deliveries.c.due_us <= to_us(now)


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        row.endpoint, row.id, from_us(row.received_us), row.kind, bytes(row.body), row.state, row.attempts,
        from_us(row.due_us), row.error, None if row.done_us is None else from_us(row.done_us),
    )  # fmt: skip
