"""What is kept of runs: their records, the sums of them by hour and for ever, and records that come from elsewhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, insert, select, text

from nova.clock import HOUR_US, from_us, to_us
from nova.ledger.schema import run_totals, runs

STATUSES = ("succeeded", "failed", "interrupted")
ERROR_CHARS = 4000
_CHUNK = 500

ADD_ROLLUP = text("""
    INSERT INTO run_rollups (worker, hour, succeeded, failed, interrupted, crashed, duration_us)
    VALUES (:worker, :hour, :succeeded, :failed, :interrupted, :crashed, :duration)
    ON CONFLICT (worker, hour) DO UPDATE SET
        succeeded = run_rollups.succeeded + excluded.succeeded,
        failed = run_rollups.failed + excluded.failed,
        interrupted = run_rollups.interrupted + excluded.interrupted,
        crashed = run_rollups.crashed + excluded.crashed,
        duration_us = run_rollups.duration_us + excluded.duration_us
""")
ADD_TOTAL = text("""
    INSERT INTO run_totals (worker, succeeded, failed, interrupted, crashed, restarts, first_us, last_us,
                            last_error, last_error_us)
    VALUES (:worker, :succeeded, :failed, :interrupted, :crashed, :restarts, :first, :last, :error, :error_at)
    ON CONFLICT (worker) DO UPDATE SET
        succeeded = run_totals.succeeded + excluded.succeeded,
        failed = run_totals.failed + excluded.failed,
        interrupted = run_totals.interrupted + excluded.interrupted,
        crashed = run_totals.crashed + excluded.crashed,
        restarts = run_totals.restarts + excluded.restarts,
        first_us = CASE WHEN excluded.first_us < run_totals.first_us
            THEN excluded.first_us ELSE run_totals.first_us END,
        last_us = CASE WHEN excluded.last_us > run_totals.last_us
            THEN excluded.last_us ELSE run_totals.last_us END,
        last_error = CASE WHEN excluded.last_error_us >= coalesce(run_totals.last_error_us, 0)
            THEN excluded.last_error ELSE run_totals.last_error END,
        last_error_us = CASE WHEN excluded.last_error_us >= coalesce(run_totals.last_error_us, 0)
            THEN excluded.last_error_us ELSE run_totals.last_error_us END
""")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One execution. `status` is running (then `ended_at` is null), succeeded, failed or interrupted."""

    id: str
    worker: str
    instance: str
    started_at: datetime
    ended_at: datetime | None
    status: str
    error: str | None = None
    crash: bool = False


@dataclass(frozen=True, slots=True)
class RunTotals:
    """Of all ended runs of a worker; `first_at` is the first start, `last_at` the last end."""

    worker: str
    succeeded: int
    failed: int
    interrupted: int
    crashed: int
    restarts: int
    first_at: datetime
    last_at: datetime
    last_error: str | None
    last_error_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunSums:
    """Of the runs of a worker that ended within a span."""

    succeeded: int
    failed: int
    interrupted: int
    crashed: int
    duration_s: float


class ImportedRuns(NamedTuple):
    """`conflicts` are (index in what was given, why it was refused)."""

    new: int
    duplicate: int
    conflicts: tuple[tuple[int, str], ...]


def record_of(row: Row[Any]) -> RunRecord:
    ended = None if row.ended_us is None else from_us(row.ended_us)
    return RunRecord(
        row.id, row.worker, row.instance, from_us(row.started_us), ended, row.status, row.error, bool(row.crash)
    )


def values_of(record: RunRecord, manager: str | None = None) -> dict[str, Any]:
    return {
        "id": record.id,
        "worker": record.worker,
        "instance": record.instance,
        "started_us": to_us(record.started_at),
        "ended_us": None if record.ended_at is None else to_us(record.ended_at),
        "status": record.status,
        "error": record.error and record.error[-ERROR_CHARS:],
        "crash": record.crash,
        "manager": manager,
    }


