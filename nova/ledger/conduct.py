"""How a deployment has conducted itself, as far as its breaker asks: its last runs, what they cost, when it got on."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import ColumnElement, func, select

from nova.clock import HOUR_US, from_us, to_us
from nova.ledger.schema import claims, outbox, rollups, runs, totals, worker_state

if TYPE_CHECKING:
    from nova.ledger.store import Store

_MOST_LOOKED_AT = 2000  # runs: of a worker that seldom spends most cost nothing


class EndedRun(NamedTuple):
    """`cost` in millionths; None where it metered nothing."""

    id: str
    instance: str
    started_at: datetime
    status: str
    cost: int | None
    error: str | None


class Conduct:
    """Reads only, and a bounded number of rows, whatever the history."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def last_runs(self, worker: str, since: datetime, limit: int) -> list[EndedRun]:
        """Those that began from `since` on and ended by themselves, in the order they began."""
        columns = (runs.c.id, runs.c.instance, runs.c.started_us, runs.c.status, runs.c.cost_micros, runs.c.error)
        query = (
            select(*columns)
            .where(*_of(worker, since), runs.c.status.in_(("succeeded", "failed")))
            .order_by(runs.c.started_us.desc())
            .limit(limit)
        )
        with self._store.read() as conn:
            found = [EndedRun(id, of, from_us(at), *rest) for id, of, at, *rest in conn.execute(query)]
        return found[::-1]

    def costs_of_runs(self, worker: str, since: datetime, limit: int) -> list[tuple[str, datetime, int]]:
        """(instance, start, millionths) of the last runs that succeeded and cost something, in the order they began."""
        recent = (
            select(runs.c.instance, runs.c.started_us, runs.c.cost_micros, runs.c.status)
            .where(*_of(worker, since))
            .order_by(runs.c.started_us.desc())
            .limit(_MOST_LOOKED_AT)
            .subquery()
        )
        priced = select(recent.c.instance, recent.c.started_us, recent.c.cost_micros).where(
            recent.c.cost_micros > 0, recent.c.status == "succeeded"
        )
        query = priced.order_by(recent.c.started_us.desc()).limit(limit)
        with self._store.read() as conn:
            return [(row[0], from_us(row[1]), row[2]) for row in conn.execute(query)][::-1]

    def costs_of_hours(self, worker: str, since: datetime, until: datetime) -> dict[int, int]:
        """Millionths that its own runs spent, by hour since 1970, in the hours that [since, until] touches."""
        return self._hours(worker, since, until, rollups.c.side == "cost", rollups.c.source == f"worker:{worker}")

    def earnings_of_hours(self, worker: str, since: datetime, until: datetime) -> dict[int, int]:
        """Millionths that it earned, whoever told of it, less what was paid back."""
        return self._hours(worker, since, until, rollups.c.side == "revenue")

    def _hours(self, worker: str, since: datetime, until: datetime, *which: ColumnElement[bool]) -> dict[int, int]:
        query = (
            select(rollups.c.hour, func.sum(rollups.c.micros))
            .where(
                rollups.c.worker == worker,
                rollups.c.hour.between(to_us(since) // HOUR_US, to_us(until) // HOUR_US),
                rollups.c.unit == "",
                *which,
            )
            .group_by(rollups.c.hour)
        )
        with self._store.read() as conn:
            return {hour: int(micros) for hour, micros in conn.execute(query)}

    def got_on_at(self, worker: str) -> datetime | None:
        """When it last earned or claimed something, changed its state or had an effect; None: never."""
        told = (
            select(func.max(totals.c.last_us)).where(totals.c.worker == worker, totals.c.side == "revenue"),
            select(func.max(claims.c.at_us)).where(claims.c.worker == worker),
            select(func.max(worker_state.c.updated_us)).where(worker_state.c.worker == worker),
            select(func.max(outbox.c.at_us)).where(outbox.c.worker == worker),
            select(func.max(outbox.c.done_us)).where(outbox.c.worker == worker),
        )
        with self._store.read() as conn:
            known = [us for query in told if (us := conn.execute(query).scalar()) is not None]
        return from_us(max(known)) if known else None


def _of(worker: str, since: datetime) -> tuple[ColumnElement[bool], ...]:
    """Without what a person ran in the terminal, whose instance has no number of a replica."""
    return runs.c.worker == worker, runs.c.started_us >= to_us(since), runs.c.instance != f"{worker}#0"
