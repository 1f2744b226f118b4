"""The sums beside the entries, per worker and hour and for ever, kept in the transaction that writes the entry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection

from nova.clock import HOUR_US
from nova.ledger.facts import MOVES, weight, weight_sql

TotalKey = tuple[str, str, str, str, str]  # worker or '', source, kind, side, unit

_HOUR_KEY = "worker, hour, source, kind, side, unit"
_TOTAL_KEY = "worker, source, kind, side, unit"


# The first columns of an entry: source, id, kind, side, worker, run, micros, currency, rate, rate_at_us, booked_micros
# (None where there is no rate), at_us.
Row = Sequence[Any]


def _upsert(table: str, key: str, extremes: tuple[str, ...]) -> str:
    names = [*key.split(", "), "n", "micros", "squares", "peak_micros", *extremes]
    rules = [f"{name} = {table}.{name} + excluded.{name}" for name in ("n", "micros", "squares")]
    for name, sign in (("peak_micros", ">"), ("first_us", "<"), ("last_us", ">")):
        if name in names:
            newer = f"excluded.{name} {sign} {table}.{name}"
            rules.append(f"{name} = CASE WHEN {newer} THEN excluded.{name} ELSE {table}.{name} END")
    holes = ", ".join("?" * len(names))
    columns, update = ", ".join(names), ", ".join(rules)
    return f"INSERT INTO {table} ({columns}) VALUES ({holes}) ON CONFLICT ({key}) DO UPDATE SET {update}"


_UPSERT_HOURS = _upsert("rollups", _HOUR_KEY, ())
_UPSERT_TOTALS = _upsert("totals", _TOTAL_KEY, ("first_us", "last_us"))


class Sums:
    """Adds up a batch in memory, so that each sum is written once."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.totals: dict[TotalKey, list[Any]] = {}
        self.hours: dict[TotalKey, dict[int, list[Any]]] = {}
        totals, hours = self.totals, self.hours
        for source, id, kind, side, worker, _, micros, currency, _, _, booked, at_us, *_ in rows:
            amount, unit = (micros, currency) if booked is None else (booked, "")
            n = weight(source, id, kind) if source == MOVES else 1
            squares = n * (amount / 1e6) ** 2
            peak = abs(amount) if n > 0 else 0
            key = (worker or "", source, kind, side, unit)
            total = totals.get(key)
            if total is None:
                totals[key] = [n, amount, squares, peak, at_us, at_us]
                hours[key] = {}
            else:
                _add(total, n, amount, squares, peak)
                if at_us < total[4]:
                    total[4] = at_us
                elif at_us > total[5]:
                    total[5] = at_us
            by_hour, hour = hours[key], at_us // HOUR_US
            sums = by_hour.get(hour)
            if sums is None:
                by_hour[hour] = [n, amount, squares, peak]
            else:
                _add(sums, n, amount, squares, peak)

    def hour_rows(self) -> Iterator[tuple[Any, ...]]:
        """A worker's hours one after the other, as the table has them, so that neighbours are written together."""
        for key in sorted(self.hours):
            worker, *rest = key
            by_hour = self.hours[key]
            for hour in sorted(by_hour):
                yield (worker, hour, *rest, *by_hour[hour])

    def total_rows(self) -> list[tuple[Any, ...]]:
        return [(*key, *sums) for key, sums in self.totals.items()]


def _add(sums: list[Any], n: int, micros: int, squares: float, peak: int) -> None:
    sums[0] += n
    sums[1] += micros
    sums[2] += squares
    if peak > sums[3]:
        sums[3] = peak


def add(conn: Connection, rows: Iterable[Row]) -> None:
    """Counts entries that were just written."""
    sums = Sums(rows)
    if sums.totals:
        conn.exec_driver_sql(_UPSERT_HOURS, list(sums.hour_rows()))
        conn.exec_driver_sql(_UPSERT_TOTALS, sums.total_rows())


def leave(conn: Connection, rows: Iterable[Row]) -> None:
    """Takes entries out of the sums they stood in before they found their rate or their side.

    `rows` are as they were; they must have changed in the table already. A maximum cannot be taken back, so the sums
    are counted again, over the few entries that still have no rate or no side.
    """
    gone = Sums(rows)
    for key, by_hour in gone.hours.items():
        _count_again(conn, "totals", key, None)
        for hour in by_hour:
            _count_again(conn, "rollups", key, hour)


def forget_unit(conn: Connection, currency: str) -> None:
    """Drops every sum in a currency of which nothing is unconverted any more."""
    for table in ("rollups", "totals"):
        conn.exec_driver_sql(f"DELETE FROM {table} WHERE unit = ?", (currency,))


# An entry as the sums see it: `w` says how it counts, `a` the amount in its unit.
SEEN = f"""
    SELECT coalesce(worker, '') AS worker, at_us / {HOUR_US} AS hour, source, kind, side,
        CASE WHEN booked_micros IS NULL THEN currency ELSE '' END AS unit, coalesce(booked_micros, micros) AS a, at_us,
        {weight_sql("source", "id", "kind")} AS w
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