def totals_of(row: Row[Any]) -> RunTotals:
    error_at = None if row.last_error_us is None else from_us(row.last_error_us)
    return RunTotals(
        row.worker,
        row.succeeded,
        row.failed,
        row.interrupted,
        row.crashed,
        row.restarts,
        from_us(row.first_us),
        from_us(row.last_us),
        row.last_error,
        error_at,
    )


def import_runs(conn: Connection, records: Sequence[RunRecord]) -> ImportedRuns:
    """Adds ended runs from elsewhere: the same again is a duplicate, the same id with another content is refused.

    A run older than what retention deleted of its worker is a duplicate too: it was counted before it was deleted.
    Neither the due times of instances nor budgets follow from it.
    """
    known = _known(conn, {record.id for record in records})
    marks = _prune_marks(conn, {record.worker for record in records})
    new: list[dict[str, Any]] = []
    conflicts: list[tuple[int, str]] = []
    for index, record in enumerate(records):
        if record.ended_at is None or record.status not in STATUSES:
            conflicts.append((index, f"the run {record.id} has not ended"))
            continue
        values = values_of(record)
        content = _content(values)
        before = known.setdefault(record.id, content)
        if before is not content:
            if before != content:
                conflicts.append((index, f"the run {record.id} is in the ledger with another content"))
        elif values["ended_us"] >= marks.get(record.worker, values["ended_us"]):
            new.append(values)
    if new:
        conn.execute(insert(runs), new)
        _add_sums(conn, new)
    return ImportedRuns(len(new), len(records) - len(new) - len(conflicts), tuple(conflicts))


def _content(values: Any) -> tuple[Any, ...]:
    """What makes two records the same; exports do not tell crashes from other failures."""
    return tuple(values[name] for name in ("worker", "instance", "started_us", "ended_us", "status", "error"))


def _known(conn: Connection, ids: set[str]) -> dict[str, tuple[Any, ...]]:
    wanted = sorted(ids)
    known = {}
    for first in range(0, len(wanted), _CHUNK):
        some = select(runs).where(runs.c.id.in_(wanted[first : first + _CHUNK]))
        known.update({row.id: _content(row._mapping) for row in conn.execute(some)})
    return known


def _prune_marks(conn: Connection, workers: set[str]) -> dict[str, int]:
    marks = select(run_totals.c.worker, run_totals.c.pruned_us).where(run_totals.c.pruned_us.is_not(None))
    return {worker: mark for worker, mark in conn.execute(marks) if worker in workers}


def _add_sums(conn: Connection, rows: Iterable[dict[str, Any]]) -> None:
    hours: dict[tuple[str, int], dict[str, Any]] = defaultdict(lambda: dict.fromkeys((*_COUNTS, "duration"), 0))
    totals: dict[str, dict[str, Any]] = {}
    for row in rows:
        worker, started, ended = row["worker"], row["started_us"], row["ended_us"]
        hour = hours[worker, ended // HOUR_US]
        total = totals.setdefault(worker, {**dict.fromkeys(_COUNTS, 0), "first": started, "last": ended, **_NO_ERROR})
        for sums in (hour, total):
            sums[row["status"]] += 1
            sums["crashed"] += row["crash"]
        hour["duration"] += max(0, ended - started)
        total["first"], total["last"] = min(total["first"], started), max(total["last"], ended)
        if row["status"] == "failed" and row["error"] and ended >= (total["error_at"] or 0):
            total["error"], total["error_at"] = row["error"], ended
    conn.execute(ADD_ROLLUP, [{"worker": worker, "hour": hour, **sums} for (worker, hour), sums in hours.items()])
    conn.execute(ADD_TOTAL, [{"worker": worker, "restarts": 0, **sums} for worker, sums in totals.items()])


_COUNTS = (*STATUSES, "crashed")
_NO_ERROR = {"error": None, "error_at": None}
