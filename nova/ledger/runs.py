"""Runs: their start, their one end, the sums that stay of them, and what is done for those whose manager died."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, and_, bindparam, delete, insert, or_, select, text, update
from sqlalchemy.exc import IntegrityError

from nova.clock import HOUR_US, from_us, to_us
from nova.errors import NotFound, NovaError
from nova.ledger.accounts import Bill, book_run
from nova.ledger.dialect import driver_of
from nova.ledger.limits import RunRef
from nova.ledger.run_batch import END_LINEAGE, Ended, Record, Started, write
from nova.ledger.run_records import (
    ADD_ROLLUP,
    ADD_TOTAL,
    ERROR_CHARS,
    ImportedRuns,
    RunRecord,
    RunSums,
    RunTotals,
    import_runs,
    record_of,
    totals_of,
    values_of,
)
from nova.ledger.schema import managers, reservations, run_accounts, run_totals, runs, starts
from nova.money import Money

if TYPE_CHECKING:
    from nova.ledger.store import Store

__all__ = [
    "MANAGER_DIED", "ImportedRuns", "Recovered", "RunRecord", "RunSums", "RunTotals", "Runs",
    "add_restart", "end_run", "import_runs", "recover",
]  # fmt: skip

log = logging.getLogger(__name__)

MANAGER_DIED = "its manager died"  # the error of a run that was left open
_DAY_US = 24 * HOUR_US
_PRUNE_ROWS = 5000
_FEW = 500

_END = (
    update(runs)
    .where(runs.c.id == bindparam("run"), runs.c.ended_us.is_(None))
    .values(ended_us=bindparam("at"), status=bindparam("state"), error=bindparam("why"), crash=bindparam("crashed"))
    .returning(runs.c.worker, runs.c.started_us)
)
_COST = update(runs).where(runs.c.id == bindparam("run")).values(cost_micros=bindparam("cost"))
_SUMS = text("""
    SELECT worker, sum(succeeded) AS succeeded, sum(failed) AS failed, sum(interrupted) AS interrupted,
           sum(crashed) AS crashed, sum(duration_us) AS duration_us
    FROM run_rollups WHERE hour BETWEEN :since AND :until GROUP BY worker
""")


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was found of dead managers: runs now interrupted, and what of their reservations was charged or released."""

    runs: tuple[RunRecord, ...]
    charged: Money
    released: Money


def end_run(
    conn: Connection,
    store: Store,
    run: RunRef,
    at: datetime,
    status: str,
    error: str | None = None,
    crash: bool = False,
) -> bool:
    """Ends a run once and books what it spent. False, with no effect, when it has ended already: a late result."""
    return _end(conn, store, run, at, status, error, crash) is not None


