"""Revenue, cost and ROI by worker, department, agent, source or day: read from the sums, whatever the history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from nova.clock import HOUR_US, from_us, to_us
from nova.ledger.facts import REVENUE_SIGNS
from nova.ledger.rollups import SEEN
from nova.money import Money, roi_percent

if TYPE_CHECKING:
    from nova.ledger.store import Store

By = Literal["worker", "department", "agent", "source", "day"]
UNDEPLOYED = "undeployed"  # the department and the agent of a worker that was never deployed
_SUMS = "worker, source, kind, side, unit, n, micros"


@dataclass(frozen=True, slots=True)
class Totals:
    """`revenue` is net. `unconverted` counts the entries without a rate, `pending` adjustments of what has not arrived:
    neither is in the amounts. `has_cost` tells a cost of zero from none known.
    """

    revenue: Money
    cost: Money
    entries: int
    unconverted: int
    pending: int
    has_cost: bool

    @property
    def profit(self) -> Money:
        return self.revenue - self.cost

    @property
    def roi_percent(self) -> float | None:
        return roi_percent(self.revenue, self.cost)


@dataclass(frozen=True, slots=True)
class Row:
    key: str
    totals: Totals


@dataclass(frozen=True, slots=True)
class Report:
    """`unattributed` is in `total`, and in the rows only by source and by day."""

    by: By
    since: datetime | None
    until: datetime | None
    rows: tuple[Row, ...]
    unattributed: Totals
    total: Totals


@dataclass(frozen=True, slots=True)
class Unconverted:
    """Entries of a worker (None: unattributed) that wait for a rate; `amount` is signed as it will count."""

    worker: str | None
    side: str
    entries: int
    amount: Money


class _Sum:
    """Adds up rows of sums."""

    __slots__ = ("cost", "costs", "entries", "pending", "revenue", "unconverted")

    def __init__(self) -> None:
        self.revenue = self.cost = self.entries = self.costs = self.unconverted = self.pending = 0

    def add(self, kind: str, side: str, unit: str, n: int, micros: int) -> None:
        self.entries += n
        if side == "pending":
            self.pending += n
        elif unit:
            self.unconverted += n
        elif side == "cost":
            self.cost += micros
            self.costs += n
        else:
            self.revenue += micros * REVENUE_SIGNS.get(kind, 1)

    def totals(self, currency: str) -> Totals:
        revenue, cost = Money(self.revenue, currency), Money(self.cost, currency)
        return Totals(revenue, cost, self.entries, self.unconverted, self.pending, self.costs > 0)


class Reports:
    def __init__(self, store: Store) -> None:
        self._store = store

    def totals(self) -> dict[str | None, Totals]:
        """For ever, by worker; what is unattributed is under None. Reads one row a worker, source and kind."""
        sums: dict[str | None, _Sum] = defaultdict(_Sum)
        with self._store.read() as conn:
            for worker, _, kind, side, unit, n, micros in conn.exec_driver_sql(f"SELECT {_SUMS} FROM totals"):
                sums[worker or None].add(kind, side, unit, n, micros)
        return {worker: found.totals(self._store.currency) for worker, found in sums.items()}

    def report(self, by: By = "worker", since: datetime | None = None, until: datetime | None = None) -> Report:
        """Entries from `since` on and before `until`. Rows by day come in order, others by profit, best first."""
        rows: dict[str, _Sum] = defaultdict(_Sum)
        unattributed, total = _Sum(), _Sum()
        with self._store.read() as conn:
            key_of = _key_of(conn, by)
            for day, (worker, source, kind, side, unit, n, micros) in self._sums(conn, by == "day", since, until):
                total.add(kind, side, unit, n, micros)
                if not worker:
                    unattributed.add(kind, side, unit, n, micros)
                key = day if by == "day" else key_of(worker, source)
                if key:
                    rows[key].add(kind, side, unit, n, micros)
        currency = self._store.currency
        found = [Row(key, sums.totals(currency)) for key, sums in rows.items()]
        found.sort(key=lambda row: (0 if by == "day" else -row.totals.profit.micros, row.key))
        return Report(by, since, until, tuple(found), unattributed.totals(currency), total.totals(currency))

    def days(self, since: datetime | None = None, until: datetime | None = None) -> list[Row]:
        """By local day, in order; a day without entries has no row."""
        return list(self.report("day", since, until).rows)

    def of_run(self, run: str, since: datetime) -> tuple[Money, Money]:
        """What a run that began at `since` has cost and earned so far, as far as it is booked and converted."""
        query = text("""
            SELECT sum(CASE side WHEN 'cost' THEN booked_micros END),
                   sum(CASE side WHEN 'revenue' THEN booked_micros END)
            FROM entries WHERE at_us >= :since AND run = :run
        """)
        with self._store.read() as conn:
            cost, revenue = conn.execute(query, {"since": to_us(since), "run": run}).one()
        return Money(cost or 0, self._store.currency), Money(revenue or 0, self._store.currency)

    def unconverted(self) -> list[Unconverted]:
        """What waits for a rate, by worker and currency."""
        found: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
        with self._store.read() as conn:
            for worker, _, kind, side, unit, n, micros in conn.exec_driver_sql(
                f"SELECT {_SUMS} FROM totals WHERE unit <> ''"
            ):
                sums = found[worker, unit, side]
                sums[0] += n
                sums[1] += micros * REVENUE_SIGNS.get(kind, 1)
        return [
            Unconverted(worker or None, side, n, Money(micros, unit))
            for (worker, unit, side), (n, micros) in sorted(found.items())
        ]

    def unconverted_workers(self) -> frozenset[str]:
        """Those whose revenue or cost is not wholly known."""
        return frozenset(row.worker for row in self.unconverted() if row.worker is not None)

    def _sums(
        self, conn: Connection, daily: bool, since: datetime | None, until: datetime | None
    ) -> Iterator[tuple[str, Any]]:
        if not daily and since is None and until is None:
            yield from (("", row) for row in conn.exec_driver_sql(f"SELECT {_SUMS} FROM totals"))
            return
        first, last = _span(conn, since, until)
        spans = _days(first, last, self._store.zone) if daily else [("", first, last)]
        if daily and all(start % HOUR_US == 0 for _, start, _ in spans[1:]):
            yield from _whole_days(conn, spans, first, last)
            return
        for day, start, end in spans:
            yield from ((day, row) for row in _between(conn, start, end))


def _key_of(conn: Connection, by: By) -> Callable[[str, str], str]:
    if by == "worker":
        return lambda worker, source: worker
    if by in ("department", "agent"):
        rows = conn.exec_driver_sql(f"SELECT worker, {by} AS name FROM deployments_seen")
        known = {row.worker: row.name for row in rows}
        return lambda worker, source: known.get(worker, UNDEPLOYED) if worker else ""
    return lambda worker, source: source


def _span(conn: Connection, since: datetime | None, until: datetime | None) -> tuple[int, int]:
    """In microseconds, no wider than what there is."""
    first, last = conn.exec_driver_sql("SELECT min(first_us), max(last_us) FROM totals").one()
    first, last = first or 0, (last or 0) + 1
    return max(first, to_us(since)) if since else first, min(last, to_us(until)) if until else last


def _days(first: int, last: int, zone: ZoneInfo) -> list[tuple[str, int, int]]:
    """The local days that touch the span: (name, from, until), cut to the span."""
    found = []
    local = from_us(first).astimezone(zone)
    day = local.date()
    while first < last:
        following = day + timedelta(days=1)
        turn = min(to_us(datetime.combine(following, time(), zone).astimezone(UTC)), last)
        if turn > first:
            found.append((day.isoformat(), first, turn))
        day, first = following, max(first, turn)
    return found


def _between(conn: Connection, start: int, end: int) -> Iterable[Any]:
    """Whole hours from the hourly sums, what is left at both ends from the entries themselves."""
    if start >= end:
        return
    first_hour, last_hour = -(-start // HOUR_US), end // HOUR_US
    if first_hour >= last_hour:
        yield from _exact(conn, start, end)
        return
    yield from _exact(conn, start, first_hour * HOUR_US)
    yield from conn.exec_driver_sql(f"SELECT {_SUMMED} {_HOURS} GROUP BY 1, 2, 3, 4, 5", (first_hour, last_hour))
    yield from _exact(conn, last_hour * HOUR_US, end)


# The workers lead, so that each one's hours are a range of the primary key.
_HOURS = """
    FROM (SELECT DISTINCT worker FROM totals) w CROSS JOIN rollups r
    WHERE r.worker = w.worker AND hour >= ? AND hour < ?"""
_SUMMED = "r.worker, source, kind, side, unit, sum(n), sum(micros)"


def _exact(conn: Connection, start: int, end: int) -> Iterable[Any]:
    if start >= end:
        return ()
    names = "worker, source, kind, side, unit"
    sql = f"SELECT {names}, sum(w), sum(a) FROM ({SEEN} WHERE at_us >= ? AND at_us < ?) GROUP BY {names}"
    return conn.exec_driver_sql(sql, (start, end))


def _whole_days(
    conn: Connection, spans: list[tuple[str, int, int]], first: int, last: int
) -> Iterator[tuple[str, Any]]:
    """Days that all turn on a whole hour, in one reading of the hourly sums."""
    if not spans:
        return
    first_hour, last_hour = -(-first // HOUR_US), last // HOUR_US
    if first_hour >= last_hour:
        for day, start, end in spans:
            yield from ((day, row) for row in _between(conn, start, end))
        return
    yield from ((spans[0][0], row) for row in _exact(conn, first, first_hour * HOUR_US))
    day_of = {hour: day for day, start, end in spans for hour in range(start // HOUR_US, -(-end // HOUR_US))}
    rows = conn.exec_driver_sql(
        f"SELECT hour, r.worker = '', source, kind, side, unit, sum(n), sum(micros) {_HOURS} GROUP BY 1, 2, 3, 4, 5, 6",
        (first_hour, last_hour),
    )
    for hour, nobody, *sums in rows:
        yield day_of[hour], ("" if nobody else "somebody", *sums)
    yield from ((spans[-1][0], row) for row in _exact(conn, last_hour * HOUR_US, last))
