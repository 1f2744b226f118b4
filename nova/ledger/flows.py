"""Money by local day and kind, of all workers or of some: read from the hourly sums, and exact where a day turns."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from nova.clock import HOUR_US, from_us, to_us
from nova.ledger.rollups import SEEN

_NAMES = "kind, side, unit"
_CHUNK = 500


class DaySum(NamedTuple):
    """`micros` as the entries have them, without their sign for net revenue; `unit` is '' where it is converted."""

    day: date
    kind: str
    side: str
    unit: str
    n: int
    micros: int


def read_days(
    conn: Connection, zone: ZoneInfo, until: datetime, workers: Collection[str] | None = None
) -> Iterator[DaySum]:
    """From the first entry until before `until`. `workers` None: all, and what belongs to nobody."""
    first, last = _span(conn, to_us(until))
    whole: dict[int, date] = {}
    pieces: list[tuple[date, int, int]] = []
    for day, start, end in _days(first, last, zone):
        head, tail = -(-start // HOUR_US), end // HOUR_US
        whole |= dict.fromkeys(range(head, tail), day)
        if head > tail:
            pieces.append((day, start, end))
        else:
            pieces += [(day, start, head * HOUR_US), (day, tail * HOUR_US, end)]
    for names in _chunks(workers):
        yield from _hours(conn, whole, names)
        for day, start, end in pieces:
            if start < end:
                yield from _piece(conn, day, start, end, names)


def _span(conn: Connection, until_us: int) -> tuple[int, int]:
    first, last = conn.exec_driver_sql("SELECT min(first_us), max(last_us) FROM totals").one()
    return (0, 0) if first is None else (first, min(last + 1, until_us))


def _days(first: int, last: int, zone: ZoneInfo) -> Iterator[tuple[date, int, int]]:
    day = from_us(first).astimezone(zone).date()
    while first < last:
        turn = to_us(datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC))
        if turn > first:
            yield day, first, min(turn, last)
        day, first = day + timedelta(days=1), max(first, turn)


def _chunks(workers: Collection[str] | None) -> Iterator[tuple[str, ...]]:
    """An empty one stands for all."""
    if workers is None:
        yield ()
        return
    names = sorted(workers)
    yield from (tuple(names[start : start + _CHUNK]) for start in range(0, len(names), _CHUNK))


def _of(names: tuple[str, ...]) -> str:
    return f"AND worker IN ({', '.join('?' * len(names))})" if names else ""


def _hours(conn: Connection, whole: dict[int, date], names: tuple[str, ...]) -> Iterator[DaySum]:
    if not whole:
        return
    sql = f"""SELECT hour, {_NAMES}, sum(n), sum(micros) FROM rollups
        WHERE hour >= ? AND hour <= ? {_of(names)} GROUP BY hour, {_NAMES}"""
    rows: Any = conn.exec_driver_sql(sql, (min(whole), max(whole), *names))
    for hour, *sums in rows:
        if hour in whole:  # not one in which a day turns
            yield DaySum(whole[hour], *sums)


def _piece(conn: Connection, day: date, start: int, end: int, names: tuple[str, ...]) -> Iterator[DaySum]:
    sql = f"""SELECT {_NAMES}, sum(w), sum(a) FROM ({SEEN} WHERE at_us >= ? AND at_us < ?)
        WHERE 1 {_of(names)} GROUP BY {_NAMES}"""
    for row in conn.exec_driver_sql(sql, (start, end, *names)):
        yield DaySum(day, *row)
