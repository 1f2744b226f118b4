"""What booked costs add to the budgets' windows, and how those move when the operator's time zone changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, delete, insert, select, update

from nova.clock import from_us, to_us, window_of
from nova.ledger.limits import TOTAL, windows_of
from nova.ledger.schema import reservations, run_accounts

if TYPE_CHECKING:
    from nova.ledger.store import Store

_SINCE = "usage_since_us"  # in `meta`: what ended before was counted in another time zone
MOVED = "zone_moved"  # in `meta`: a manager that runs since before may still count in another time zone
QUARTER_US = 900_000_000  # every offset from UTC in use since 2000 is a whole number of quarters of an hour
_COUNT = """
    INSERT INTO budget_usage (scope, "window", spent_micros, reserved_micros) VALUES (?, ?, ?, ?)
    ON CONFLICT (scope, "window") DO UPDATE SET
        spent_micros = budget_usage.spent_micros + excluded.spent_micros,
        reserved_micros = budget_usage.reserved_micros + excluded.reserved_micros"""


Cost = tuple[str | None, int, int]  # worker, millionths booked, at_us
Usage = dict[tuple[str, str], list[int]]  # [spent, reserved] by (scope, window)


def departments(conn: Connection) -> dict[str, str]:
    rows = conn.exec_driver_sql("SELECT worker, department FROM deployments_seen")
    return {row.worker: row.department for row in rows}


def count(conn: Connection, store: Store, costs: Iterable[Cost]) -> None:
    """Adds booked costs to the fleet's, the worker's and its department's windows."""
    sums: dict[tuple[str | None, str], int] = defaultdict(int)
    windows = store.windows
    for worker, micros, at_us in costs:
        for window in (*windows(at_us), TOTAL):
            sums[worker, window] += micros
    if sums:
        known = departments(conn)
        usage: Usage = defaultdict(lambda: [0, 0])
        for (worker, window), micros in sums.items():
            _spread(usage, _scopes(worker, known), (window,), micros, 0)
        _write(conn, usage)


def _scopes(worker: str | None, known: dict[str, str]) -> list[str]:
    scopes = ["fleet"]
    if worker is not None:
        scopes.append(f"worker:{worker}")
        if worker in known:
            scopes.append(f"department:{known[worker]}")
    return scopes


def _spread(usage: Usage, scopes: list[str], windows: Iterable[str], spent: int, reserved: int) -> None:
    for window in windows:
        for scope in scopes:
            sums = usage[scope, window]
            sums[0] += spent
            sums[1] += reserved


def _write(conn: Connection, usage: Usage) -> None:
    if usage:
        conn.exec_driver_sql(_COUNT, [(*key, *sums) for key, sums in sorted(usage.items())])


def recount(conn: Connection, zone: ZoneInfo, since_us: int) -> Usage:
    """The windows of days and months from `since_us` on, counted anew from entries, open accounts and reservations.

    Streams: its memory grows with the windows, not with the entries.
    """
    usage: Usage = defaultdict(lambda: [0, 0])
    known = departments(conn)
    windows: dict[int, tuple[str, str]] = {}
    rows = conn.exec_driver_sql(
        f"SELECT worker, at_us / {QUARTER_US}, sum(booked_micros) FROM entries"
        " WHERE side = 'cost' AND booked_micros IS NOT NULL AND at_us >= ? GROUP BY 1, 2",
        (since_us,),
    )
    for worker, quarter, micros in rows:
        if quarter not in windows:
            at = from_us(quarter * QUARTER_US)
            windows[quarter] = (window_of("day", at, zone), window_of("month", at, zone))
        _spread(usage, _scopes(worker, known), windows[quarter], micros, 0)
    for worker, department, day, spent, reserved in conn.exec_driver_sql(_OPEN):
        scopes = ["fleet", f"worker:{worker}", f"department:{department}"]
        _spread(usage, scopes, windows_of(day)[:2], spent, reserved)
    return usage


def recount_totals(conn: Connection) -> Usage:
    """The windows that never turn, whatever the time zone, counted anew from the same rows."""
    usage: Usage = defaultdict(lambda: [0, 0])
    known = departments(conn)
    for worker, micros in conn.exec_driver_sql(_COSTS):
        _spread(usage, _scopes(worker, known), (TOTAL,), micros, 0)
    for worker, department, _, spent, reserved in conn.exec_driver_sql(_OPEN):
        _spread(usage, ["fleet", f"worker:{worker}", f"department:{department}"], (TOTAL,), spent, reserved)
    return usage


_COSTS = """
    SELECT worker, sum(booked_micros) FROM entries
    WHERE side = 'cost' AND booked_micros IS NOT NULL GROUP BY worker"""


_OPEN = """
    SELECT worker, department, day, micros, 0 FROM run_accounts
    UNION ALL SELECT worker, department, day, 0, micros FROM reservations WHERE settled_micros IS NULL"""


def counted_since(conn: Connection) -> int:
    """The instant from which on the windows are counted in the present time zone."""
    return int(conn.exec_driver_sql("SELECT value FROM meta WHERE key = ?", (_SINCE,)).scalar() or 0)


def moved(conn: Connection) -> bool:
    """Whether the time zone was changed, and no manager has begun since."""
    return conn.exec_driver_sql("SELECT 1 FROM meta WHERE key = ?", (MOVED,)).first() is not None


def in_force(window: str, since_us: int, zone: ZoneInfo) -> bool:
    """Whether a window is counted in the present time zone; the total is in every one."""
    at = from_us(since_us)
    return window == TOTAL or window >= window_of("day" if window.startswith("day:") else "month", at, zone)


def move_to_zone(conn: Connection, zone: ZoneInfo, now: datetime) -> None:
    """Counts the windows of the present month anew; those that ended keep what they were counted with.

    May be done again for what was counted in another time zone since.
    """
    local = now.astimezone(zone)
    since_us = to_us(datetime(local.year, local.month, 1, tzinfo=zone))
    _move_open(conn, zone)
    kept = {key: sums for key, sums in recount(conn, zone, since_us).items() if in_force(key[1], since_us, zone)}
    first = f"{local:%Y-%m}"
    conn.exec_driver_sql(_DELETE, (f"day:{first}-01", f"month:{first}"))
    _write(conn, kept)
    conn.exec_driver_sql(_SET_SINCE, (_SINCE, str(since_us)))


_DELETE = """
    DELETE FROM budget_usage
    WHERE ("window" LIKE 'day:%' AND "window" >= ?) OR ("window" LIKE 'month:%' AND "window" >= ?)"""
_SET_SINCE = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"


def _move_open(conn: Connection, zone: ZoneInfo) -> None:
    """Puts open accounts and reservations on the local day they now belong to."""
    for id, opened_us in conn.execute(select(reservations.c.id, reservations.c.opened_us)).all():
        conn.execute(update(reservations).where(reservations.c.id == id).values(day=_day(opened_us, zone)))
    moved: dict[tuple[str, str], dict[str, Any]] = {}
    for row in conn.execute(select(run_accounts).order_by(run_accounts.c.run, run_accounts.c.day)).mappings().all():
        account = {**row, "day": _day(row["last_us"], zone)}
        before = moved.setdefault((account["run"], account["day"]), account)
        if before is not account:
            before["micros"] += account["micros"]
            before["last_us"] = max(before["last_us"], account["last_us"])
            before["reasons"] += account["reasons"]
    conn.execute(delete(run_accounts))
    if moved:
        conn.execute(insert(run_accounts), list(moved.values()))


def _day(at_us: int, zone: ZoneInfo) -> str:
    return window_of("day", from_us(at_us), zone).removeprefix("day:")
