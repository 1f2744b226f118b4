"""How far each platform's sync has come, and how the last attempt went."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, select, text

from nova.clock import from_us, to_us
from nova.ledger.schema import cursors

if TYPE_CHECKING:
    from nova.ledger.store import Store

_ERROR_CHARS = 1000
_SUCCEEDED = text("""
    INSERT INTO cursors (source, cursor, covered_us, attempted_us, succeeded_us, error)
    VALUES (:source, :cursor, :covered, :at, :at, NULL)
    ON CONFLICT (source) DO UPDATE SET
        cursor = excluded.cursor, covered_us = excluded.covered_us, attempted_us = excluded.attempted_us,
        succeeded_us = excluded.succeeded_us, error = NULL
""")
_REACHED = text("""
    INSERT INTO cursors (source, cursor, covered_us, attempted_us, succeeded_us, error)
    VALUES (:source, :cursor, NULL, :at, NULL, NULL)
    ON CONFLICT (source) DO UPDATE SET cursor = excluded.cursor, attempted_us = excluded.attempted_us
""")
_FAILED = text("""
    INSERT INTO cursors (source, cursor, covered_us, attempted_us, succeeded_us, error)
    VALUES (:source, NULL, NULL, :at, NULL, :error)
    ON CONFLICT (source) DO UPDATE SET attempted_us = excluded.attempted_us, error = excluded.error
""")


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything up to `covered_at` has been fetched. `error` is of the last attempt, null when it succeeded."""

    source: str
    cursor: str | None = None
    covered_at: datetime | None = None
    attempted_at: datetime | None = None
    succeeded_at: datetime | None = None
    error: str | None = None


def read(conn: Connection, source: str) -> Cursor:
    """Of a source that was never synced: one without any time."""
    row = conn.execute(select(cursors).where(cursors.c.source == source)).first()
    return Cursor(source) if row is None else _cursor(row)


def succeeded(conn: Connection, source: str, cursor: str | None, covered_at: datetime, at: datetime) -> None:
    """Call it in the transaction that records what was fetched, so that a cut sync fetches again."""
    values = {"source": source, "cursor": cursor, "covered": to_us(covered_at), "at": to_us(at)}
    conn.execute(_SUCCEEDED, values)


def reached(conn: Connection, source: str, place: str, at: datetime) -> None:
    """In the middle of a reading: neither a success nor a failure."""
    conn.execute(_REACHED, {"source": source, "cursor": place, "at": to_us(at)})


def failed(conn: Connection, source: str, error: str, at: datetime) -> None:
    """Keeps how far it had come."""
    conn.execute(_FAILED, {"source": source, "error": error[:_ERROR_CHARS], "at": to_us(at)})


class Cursors:
    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, source: str) -> Cursor:
        with self._store.read() as conn:
            return read(conn, source)

    def all(self) -> dict[str, Cursor]:
        with self._store.read() as conn:
            return {row.source: _cursor(row) for row in conn.execute(select(cursors).order_by(cursors.c.source))}

    def succeeded(self, source: str, cursor: str | None, covered_at: datetime, at: datetime | None = None) -> None:
        when = at or self._store.clock.now()
        self._store.apply(lambda conn: succeeded(conn, source, cursor, covered_at, when))

    def failed(self, source: str, error: str, at: datetime | None = None) -> None:
        when = at or self._store.clock.now()
        self._store.apply(lambda conn: failed(conn, source, error, when))


def _cursor(row: Row[Any]) -> Cursor:
    covered, attempted, done = (
        None if us is None else from_us(us) for us in (row.covered_us, row.attempted_us, row.succeeded_us)
    )
    return Cursor(row.source, row.cursor, covered, attempted, done, row.error)
