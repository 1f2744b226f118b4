"""The records of many runs in few statements: a thousand short runs a second leave the processor to the workers."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from nova.clock import HOUR_US, to_us
from nova.ledger.dialect import driver_of
from nova.ledger.limits import RunRef
from nova.ledger.run_records import ADD_ROLLUP, ADD_TOTAL, ERROR_CHARS

log = logging.getLogger(__name__)

_INSERT = """
    INSERT INTO runs (id, worker, instance, started_us, ended_us, status, error, crash, manager)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_END = "UPDATE runs SET ended_us = ?, status = ?, error = ?, crash = ? WHERE id = ?"
_START = """
    INSERT INTO starts (instance, worker, started_us, lineage) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (instance) DO UPDATE SET worker = excluded.worker, started_us = excluded.started_us,
        lineage = CASE WHEN ?5 THEN excluded.lineage ELSE coalesce(starts.lineage, excluded.lineage) END
"""
END_LINEAGE = "UPDATE starts SET lineage = NULL WHERE instance = ?"


@dataclass(frozen=True, slots=True)
class Started:
    """`slot` is the time of its schedule that the run is for: it stands as the instance's last start then."""

    run: RunRef
    at: datetime
    slot: datetime | None


@dataclass(frozen=True, slots=True)
class Ended:
    run: RunRef
    at: datetime
    status: str
    error: str | None
    crash: bool


Record = Started | Ended
EndOne = Callable[[Connection, Ended], bool]


def write(conn: Connection, records: Sequence[Record], end_one: EndOne) -> None:
    """In the order given. Runs that end here and spent nothing are ended together, those that began here too as one
    row each; the others' ends are left to `end_one`, which says whether it took them.
    """
    ends: dict[str, Ended] = {}
    for record in records:
        if isinstance(record, Ended):
            ends.setdefault(record.run.run, record)
    starts = {record.run.run: record for record in records if isinstance(record, Started)}
    simple = ends.keys() - _with_money(conn, ends.keys())
    open_since = _open_since(conn, simple - starts.keys())
    began = {**open_since, **{run: to_us(starts[run].at) for run in simple & starts.keys()}}
    whole = {run: end for run, end in ends.items() if run in began}
    _insert(conn, starts, whole)
    _close(conn, [whole[run] for run in open_since])
    _add_sums(conn, began, whole)
    refused = {
        place
        for place, record in enumerate(records)
        if isinstance(record, Ended) and whole.get(record.run.run) is not record and not end_one(conn, record)
    }
    _mark(conn, records, refused)


def _with_money(conn: Connection, run_ids: Collection[str]) -> set[str]:
    if not run_ids:
        return set()
    marks = ", ".join("?" * len(run_ids))
    query = f"SELECT scope FROM budget_usage WHERE scope IN ({marks})"
    found = driver_of(conn).execute(query, [f"run:{run}" for run in run_ids])
    return {scope.removeprefix("run:") for (scope,) in found}


def _open_since(conn: Connection, run_ids: Collection[str]) -> dict[str, int]:
    """When those of these runs began (microseconds) that the ledger knows and that have not ended."""
    if not run_ids:
        return {}
    marks = ", ".join("?" * len(run_ids))
    query = f"SELECT id, started_us FROM runs WHERE id IN ({marks}) AND ended_us IS NULL"
    return dict(driver_of(conn).execute(query, list(run_ids)))


def _close(conn: Connection, ends: Sequence[Ended]) -> None:
    rows = [(to_us(end.at), end.status, _error(end), end.crash, end.run.run) for end in ends]
    if rows:
        driver_of(conn).executemany(_END, rows)


def _insert(conn: Connection, starts: dict[str, Started], whole: dict[str, Ended]) -> None:
    rows = []
    for key, begun in starts.items():
        run, end, at = begun.run, whole.get(key), to_us(begun.at)
        tail = (None, "running", None, False) if end is None else (to_us(end.at), end.status, _error(end), end.crash)
        rows.append((run.run, run.worker, run.instance, at, *tail, run.manager))
    driver_of(conn).executemany(_INSERT, rows)


def _mark(conn: Connection, records: Sequence[Record], refused: Collection[int]) -> None:
    """The last start of each instance, and the first of its runs since one succeeded."""
    last: dict[str, Started] = {}
    lineages: dict[str, tuple[str | None, bool]] = {}  # the second: whatever was there before is over
    for place, record in enumerate(records):
        instance = record.run.instance
        first, anew = lineages.get(instance, (None, False))
        if isinstance(record, Started):
            last[instance] = record
            lineages[instance] = (first or record.run.run, anew)
        elif record.status == "succeeded" and place not in refused:
            lineages[instance] = (None, True)
    starts = []
    for instance, begun in last.items():
        at = begun.at if begun.slot is None else begun.slot
        starts.append((instance, begun.run.worker, to_us(at), *lineages.pop(instance)))
    driver = driver_of(conn)
    driver.executemany(_START, starts)
    driver.executemany(END_LINEAGE, [(instance,) for instance, (_, anew) in lineages.items() if anew])


def _add_sums(conn: Connection, began: Mapping[str, int], whole: dict[str, Ended]) -> None:
    """One row to add for each worker and hour, instead of one for each run."""
    by_worker: dict[str, list[str]] = defaultdict(list)
    by_hour: dict[tuple[str, int], list[str]] = defaultdict(list)
    for key, end in whole.items():
        by_worker[end.run.worker].append(key)
        by_hour[end.run.worker, to_us(end.at) // HOUR_US].append(key)
    rollups, totals = [], []
    for (worker, hour), keys in by_hour.items():
        spans = (to_us(whole[key].at) - began[key] for key in keys)
        rollups.append(
            {"worker": worker, "hour": hour, **_counts(whole, keys), "duration": sum(max(0, one) for one in spans)}
        )
    for worker, keys in by_worker.items():
        failed = [whole[key] for key in keys if whole[key].status == "failed" and whole[key].error]
        newest = max(reversed(failed), key=lambda one: one.at, default=None)  # of several the last one told of
        totals.append(
            {
                "worker": worker, **_counts(whole, keys), "restarts": 0,
                "first": min(began[key] for key in keys), "last": max(to_us(whole[key].at) for key in keys),
                "error": _error(newest) if newest else None, "error_at": to_us(newest.at) if newest else None,
            }
        )  # fmt: skip
    if totals:
        driver = driver_of(conn)
        driver.executemany(ADD_ROLLUP.text, rollups)
        driver.executemany(ADD_TOTAL.text, totals)


def _counts(whole: dict[str, Ended], keys: Sequence[str]) -> dict[str, int]:
    ended = [whole[key] for key in keys]
    counts = {status: sum(one.status == status for one in ended) for status in ("succeeded", "failed", "interrupted")}
    return {**counts, "crashed": sum(one.crash for one in ended)}


def _error(end: Ended) -> str | None:
    return end.error and end.error[-ERROR_CHARS:]
