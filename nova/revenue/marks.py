"""How far a sync has come, inside the transaction that books what it fetched."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, select, text

from nova.clock import from_us, to_us
from nova.ledger.claims import Claim
from nova.ledger.cursors import Cursor, succeeded
from nova.ledger.schema import claims, cursors, entries

_REACHED = text("""
    INSERT INTO cursors (source, cursor, covered_us, attempted_us, succeeded_us, error)
    VALUES (:source, :cursor, NULL, :at, NULL, NULL)
    ON CONFLICT (source) DO UPDATE SET cursor = excluded.cursor, attempted_us = excluded.attempted_us
""")


def read(conn: Connection, source: str) -> Cursor:
    row = conn.execute(select(cursors).where(cursors.c.source == source)).first()
    if row is None:
        return Cursor(source)
    covered, attempted, done = (
        None if us is None else from_us(us) for us in (row.covered_us, row.attempted_us, row.succeeded_us)
    )
    return Cursor(source, row.cursor, covered, attempted, done, row.error)


def reached(conn: Connection, source: str, place: str, at: datetime) -> None:
    """In the middle of a reading: neither a success nor a failure."""
    conn.execute(_REACHED, {"source": source, "cursor": place, "at": to_us(at)})


def finished(conn: Connection, source: str, covered: datetime, at: datetime) -> None:
    succeeded(conn, source, None, covered, at)


def claims_since(conn: Connection, source: str, since: datetime | None) -> list[Claim]:
    query = select(claims).where(claims.c.source == source).order_by(claims.c.at_us, claims.c.object)
    if since is not None:
        query = query.where(claims.c.at_us >= to_us(since))
    return [
        Claim(row.source, row.object, row.worker, row.run, row.by, from_us(row.at_us)) for row in conn.execute(query)
    ]


def has_object(conn: Connection, source: str, object: str) -> bool:
    query = select(entries.c.seq).where(
        entries.c.source == source, entries.c.object == object, entries.c.object.is_not(None)
    )
    return conn.execute(query.limit(1)).first() is not None


def renamed(claim: Claim, object: str | None) -> Claim:
    return replace(claim, object=object or claim.object)