def _end(
    conn: Connection, store: Store, run: RunRef, at: datetime, status: str, error: str | None, crash: bool
) -> Bill | None:
    error = error and error[-ERROR_CHARS:]
    ended = to_us(at)
    values = {"run": run.run, "at": ended, "state": status, "why": error, "crashed": crash}
    row = conn.execute(_END, values).one_or_none()
    if row is None:
        if conn.execute(select(runs.c.id).where(runs.c.id == run.run)).first() is not None:
            return None
        record = RunRecord(run.run, run.worker, run.instance, at, at, status, error, crash)
        conn.execute(insert(runs), values_of(record, run.manager))
    started = ended if row is None else row.started_us
    counts = {name: int(name == status) for name in ("succeeded", "failed", "interrupted")}
    sums = {"worker": run.worker, **counts, "crashed": int(crash)}
    conn.execute(ADD_ROLLUP, {**sums, "hour": ended // HOUR_US, "duration": max(0, ended - started)})
    failed = error or None if status == "failed" else None
    span = {"restarts": 0, "first": started, "last": ended}
    conn.execute(ADD_TOTAL, {**sums, **span, "error": failed, "error_at": ended if failed else None})
    bill = book_run(conn, store, run.run)
    if bill.cost is not None:
        conn.execute(_COST, {"run": run.run, "cost": bill.cost.micros})
    return bill


def recover(conn: Connection, store: Store, dead: Collection[str]) -> Recovered:
    """Ends what managers known to be dead left open as interrupted, at their last heartbeat. Again: nothing is left.

    A run that cannot be ended stays open, is logged, and stands in no other's way.
    """
    now = to_us(store.clock.now())
    beats = select(managers.c.id, managers.c.heartbeat_us).where(managers.c.id.in_(dead))
    last_seen: dict[str, int] = {row.id: row.heartbeat_us for row in conn.execute(beats)}
    found: list[RunRecord] = []
    charged = released = Money.zero(store.currency)
    for run, started in _left_open(conn, dead):
        at = from_us(max(started, min(now, last_seen.get(run.manager or "", now))))
        try:
            with conn.begin_nested():
                ended = _end(conn, store, run, at, "interrupted", MANAGER_DIED, False)
        except (NovaError, IntegrityError):
            log.exception("run_not_recovered", extra={"action": "run_not_recovered", "run": run.run})
            continue
        if ended is not None:
            found.append(RunRecord(run.run, run.worker, run.instance, from_us(started), at, "interrupted"))
            charged, released = charged + ended.charged, released + ended.released
    return Recovered(tuple(found), charged, released)


def _left_open(conn: Connection, dead: Collection[str]) -> list[tuple[RunRef, int]]:
    """Open runs, and runs known only by their money because their record lagged behind it and was lost."""
    open_runs = select(runs).where(runs.c.manager.in_(dead), runs.c.ended_us.is_(None))
    found = {
        row.id: (RunRef(row.id, row.worker, row.instance, "", row.manager), row.started_us)
        for row in conn.execute(open_runs)
    }
    for table, at in ((run_accounts, run_accounts.c.last_us), (reservations, reservations.c.opened_us)):
        query = select(table.c.run, table.c.worker, table.c.department, table.c.manager, at.label("at"))
        for row in conn.execute(query.where(table.c.manager.in_(dead))):
            run = RunRef(row.run, row.worker, "", row.department, row.manager)
            found.setdefault(row.run, (run, row.at))
    return list(found.values())


def add_restart(conn: Connection, worker: str, at: datetime) -> None:
    none = dict.fromkeys(("succeeded", "failed", "interrupted", "crashed"), 0)
    at_us = to_us(at)
    values = {"worker": worker, **none, "restarts": 1, "first": at_us, "last": at_us}
    conn.execute(ADD_TOTAL, {**values, "error": None, "error_at": None})


def prune_some(conn: Connection, worker: str, now: datetime, days: int, failed_days: int) -> int:
    """Deletes some old runs of a worker and moves its mark; the sums keep them. Returns how many, 0 when none are left.

    Hours from the mark on still have all their runs, so that the sums can be recounted there.
    """
    mark = (to_us(now) - days * _DAY_US) // HOUR_US * HOUR_US
    failed = mark - max(0, failed_days - days) * _DAY_US
    old = or_(and_(runs.c.status == "succeeded", runs.c.ended_us < mark), runs.c.ended_us < failed)
    chosen = select(runs.c.id).where(runs.c.worker == worker, runs.c.started_us < mark, old).limit(_PRUNE_ROWS)
    gone = conn.execute(delete(runs).where(runs.c.id.in_(chosen))).rowcount
    if gone:
        unmoved = or_(run_totals.c.pruned_us.is_(None), run_totals.c.pruned_us < mark)
        conn.execute(update(run_totals).where(run_totals.c.worker == worker, unmoved).values(pruned_us=mark))
    return gone


class Runs:
    """The runs of a ledger. Records of starts and ends may lag 100 ms where the store is grouped."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sink = self._write

    def _write(self, conn: Connection, records: Sequence[Record]) -> None:
        write(conn, records, self._end_one)

    def _end_one(self, conn: Connection, end: Ended) -> bool:
        taken = end_run(conn, self._store, end.run, end.at, end.status, end.error, end.crash)
        if not taken:
            log.warning("late_result_refused", extra={"action": "late_result_refused", "run": end.run.run})
        return taken

    def started(self, run: RunRef, at: datetime, slot: datetime | None = None) -> None:
        """Also the instance's last start, earlier or later than the one before: clocks are set back.

        `slot` is the time of its schedule that the run is for: it stands as the last start then.
        """
        self._store.collect(self._sink, Started(run, at, slot))

    def ended(self, run: RunRef, at: datetime, status: str, error: str | None = None, crash: bool = False) -> None:
        """Ends the run and books what it spent; a late result, after it was ended otherwise, is logged and refused."""
        self._store.collect(self._sink, Ended(run, at, status, error, crash))

    def end(self, run: RunRef, at: datetime, status: str, error: str | None = None, crash: bool = False) -> bool:
        """The same, durable on return; False when the run had ended already."""
        return self._store.apply(lambda conn: self._end_now(conn, Ended(run, at, status, error, crash)))

    def _end_now(self, conn: Connection, end: Ended) -> bool:
        taken = end_run(conn, self._store, end.run, end.at, end.status, end.error, end.crash)
        if taken and end.status == "succeeded":
            driver_of(conn).execute(END_LINEAGE, (end.run.instance,))
        return taken

    def lineage(self, run: RunRef) -> str:
        """The first run of its instance since one succeeded: the same for a run and for those that make it again."""
        mine = select(starts.c.lineage).where(starts.c.instance == run.instance)
        found: str | None = self._store.apply(
            lambda conn: conn.execute(mine).scalar()
        )  # behind what waits to be written
        return found or run.run

    def recover(self, dead: Collection[str]) -> Recovered:
        """Interrupts the open runs of managers that are known to be dead; idempotent."""
        return self._store.apply(lambda conn: recover(conn, self._store, dead))

    def restarted(self, worker: str) -> None:
        self._store.submit(lambda conn: add_restart(conn, worker, self._store.clock.now()))

    def prune(self, now: datetime, days: int = 30, failed_days: int = 90) -> int:
        """Deletes runs that ended well more than `days` ago, others after `failed_days`, in small transactions."""
        with self._store.read() as conn:
            workers = conn.execute(select(run_totals.c.worker)).scalars().all()
        return sum(gone for worker in workers for gone in self._prune(worker, now, days, failed_days))

    def _prune(self, worker: str, now: datetime, days: int, failed_days: int) -> Iterator[int]:
        gone = _PRUNE_ROWS
        while gone == _PRUNE_ROWS:
            gone = self._store.apply(lambda conn: prune_some(conn, worker, now, days, failed_days))
            yield gone

    def get(self, run: str) -> RunRecord:
        with self._store.read() as conn:
            row = conn.execute(select(runs).where(runs.c.id == run)).one_or_none()
        if row is None:
            raise NotFound(f"no run {run}")
        return record_of(row)

    def recent(self, worker: str, limit: int = 20) -> list[RunRecord]:
        """The last started first."""
        newest = select(runs).where(runs.c.worker == worker).order_by(runs.c.started_us.desc()).limit(limit)
        with self._store.read() as conn:
            return [record_of(row) for row in conn.execute(newest)]

    def last_starts(self, workers: Collection[str] | None = None) -> dict[str, datetime]:
        """By instance, also across restarts and pruning; of these workers, or of all."""
        query = select(starts.c.instance, starts.c.worker, starts.c.started_us)
        if workers is not None and len(workers) <= _FEW:
            query = query.where(starts.c.worker.in_(workers))
        with self._store.read() as conn:
            return {
                row.instance: from_us(row.started_us)
                for row in conn.execute(query)
                if workers is None or row.worker in workers
            }

    def is_over(self, instance: str, since: datetime) -> bool:
        """Whether its one run since then was made. One that crashed or was interrupted is to be made again."""
        last = select(runs.c.status, runs.c.crash).where(
            runs.c.worker == instance.rpartition("#")[0], runs.c.instance == instance, runs.c.started_us >= to_us(since)
        )
        mark = select(starts.c.started_us).where(starts.c.instance == instance)
        with self._store.read() as conn:
            row = conn.execute(last.order_by(runs.c.started_us.desc()).limit(1)).one_or_none()
            if row is not None:
                return row.status == "succeeded" or (row.status == "failed" and not row.crash)
            started = conn.execute(mark).scalar()  # its record may have been pruned
        return started is not None and started >= to_us(since)

    def forget_starts(self, worker: str) -> None:
        """So that a deployment that comes back under the name is due at once."""
        self._store.apply(lambda conn: conn.execute(delete(starts).where(starts.c.worker == worker)))

    def totals(self) -> dict[str, RunTotals]:
        with self._store.read() as conn:
            return {row.worker: totals_of(row) for row in conn.execute(select(run_totals))}

    def sums(self, since: datetime, until: datetime) -> dict[str, RunSums]:
        """By worker, of the runs that ended in the whole hours that [since, until) touches."""
        with self._store.read() as conn:
            values = {"since": to_us(since) // HOUR_US, "until": (to_us(until) - 1) // HOUR_US}
            return {
                row.worker: RunSums(row.succeeded, row.failed, row.interrupted, row.crashed, row.duration_us / 1e6)
                for row in conn.execute(_SUMS, values)
            }
