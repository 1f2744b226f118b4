"""Reads runs and money of many spans at once: whole hours from the ledger's sums, pieces of hours from the facts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from nova.autonomous.evidence import Window
from nova.autonomous.interval import NOTHING, Takings
from nova.autonomous.spans import Span
from nova.clock import from_us
from nova.ledger.facts import weight_sql
from nova.money import MICROS, Money

MOST_PEAKS = 16
_CHUNK = 4000

# `n` is negative where an entry was moved away to another worker: that undoes a sale or a return, and is neither.
_WHAT = """CASE WHEN side = 'cost' THEN 'cost' WHEN kind = 'fee' THEN 'fee'
    WHEN kind IN ('refund', 'dispute') THEN 'return' WHEN (amount < 0) <> (n < 0) THEN 'back' ELSE 'sale' END"""
_SUMS = f"{_WHAT} AS what, sum(n), sum(amount), sum(squares), max(peak)"
_HOURS = f"""SELECT i, {_SUMS} FROM (
        SELECT i, side, kind, n, micros AS amount, squares, peak_micros AS peak FROM span CROSS JOIN rollups
        WHERE rollups.worker = span.worker AND hour >= a AND hour < b AND unit = '' AND side IN ('revenue', 'cost')
    ) AS seen GROUP BY i, what"""
# Facts are found by time, so that one statement serves all workers whose span ends in the same piece of an hour.
_EDGE = f"""SELECT worker, {_SUMS} FROM (
        SELECT worker, side, kind, amount, w AS n, w * (amount / 1e6) * (amount / 1e6) AS squares,
            CASE WHEN w > 0 THEN abs(amount) ELSE 0 END AS peak
        FROM (
            SELECT worker, side, kind, booked_micros AS amount,
                {weight_sql("source", "id", "kind")} AS w
            FROM entries WHERE at_us >= ? AND at_us < ? AND worker IS NOT NULL
                AND booked_micros IS NOT NULL AND side IN ('revenue', 'cost')
        ) AS facts
    ) AS seen GROUP BY worker, what"""
_RUN_HOURS = """SELECT i, sum(succeeded), sum(failed), sum(interrupted) FROM span CROSS JOIN run_rollups
    WHERE run_rollups.worker = span.worker AND hour >= a AND hour < b GROUP BY i"""
# A run counts where it ended; one that began before the span belongs to what was before.
_RUN_EDGES = """SELECT i, sum(status = 'succeeded'), sum(status = 'failed'), sum(status = 'interrupted')
    FROM span CROSS JOIN runs WHERE runs.worker = span.worker AND started_us >= a AND started_us < b AND ended_us < b
    GROUP BY i"""
_PEAKS = """SELECT i, peak_micros FROM span CROSS JOIN rollups WHERE rollups.worker = span.worker
    AND hour >= a AND hour < b AND unit = '' AND side = 'revenue' AND kind IN ('revenue', 'adjustment')
    AND micros > 0 AND n > 0 ORDER BY i, peak_micros DESC"""


@dataclass(slots=True)
class _Sums:
    money: dict[str, list[float]] = field(default_factory=dict)  # n, micros, squares, peak by what it is
    runs: list[int] = field(default_factory=lambda: [0, 0, 0])

    def add(self, what: str, n: int, micros: int, squares: float, peak: int) -> None:
        sums = self.money.setdefault(what, [0, 0, 0.0, 0])
        sums[0] += n
        sums[1] += micros
        sums[2] += squares
        sums[3] = max(sums[3], peak)

    def takings(self, what: str, sign: int = 1) -> Takings:
        n, micros, squares, peak = self.money.get(what, [0, 0, 0.0, 0])
        total = sign * micros / MICROS
        if n < 1 or total <= 0:
            return NOTHING
        squares = max(squares, total * total / n)
        return Takings(int(n), total, squares, (min(peak / MICROS, squares**0.5, total),))

    def micros(self, what: str) -> int:
        return int(self.money.get(what, [0, 0])[1])


def read_windows(conn: Connection, spans: Sequence[Span], currency: str) -> list[Window]:
    """In the order of the spans."""
    sums = [_Sums() for _ in spans]
    for i, *row in _ask(conn, _HOURS, _whole(spans)):
        sums[i].add(*row)
    for edge, ends in _by_edge(spans).items():
        for worker, *row in conn.exec_driver_sql(_EDGE, edge):
            for i in ends.get(worker, ()):
                sums[i].add(*row)
    of_runs = [span.of_runs() for span in spans]
    for query, pieces in ((_RUN_HOURS, _whole(of_runs)), (_RUN_EDGES, _edges(of_runs))):
        for i, *counts in _ask(conn, query, pieces):
            sums[i].runs = [one + more for one, more in zip(sums[i].runs, counts, strict=True)]
    return [_window(span, each, currency) for span, each in zip(spans, sums, strict=True)]


def largest_sales(conn: Connection, spans: Sequence[Span]) -> list[tuple[float, ...]]:
    """The largest sale of each of the best hours, largest first: what is known of outliers."""
    found: list[list[float]] = [[] for _ in spans]
    for i, peak in _ask(conn, _PEAKS, _whole(spans)):
        if len(found[i]) < MOST_PEAKS:
            found[i].append(peak / MICROS)
    return [tuple(peaks) for peaks in found]


_Piece = tuple[int, str, int, int]


def _whole(spans: Sequence[Span]) -> list[_Piece]:
    hours = ((i, span.worker, *span.hours()) for i, span in enumerate(spans))
    return [piece for piece in hours if piece[2] < piece[3]]


def _edges(spans: Sequence[Span]) -> list[_Piece]:
    return [(i, span.worker, *edge) for i, span in enumerate(spans) for edge in span.edges()]


def _by_edge(spans: Sequence[Span]) -> dict[tuple[int, int], dict[str, list[int]]]:
    """Which spans of which workers have the same piece of an hour."""
    found: dict[tuple[int, int], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for i, worker, start, end in _edges(spans):
        found[start, end][worker].append(i)
    return found


def _ask(conn: Connection, query: str, pieces: list[_Piece]) -> Iterator[Any]:
    for start in range(0, len(pieces), _CHUNK):
        chunk = pieces[start : start + _CHUNK]
        values = ", ".join(["(?, ?, ?, ?)"] * len(chunk))
        given = tuple(value for piece in chunk for value in piece)
        yield from conn.exec_driver_sql(f"WITH span (i, worker, a, b) AS (VALUES {values}) {query}", given)


def _window(span: Span, sums: _Sums, currency: str) -> Window:
    gone = sums.micros("return") - sums.micros("back")
    fees = sums.micros("fee")
    succeeded, failed, interrupted = sums.runs
    return Window(
        start=from_us(span.start_us),
        end=from_us(span.end_us),
        cost=Money(sums.micros("cost"), currency),
        revenue=Money(sums.micros("sale") - gone - fees, currency),
        succeeded=succeeded,
        failed=failed,
        interrupted=interrupted,
        sales=sums.takings("sale"),
        returns=sums.takings("return") + sums.takings("back", -1),
        fees=fees / MICROS,
    )
