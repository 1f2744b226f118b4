"""The sums beside the entries: per worker and hour, and for ever. They are kept in the transaction that writes the entry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import Connection

from nova.clock import HOUR_US
from nova.ledger.facts import MOVES, weight

# (worker or '', source, kind, side, unit), with the hour after the worker where it is a sum of one.
TotalKey = tuple[str, str, str, str, str]
HourKey = tuple[str, int, str, str, str, str]

_HOUR_KEY = "worker, hour, source, kind, side, unit"
_TOTAL_KEY = "worker, source, kind, side, unit"


class Booked(NamedTuple):
    """What the sums need of an entry. `booked` is in the reporting currency, None where there is no rate."""

    source: str
    id: str
    kind: str
    side: str
    worker: str | None
    micros: int
    currency: str
    booked: int | None
    at_us: int


def _upsert(table: str, key: str, extremes: tuple[str, ...]) -> str:
    names = [*key.split(", "), "n", "micros", "squares", "peak_micros", *extremes]
    rules = [f"{name} = {table}.{name} + excluded.{name}" for name in ("n", "micros", "squares")]
    for name, sign in (("peak_micros", ">"), ("first_us", "<"), ("last_us", ">")):
        if name in names:
            newer = f"excluded.{name} {sign} {table}.{name}"
            rules.append(f"{name} = CASE WHEN {newer} THEN excluded.{name} ELSE {table}.{name} END")
    holes = ", ".join("?" * len(names))
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({holes}) ON CONFLICT ({key}) DO UPDATE SET {', '.join(rules)}"


_UPSERT_HOURS = _upsert("rollups", _HOUR_KEY, ())
_UPSERT_TOTALS = _upsert("totals", _TOTAL_KEY, ("first_us", "last_us"))


def unit_of(currency: str, booked: int | None) -> str:
    return currency if booked is None else ""


class Sums:
    """Adds up a batch in memory, so that each sum is written once."""

    def __init__(self, rows: Iterable[Booked]) -> None:
        self.hours: dict[HourKey, list[Any]] = {}
        self.totals: dict[TotalKey, list[Any]] = {}
        hours, sums = self.hours, self.totals
        for source, id, kind, side, worker, micros, currency, booked, at_us in rows:
            amount, unit = (micros, currency) if booked is None else (booked, "")
            n, size = weight(source, id, kind), abs(amount)
            squares = n * (amount / 1e6) ** 2
            peak = size if n > 0 else 0
            name = worker or ""
            hour_key = (name, at_us // HOUR_US, source, kind, side, unit)
            hour = hours.get(hour_key)
            if hour is None:
                hours[hour_key] = [n, amount, squares, peak]
            else:
                _add(hour, n, amount, squares, peak)
            total_key = (name, source, kind, side, unit)
            total = sums.get(total_key)
            if total is None:
                sums[total_key] = [n, amount, squares, peak, at_us, at_us]
            else:
                _add(total, n, amount, squares, peak)
                total[4] = min(total[4], at_us)
                total[5] = max(total[5], at_us)


def _add(sums: list[Any], n: int, micros: int, squares: float, peak: int) -> None:
    sums[0] += n
    sums[1] += micros
    sums[2] += squares
    sums[3] = max(sums[3], peak)


def add(conn: Connection, rows: Iterable[Booked]) -> None:
    """Counts entries that were just written."""
    sums = Sums(rows)
    if sums.hours:
        conn.exec_driver_sql(_UPSERT_HOURS, [(*key, *row) for key, row in sorted(sums.hours.items())])
        conn.exec_driver_sql(_UPSERT_TOTALS, [(*key, *row) for key, row in sorted(sums.totals.items())])


def leave(conn: Connection, rows: Iterable[Booked]) -> None:
    """Takes entries out of the sums they stood in before they found their rate or their side.

    `rows` are as they were; they must have changed in the table already. A maximum cannot be taken back, so the sums are
    counted again, over the few entries that still have no rate or no side.
    """
    gone = Sums(rows)
    for worker, hour, source, kind, side, unit in gone.hours:
        _count_again(conn, "rollups", (worker, source, kind, side, unit), hour)
    for total_key in gone.totals:
        _count_again(conn, "totals", total_key, None)


def forget_unit(conn: Connection, currency: str) -> None:
    """Drops every sum in a currency of which nothing is unconverted any more."""
    for table in ("rollups", "totals"):
        conn.exec_driver_sql(f"DELETE FROM {table} WHERE unit = ?", (currency,))


# An entry as the sums see it: `w` says how it counts, `a` the amount in its unit.
SEEN = f"""
    SELECT coalesce(worker, '') AS worker, at_us / {HOUR_US} AS hour, source, kind, side,
        CASE WHEN booked_micros IS NULL THEN currency ELSE '' END AS unit, coalesce(booked_micros, micros) AS a, at_us,
        CASE WHEN source = '{MOVES}' AND kind = 'adjustment' AND substr(id, length(id) - 4) = ':from' THEN -1 ELSE 1 END AS w
    FROM entries"""
MEASURES = """sum(w), sum(a), sum(w * (a / 1e6) * (a / 1e6)), max(CASE WHEN w > 0 THEN abs(a) ELSE 0 END)"""


def _count_again(conn: Connection, table: str, key: TotalKey, hour: int | None) -> None:
    worker, source, kind, side, unit = key
    where, values = ["source = ?", "kind = ?", "side = ?"], [source, kind, side]
    where.append("worker = ?" if worker else "worker IS NULL")
    where.append("booked_micros IS NULL AND currency = ?" if unit else "booked_micros IS NOT NULL AND ? = ''")
    values += [*([worker] if worker else []), unit]
    if side == "pending":
        where.append("side = 'pending'")  # as a literal, for the partial index
    names = _TOTAL_KEY
    keyed: tuple[str | int, ...] = key
    columns, extremes = "n, micros, squares, peak_micros", ""
    if hour is None:
        columns, extremes = f"{columns}, first_us, last_us", ", min(at_us), max(at_us)"
    else:
        names, keyed = _HOUR_KEY, (worker, hour, source, kind, side, unit)
        where.append(f"at_us >= {hour * HOUR_US} AND at_us < {(hour + 1) * HOUR_US}")
    match = " AND ".join(f"{name} = ?" for name in names.split(", "))
    conn.exec_driver_sql(f"DELETE FROM {table} WHERE {match}", keyed)
    conn.exec_driver_sql(
        f"INSERT INTO {table} ({names}, {columns}) SELECT {names}, {MEASURES}{extremes}"
        f" FROM ({SEEN} WHERE {' AND '.join(where)}) GROUP BY {names}",
        tuple(values),
    )
