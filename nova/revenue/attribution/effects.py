"""Markov's removal effects, from all paths that led to payments in the same month.

Paths that led to no payment are left out: who has not bought yet may still do so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from nova.ledger import credits
from nova.revenue.attribution.markov import effects_of, transitions
from nova.revenue.attribution.payments import Payment, load

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from nova.ledger.ledger import Ledger

_CHUNK = 500


class MonthlyEffects:
    """By the month (UTC) an instant lies in; each is computed once."""

    def __init__(self, ledger: Ledger, window: timedelta) -> None:
        self._ledger, self._window = ledger, window
        self._known: dict[datetime, Mapping[str, float]] = {}

    def __call__(self, at: datetime) -> Mapping[str, float]:
        month = month_of(at)
        if month not in self._known:
            paths: Counter[tuple[str, ...]] = Counter()
            with self._ledger.read() as conn:
                for payment in payments_between(conn, self._ledger, self._window, month, _next(month)):
                    paths[tuple(step.worker for step in payment.path)] += 1
            del paths[()]
            self._known[month] = effects_of(transitions(paths, {}))
        return self._known[month]


def payments_between(
    conn: Connection, ledger: Ledger, window: timedelta, since: datetime | None, until: datetime | None
) -> Iterator[Payment]:
    """Those that some model may divide."""
    after: tuple[str, str] | None = None
    while keys := credits.with_subject(conn, since, until, after, _CHUNK):
        yield from load(conn, ledger.store, keys, window).values()
        after = keys[-1]


def month_of(at: datetime) -> datetime:
    """Its first instant."""
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _next(month: datetime) -> datetime:
    return month_of(month + timedelta(days=32))
