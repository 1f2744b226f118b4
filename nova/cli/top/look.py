"""What one look at the fleet finds, and the rates that follow from looking again. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from nova.money import Money

RATE_S = 60.0  # rates are those of the last minute
_LEAST_S = 5.0  # of looking, before a rate says anything
_STEP_S = 2.0  # between the looks that are kept


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit of the fleet or a department, and what is used of it in its window."""

    scope: str
    per: str
    limit: Money
    spent: Money
    reserved: Money

    @property
    def used(self) -> float:
        """The part of the limit that is spent or reserved; 1 where a limit of nothing is used up from the start."""
        taken = self.spent.micros + self.reserved.micros
        return taken / self.limit.micros if self.limit.micros else 1.0


class Count(NamedTuple):
    """What a deployment has come to since ever: ended runs, and millionths spent and earned."""

    runs: int
    spent: int
    earned: int


@dataclass(frozen=True, slots=True)
class Look:
    """`document` is `workers status --json`; `spent` is by worker and counts also what running runs have spent.

    `waiting` are the decisions that wait for a person, as `autonomous approvals --json` has them.
    """

    at: datetime
    at_s: float
    document: Mapping[str, Any]
    spent: Mapping[str, Money]
    spent_today: Money
    earned_today: Money
    budgets: Sequence[Budget]
    waiting: Sequence[Mapping[str, Any]]
    autonomous: bool

    @property
    def currency(self) -> str:
        return str(self.document["currency"])

    def counts(self) -> dict[str, Count]:
        found = {}
        for row in self.document["workers"]:
            spent = self.spent.get(row["name"])
            earned = Money.parse(row["revenue"], self.currency).micros
            found[row["name"]] = Count(row["runs"], spent.micros if spent is not None else 0, earned)
        return found


class Rate(NamedTuple):
    """Per minute: runs, and millionths spent and earned."""

    runs: float
    spent: float
    earned: float


class Rates:
    """Remembers the looks of the last minute."""

    def __init__(self) -> None:
        self._kept: deque[tuple[float, dict[str, Count]]] = deque()
        self._last: tuple[float, dict[str, Count]] = (0.0, {})

    def note(self, look: Look) -> None:
        self._last = (look.at_s, look.counts())
        while len(self._kept) > 1 and look.at_s - self._kept[1][0] >= RATE_S:
            self._kept.popleft()
        if not self._kept or look.at_s - self._kept[-1][0] >= _STEP_S:
            self._kept.append(self._last)

    def of(self, name: str) -> Rate | None:
        """None as long as nothing can be said: it has not been looked at for some seconds."""
        at_s, counts = self._last
        now = counts.get(name)
        before = next(((then_s, seen[name]) for then_s, seen in self._kept if name in seen), None)
        if now is None or before is None or at_s - before[0] < _LEAST_S:
            return None
        minutes = (at_s - before[0]) / 60
        runs, spent, earned = (new - old for new, old in zip(now, before[1], strict=True))
        return Rate(max(runs, 0) / minutes, spent / minutes, earned / minutes)

    def whole(self) -> Rate | None:
        """Of all deployments together."""
        found = [rate for name in self._last[1] if (rate := self.of(name)) is not None]
        if not found:
            return None
        return Rate(*(sum(values) for values in zip(*found, strict=True)))
