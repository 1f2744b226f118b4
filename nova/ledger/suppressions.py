"""Who is not to be written to any more, and why: a hash of the address, never the address."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, func, select
from sqlalchemy import text as sql

from nova.clock import from_us, to_us
from nova.errors import UsageProblem
from nova.ledger.schema_revenue import suppressions
from nova.people import subject_of_email

if TYPE_CHECKING:
    from nova.ledger.store import Store

REASONS = ("unsubscribe", "spam", "bounce", "invalid", "manual")  # the first one that holds is told
_CHUNK = 500
_ADD = sql("""
    INSERT INTO suppressions (subject, reason, source, at_us) VALUES (:subject, :reason, :source, :at_us)
    ON CONFLICT (subject, reason) DO NOTHING
""")


@dataclass(frozen=True, slots=True)
class Suppression:
    """`source` says who told: a platform, a worker, a person."""

    subject: str
    reason: str
    source: str
    at: datetime


def add(conn: Connection, subjects: Iterable[str], reason: str, source: str, at: datetime) -> int:
    """How many were not suppressed for this reason before. Raises UsageProblem for a reason that is none."""
    if reason not in REASONS:
        raise UsageProblem(f"nobody is suppressed for {reason[:40]!r}", hint=f"the reasons are {', '.join(REASONS)}")
    new = 0
    for subject in dict.fromkeys(subjects):
        values = {"subject": subject, "reason": reason, "source": source, "at_us": to_us(at)}
        new += conn.execute(_ADD, values).rowcount
    return new


def of(conn: Connection, subjects: Iterable[str]) -> dict[str, str]:
    """The reason for those of them that are suppressed."""
    asked = list(dict.fromkeys(subjects))
    found: dict[str, str] = {}
    for first in range(0, len(asked), _CHUNK):
        some = suppressions.c.subject.in_(asked[first : first + _CHUNK])
        for row in conn.execute(select(suppressions.c.subject, suppressions.c.reason).where(some)):
            found[row.subject] = min(row.reason, found.get(row.subject, row.reason), key=REASONS.index)
    return found


class Suppressions:
    """Writes are durable when they return."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, subjects: Sequence[str], reason: str, source: str, at: datetime | None = None) -> int:
        when = at or self._store.clock.now()
        return self._store.apply(lambda conn: add(conn, subjects, reason, source, when))

    def of(self, subjects: Iterable[str]) -> dict[str, str]:
        with self._store.read() as conn:
            return of(conn, subjects)

    def addresses(self, emails: Sequence[str]) -> dict[str, str]:
        """As `of`, by email address."""
        named = {email: subject_of_email(email) for email in emails}
        found = self.of(named.values())
        return {email: found[subject] for email, subject in named.items() if subject in found}

    def remove(self, subject: str) -> int:
        """Whatever the reasons were; how many there were."""
        gone = delete(suppressions).where(suppressions.c.subject == subject)
        return self._store.apply(lambda conn: conn.execute(gone).rowcount)

    def why(self, subject: str) -> list[Suppression]:
        query = select(suppressions).where(suppressions.c.subject == subject).order_by(suppressions.c.at_us)
        with self._store.read() as conn:
            return [_suppression(row) for row in conn.execute(query)]

    def counts(self) -> dict[str, int]:
        """By reason."""
        query = select(suppressions.c.reason, func.count()).group_by(suppressions.c.reason)
        with self._store.read() as conn:
            return dict.fromkeys(REASONS, 0) | {row[0]: row[1] for row in conn.execute(query)}


def _suppression(row: Any) -> Suppression:
    return Suppression(row.subject, row.reason, row.source, from_us(row.at_us))
