"""How the platforms answered, by hour. What is counted in a process is added to it now and then, in one go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Connection, case, delete, func, select, text

from nova.clock import HOUR_US, to_us
from nova.ledger.schema_revenue import platform_calls

if TYPE_CHECKING:
    from nova.ledger.store import Store

KEEP_DAYS = 90
_ADD = text("""
    INSERT INTO platform_calls (platform, hour, calls, errors, limited, seconds, longest_s, last_error)
    VALUES (:platform, :hour, :calls, :errors, :limited, :seconds, :longest_s, :last_error)
    ON CONFLICT (platform, hour) DO UPDATE SET
        calls = platform_calls.calls + excluded.calls,
        errors = platform_calls.errors + excluded.errors,
        limited = platform_calls.limited + excluded.limited,
        seconds = platform_calls.seconds + excluded.seconds,
        longest_s = max(platform_calls.longest_s, excluded.longest_s),
        last_error = coalesce(excluded.last_error, platform_calls.last_error)
""")


class Counted(Protocol):
    """The calls of one platform within one hour since 1970."""

    platform: str
    hour: int
    calls: int
    errors: int
    limited: int
    seconds: float
    longest_s: float
    last_error: str | None


@dataclass(frozen=True, slots=True)
class CallSums:
    """`hour` is the last one with a call, `error_hour` the last one with an error."""

    platform: str
    hour: int
    calls: int
    errors: int
    limited: int
    seconds: float
    longest_s: float
    last_error: str | None = None
    error_hour: int | None = None

    @property
    def error_rate(self) -> float:
        return self.errors / self.calls if self.calls else 0.0

    @property
    def mean_s(self) -> float:
        return self.seconds / self.calls if self.calls else 0.0


class PlatformCalls:
    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, counted: Iterable[Counted]) -> None:
        rows = [{name: getattr(one, name) for name in _FIELDS} for one in counted]
        if rows:
            self._store.apply(lambda conn: conn.execute(_ADD, rows))

    def sums(self, since: datetime, until: datetime) -> dict[str, CallSums]:
        """By platform, of the whole hours that [since, until) touches."""
        table = platform_calls.c
        error_hour = func.max(case((table.errors > 0, table.hour)))
        query = select(
            table.platform, func.max(table.hour), func.sum(table.calls), func.sum(table.errors),
            func.sum(table.limited), func.sum(table.seconds), func.max(table.longest_s), error_hour,
        ).where(*_within(since, until)).group_by(table.platform)  # fmt: skip
        with self._store.read() as conn:
            return {
                row[0]: CallSums(*row[:7], _last_error(conn, row[0], row[7]), row[7]) for row in conn.execute(query)
            }

    def by_hour(self, platform: str, since: datetime, until: datetime) -> list[CallSums]:
        """The newest first."""
        query = select(platform_calls).where(platform_calls.c.platform == platform, *_within(since, until))
        with self._store.read() as conn:
            return [CallSums(*row) for row in conn.execute(query.order_by(platform_calls.c.hour.desc()))]

    def prune(self, now: datetime) -> int:
        before = to_us(now) // HOUR_US - KEEP_DAYS * 24
        old = delete(platform_calls).where(platform_calls.c.hour < before)
        return self._store.apply(lambda conn: conn.execute(old).rowcount)


_FIELDS = tuple(Counted.__annotations__)


def _within(since: datetime, until: datetime) -> tuple[Any, ...]:
    hour = platform_calls.c.hour
    return hour >= to_us(since) // HOUR_US, hour <= (to_us(until) - 1) // HOUR_US


def _last_error(conn: Connection, platform: str, hour: int | None) -> str | None:
    one = platform_calls.c.platform == platform, platform_calls.c.hour == hour
    found: str | None = conn.execute(select(platform_calls.c.last_error).where(*one)).scalar()
    return found
