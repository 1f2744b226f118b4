"""Spans of time cut into whole hours, which the ledger keeps sums of, and the pieces of hours at their ends. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from nova.clock import HOUR_US


@dataclass(frozen=True, slots=True)
class Span:
    """From `start_us` until before `end_us`.

    `whole_end`: the last hour may be counted whole, since no money is recorded in it after `end_us`; `whole_runs` says
    so of its runs.
    """

    worker: str
    start_us: int
    end_us: int
    whole_end: bool = False
    whole_runs: bool = False

    def of_runs(self) -> Span:
        return replace(self, whole_end=self.whole_runs)

    def hours(self) -> tuple[int, int]:
        """The first whole hour and the one after the last; equal when there is none."""
        first = -(-self.start_us // HOUR_US)
        after = self.end_us // HOUR_US
        if self.whole_end and self.end_us % HOUR_US:
            after += 1
        return first, max(first, after)

    def edges(self) -> tuple[tuple[int, int], ...]:
        """What the whole hours leave out of it."""
        first, after = (hour * HOUR_US for hour in self.hours())
        whole = first < after
        pieces = [(self.start_us, first), (after, self.end_us)] if whole else [(self.start_us, self.end_us)]
        return tuple((start, end) for start, end in pieces if start < end)


def floor_hour(us: int) -> int:
    return us // HOUR_US * HOUR_US
