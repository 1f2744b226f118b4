"""The audit trail: every row's hash covers the row and the hash before it, and the newest is noted apart from the rows.

So an edited, missing, moved or added row is found, and so is a tail that was cut off.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, insert, select, text

from nova.clock import from_us, to_us
from nova.ledger.schema import audit, meta
from nova.secrecy import scrub

if TYPE_CHECKING:
    from nova.ledger.store import Store

_HEAD = "audit_head"  # SEQ:HASH of the newest row
_FACTS = ("seq", "at_us", "actor", "action", "subject", "detail")
_SET_HEAD = text(
    "INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)


@dataclass(frozen=True, slots=True)
class AuditRow:
    seq: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: Mapping[str, Any]
    hash: str


@dataclass(frozen=True, slots=True)
class ChainCheck:
    """`first_bad` is the first seq that is not what was written, `problem` why; both null when all is well."""

    ok: bool
    rows: int
    first_bad: int | None = None
    problem: str | None = None


def append(
    conn: Connection, at: datetime, actor: str, action: str, subject: str, detail: Mapping[str, Any] | None = None
) -> int:
    """Adds a row in the caller's transaction and returns its seq. What looks like a secret is replaced."""
    seq, before = _head(conn)
    body = json.dumps(scrub(detail or {}), sort_keys=True, separators=(",", ":"), default=str)
    row = {"seq": seq + 1, "at_us": to_us(at), "actor": actor, "action": action, "subject": subject, "detail": body}
    digest = chained(before, row)
    conn.execute(insert(audit), {**row, "hash": digest})
    conn.execute(_SET_HEAD, {"key": _HEAD, "value": f"{seq + 1}:{digest}"})
    return seq + 1


def chained(before: str, row: Mapping[str, Any]) -> str:
    """SHA-256 over the hash before and every column of the row but its hash."""
    facts = [before, *(row[name] for name in _FACTS)]
    return hashlib.sha256(json.dumps(facts, separators=(",", ":")).encode()).hexdigest()


def _head(conn: Connection) -> tuple[int, str]:
    value = conn.execute(select(meta.c.value).where(meta.c.key == _HEAD)).scalar()
    seq, _, digest = (value or "0:").partition(":")
    return int(seq), digest


def check_chain(rows: Iterable[Row[Any]], head: tuple[int, str]) -> ChainCheck:
    """Re-derives every hash from rows in the order of their seq."""
    seq, digest = 0, ""
    for row in rows:
        if row.seq != seq + 1:
            return ChainCheck(False, seq, seq + 1, f"row {seq + 1} is missing")
        if row.hash != chained(digest, row._asdict()):
            return ChainCheck(False, seq, row.seq, f"row {row.seq} is not what was written")
        seq, digest = row.seq, row.hash
    if seq < head[0]:
        return ChainCheck(False, seq, seq + 1, f"rows {seq + 1} to {head[0]} are missing")
    if (seq, digest) != head:
        return ChainCheck(False, seq, min(seq, head[0] + 1), "the newest row is not the one that was noted")
    return ChainCheck(True, seq)


class Audit:
    """Who did what, when, to what."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def append(self, actor: str, action: str, subject: str, detail: Mapping[str, Any] | None = None) -> int:
        """In a transaction of its own; inside another one call the module's `append`."""
        return self._store.apply(lambda conn: append(conn, self._store.clock.now(), actor, action, subject, detail))

    def log(self, limit: int | None = None, since: datetime | None = None) -> list[AuditRow]:
        """The newest `limit` rows, oldest first."""
        query = select(audit).order_by(audit.c.seq.desc()).limit(limit)
        if since is not None:
            query = query.where(audit.c.at_us >= to_us(since))
        with self._store.read() as conn:
            return [_row_of(row) for row in conn.execute(query)][::-1]

    def verify(self) -> ChainCheck:
        with self._store.read() as conn:
            rows = conn.execution_options(yield_per=1000).execute(select(audit).order_by(audit.c.seq))
            return check_chain(rows, _head(conn))


def _row_of(row: Row[Any]) -> AuditRow:
    return AuditRow(row.seq, from_us(row.at_us), row.actor, row.action, row.subject, json.loads(row.detail), row.hash)
