"""Checks the ledger against itself: digests, sums against rows, the budgets' windows, the audit chain."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from nova.ledger import usage
from nova.ledger.audit import Audit
from nova.ledger.conversion import converted
from nova.ledger.facts import digest_of
from nova.ledger.rollups import MEASURES, SEEN
from nova.ledger.schema import entries

if TYPE_CHECKING:
    from nova.ledger.store import Store

_ROWS = 2000
_RESTORE = "keep a copy of it, and put the last good backup in its place with `nova ledger restore FILE`"
_RESTART = "NOVA_TIMEZONE was changed, and a manager still counts in the old one: `nova workers restart` counts anew"
_KEYS = {"rollups": "worker, hour, source, kind, side, unit", "totals": "worker, source, kind, side, unit"}


@dataclass(frozen=True, slots=True)
class Verified:
    """`first_bad` names the first thing that does not hold, in words, and `advice` what to do; null when all does."""

    ok: bool
    entries: int
    runs: int
    first_bad: str | None
    advice: str | None = None


def verify(store: Store) -> Verified:
    """Reads everything once, as of one instant, in memory that does not grow with the entries."""
    with store.read() as conn:
        counted = conn.exec_driver_sql("SELECT count(*) FROM entries").scalar_one()
        ended = conn.exec_driver_sql("SELECT count(*) FROM runs WHERE ended_us IS NOT NULL").scalar_one()
        bad, advice = next(_problems(conn, store), None), _RESTORE
        if bad is None and (bad := next(_windows(conn, store), None)) is not None and usage.moved(conn):
            advice = _RESTART
    if bad is None:
        chain = Audit(store).verify()
        bad = None if chain.ok else f"audit {chain.first_bad}: {chain.problem}"
    return Verified(bad is None, counted, ended, bad, advice if bad is not None else None)


def _problems(conn: Connection, store: Store) -> Iterator[str]:
    yield from _entries(conn, store.currency)
    yield from _sides(conn)
    yield from _sums(conn, "rollups", "")
    yield from _sums(conn, "totals", ", min(at_us), max(at_us)")
    yield from _runs(conn)


def _entries(conn: Connection, reporting: str) -> Iterator[str]:
    rows = conn.execution_options(yield_per=_ROWS).execute(select(entries).order_by(entries.c.seq))
    for row in rows:
        if digest_of(row) != row.digest:
            yield f"entry {row.source}/{row.id}: its content is not what was recorded"
        if row.booked_micros != _booked(row, reporting):
            yield f"entry {row.source}/{row.id}: it is booked with {row.booked_micros} millionths, not as its rate says"


def _booked(row: Any, reporting: str) -> int | None:
    if row.currency == reporting:
        micros: int = row.micros
        return micros
    return converted(row.micros, row.currency, row.rate, reporting)


_WRONG_SIDE = """
    SELECT e.source, e.id, e.side FROM entries e LEFT JOIN entries t
        ON t.source = substr(e.corrects, 1, instr(e.corrects, '/') - 1)
        AND t.id = substr(e.corrects, instr(e.corrects, '/') + 1)
    WHERE (e.kind = 'adjustment' AND e.side <> coalesce(t.side, 'pending'))
        OR (e.kind = 'cost' AND e.side <> 'cost') OR (e.kind NOT IN ('cost', 'adjustment') AND e.side <> 'revenue')
    LIMIT 1"""


def _sides(conn: Connection) -> Iterator[str]:
    for source, id, side in conn.exec_driver_sql(_WRONG_SIDE):
        yield f"entry {source}/{id}: it does not belong to the side {side}"


def _sums(conn: Connection, table: str, extremes: str) -> Iterator[str]:
    names = _KEYS[table]
    width = names.count(",") + 1
    last = ", first_us, last_us" if extremes else ""
    recount = conn.exec_driver_sql(
        f"SELECT {names}, {MEASURES}{extremes}, sum((a / 1e6) * (a / 1e6)) FROM ({SEEN})"
        f" GROUP BY {names} ORDER BY {names}"
    )
    kept = conn.exec_driver_sql(f"SELECT {names}, n, micros, squares, peak_micros{last} FROM {table} ORDER BY {names}")
    for key, counted, stored in _side_by_side(recount, kept, width):
        if counted is None or stored is None or not _same(counted, stored):
            yield f"{table} {_name(key)}: it holds {_figures(stored)}, but its entries give {_figures(counted)}"


def _same(counted: tuple[Any, ...], stored: tuple[Any, ...]) -> bool:
    n, micros, squares, *rest, gross = counted
    exact = [n, micros, *rest] == [stored[0], stored[1], *stored[3:]]
    return exact and math.isclose(squares, stored[2], rel_tol=1e-9, abs_tol=1e-9 * gross)


def _side_by_side(
    left: Iterable[Any], right: Iterable[Any], width: int
) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...] | None, tuple[Any, ...] | None]]:
    """Walks two sorted results together: (key, left's values, right's values), None where one has no such key."""
    lefts: Iterator[Any] = iter(left)
    rights: Iterator[Any] = iter(right)
    one, other = next(lefts, None), next(rights, None)
    while one is not None or other is not None:
        if one is not None and other is not None and one[:width] == other[:width]:
            yield tuple(one[:width]), tuple(one[width:]), tuple(other[width:])
            one, other = next(lefts, None), next(rights, None)
        elif one is not None and (other is None or one[:width] < other[:width]):
            yield tuple(one[:width]), tuple(one[width:]), None
            one = next(lefts, None)
        elif other is not None:
            yield tuple(other[:width]), None, tuple(other[width:])
            other = next(rights, None)


def _name(key: tuple[Any, ...]) -> str:
    return "/".join(str(part) for part in key)


def _figures(values: tuple[Any, ...] | None) -> str:
    return "nothing" if values is None else f"{values[1]} millionths in {values[0]}"


# Rows of runs that ended before a worker's mark may have been deleted; their sums stay.
_RUNS_COUNTED = """
    SELECT r.worker, r.ended_us / 3600000000 AS hour, sum(r.status = 'succeeded'), sum(r.status = 'failed'),
        sum(r.status = 'interrupted'), sum(r.crash), sum(max(0, r.ended_us - r.started_us))
    FROM runs r LEFT JOIN run_totals t ON t.worker = r.worker
    WHERE r.ended_us IS NOT NULL AND r.ended_us >= coalesce(t.pruned_us, 0) GROUP BY 1, 2 ORDER BY 1, 2"""
_RUNS_KEPT = """
    SELECT r.worker, r.hour, r.succeeded, r.failed, r.interrupted, r.crashed, r.duration_us
    FROM run_rollups r LEFT JOIN run_totals t ON t.worker = r.worker
    WHERE r.hour >= coalesce(t.pruned_us, 0) / 3600000000 ORDER BY 1, 2"""
_HOURS_ADDED = """
    SELECT worker, sum(succeeded), sum(failed), sum(interrupted), sum(crashed) FROM run_rollups GROUP BY 1 ORDER BY 1"""
_TOTALS_KEPT = """
    SELECT worker, succeeded, failed, interrupted, crashed FROM run_totals
    WHERE succeeded + failed + interrupted > 0 ORDER BY 1"""


def _runs(conn: Connection) -> Iterator[str]:
    for table, counted, kept, width in (
        ("run_rollups", _RUNS_COUNTED, _RUNS_KEPT, 2),
        ("run_totals", _HOURS_ADDED, _TOTALS_KEPT, 1),
    ):
        both = _side_by_side(conn.exec_driver_sql(counted), conn.exec_driver_sql(kept), width)
        for key, is_so, is_kept in both:
            if is_so != is_kept:
                yield f"{table} {_name(key)}: it holds {is_kept}, but its runs give {is_so}"


def _windows(conn: Connection, store: Store) -> Iterator[str]:
    """The fleet's and the workers' windows. A department's keep the worker that was in it when the money went."""
    since_us = usage.counted_since(conn)
    counted = {
        key: tuple(sums)
        for key, sums in (usage.recount(conn, store.zone, since_us) | usage.recount_totals(conn)).items()
        if _checked(*key) and usage.in_force(key[1], since_us, store.zone)
    }
    rows = conn.exec_driver_sql('SELECT scope, "window", spent_micros, reserved_micros FROM budget_usage')
    for scope, window, spent, reserved in rows:
        if _checked(scope, window) and usage.in_force(window, since_us, store.zone):
            is_so = counted.pop((scope, window), (0, 0))
            if is_so != (spent, reserved):
                yield f"budget {scope} {window}: it holds {(spent, reserved)} millionths, but its rows give {is_so}"
    for (scope, window), sums in counted.items():
        if any(sums):
            yield f"budget {scope} {window}: {sums} millionths spent and reserved are missing"


def _checked(scope: str, window: str) -> bool:
    return window != "run" and (scope == "fleet" or scope.startswith("worker:"))
