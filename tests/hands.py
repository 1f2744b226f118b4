"""Hands whose time passes at once, and which remember what they were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nova.errors import BudgetExceeded
from nova.money import Money
from platforms.hands import Alone, Find
from platforms.pace import Paces


class Bill:
    def __init__(self) -> None:
        self.settled: list[Money] = []

    def settle(self, actual: Money) -> None:
        self.settled.append(actual)


class QuickHands(Alone):
    def __init__(self, *, ends: bool = False, poor: bool = False) -> None:
        self.now = 0.0
        super().__init__(Paces(monotonic=lambda: self.now))
        self.slept: list[float] = []
        self.bill = Bill()
        self.outcomes: list[str | None] = []
        self.ends, self._poor = ends, poor

    def wait(self, seconds: float) -> bool:
        if seconds:
            self.slept.append(seconds)
        self.now += seconds
        return self.ends

    @contextmanager
    def paying(self, ceiling: Money, reason: str) -> Iterator[Bill]:  # type: ignore[override]
        if self._poor:
            raise BudgetExceeded
        yield self.bill

    def seen(self, platform: str, what: str, seconds: float, problem: Exception | None) -> None:
        self.outcomes.append(None if problem is None else type(problem).__name__)


class Settled(QuickHands):
    """Of a run that is made again after a person said of each effect that it was done."""

    def once(
        self,
        what: str,
        key: str,
        payload: Any,
        action: Callable[[str], Any],
        find: Find | None = None,
        *,
        known_s: float = 0.0,
    ) -> Any:
        return None if find is None else find(key)
