"""What the manager enforces, as pure values: the crash window, and what a budget that was hit asks for."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

CRASH_WINDOW = timedelta(minutes=10)


class Verdict(Enum):
    """What a crash asks for."""

    RETRY = "retry"
    COOL_DOWN = "cool_down"
    PARK = "park"


@dataclass(frozen=True, slots=True)
class CrashPolicy:
    """`max_crashes` within ten minutes cool the deployment down, the next as many park it."""

    max_crashes: int = 5
    cooldown: timedelta = timedelta(seconds=300)
    auto_restart: bool = True


@dataclass(slots=True)
class CrashWindow:
    """The recent crashes of one deployment. Ten minutes of running without one forget them; a cooldown does not count
    as such, nor do runs that had begun before it and crash later count towards being parked. What a clock that was set
    back leaves in the future is forgotten too.
    """

    policy: CrashPolicy
    _recent: deque[datetime] = field(default_factory=deque)
    _cooled_until: datetime | None = None
    _cooled_at: datetime | None = None
    _last: datetime | None = None

    def crashed(self, at: datetime, started_at: datetime) -> Verdict:
        """Takes a crash in and says what follows from it."""
        if not self.policy.auto_restart:
            return Verdict.PARK
        self._forget(at)
        if self._cooled_at is not None and started_at <= self._cooled_at:
            return Verdict.RETRY
        self._last = at
        self._recent.append(at)
        self._recent = deque(crash for crash in self._recent if abs(at - crash) <= CRASH_WINDOW)
        if len(self._recent) < self.policy.max_crashes:
            return Verdict.RETRY
        self._recent.clear()
        if self._cooled_at is not None:
            self.forget()
            return Verdict.PARK
        self._cooled_at = at
        self._cooled_until = at + self.policy.cooldown
        return Verdict.COOL_DOWN

    def forget(self) -> None:
        """A person's resume, revival or another declaration starts afresh."""
        self._recent.clear()
        self._cooled_at = self._cooled_until = self._last = None

    def _forget(self, at: datetime) -> None:
        quiet_since = max((moment for moment in (self._last, self._cooled_until) if moment is not None), default=None)
        if quiet_since is not None and not -self.policy.cooldown - CRASH_WINDOW <= at - quiet_since <= CRASH_WINDOW:
            self.forget()


def replayed(policy: CrashPolicy, crashes: list[tuple[datetime, datetime]]) -> CrashWindow:
    """The window as it stands after `crashes` (started, ended), oldest first: how a restarted manager remembers."""
    window = CrashWindow(policy)
    if policy.auto_restart:
        for started_at, at in crashes:
            window.crashed(at, started_at)
    return window
