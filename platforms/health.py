"""How the platforms answered, counted in memory until it is written down in one go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from nova.errors import NovaError
from platforms.base import Declined, Missing, RateLimited

_ERROR_CHARS = 300
_ANSWERS = (Declined, Missing)  # a platform that says no is well


@dataclass(slots=True)
class Calls:
    """Of one platform within one hour (of 1970, UTC)."""

    platform: str
    hour: int
    calls: int = 0
    errors: int = 0
    limited: int = 0
    seconds: float = 0.0
    longest_s: float = 0.0
    last_error: str | None = None


class Health:
    """Thread-safe. `clean` takes secrets out of what errors say."""

    def __init__(self, now: Callable[[], datetime], clean: Callable[[str], str] = str) -> None:
        self._now = now
        self._clean = clean
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, int], Calls] = {}

    def seen(self, platform: str, what: str, seconds: float, problem: Exception | None) -> None:
        """One call; a rate limit is counted apart from errors."""
        self.count(platform, seconds, limited=isinstance(problem, RateLimited), error=told(what, problem))

    def count(self, platform: str, seconds: float, *, limited: bool, error: str | None) -> None:
        hour = int(self._now().timestamp() // 3600)
        with self._lock:
            calls = self._counts.setdefault((platform, hour), Calls(platform, hour))
            calls.calls += 1
            calls.limited += limited
            calls.seconds += seconds
            calls.longest_s = max(calls.longest_s, seconds)
            if error is not None:
                calls.errors += 1
                calls.last_error = self._clean(error)[:_ERROR_CHARS]

    def take(self) -> list[Calls]:
        """What was counted since the last time."""
        with self._lock:
            counted, self._counts = self._counts, {}
        return list(counted.values())

    def put_back(self, counted: Iterable[Calls]) -> None:
        """What could not be written, to be taken again."""
        with self._lock:
            for old in counted:
                new = self._counts.setdefault((old.platform, old.hour), Calls(old.platform, old.hour))
                new.calls += old.calls
                new.errors += old.errors
                new.limited += old.limited
                new.seconds += old.seconds
                new.longest_s = max(new.longest_s, old.longest_s)
                new.last_error = new.last_error or old.last_error


def told(what: str, problem: Exception | None) -> str | None:
    """The error of a call in words; None where it is none of the platform."""
    if problem is None or isinstance(problem, (RateLimited, *_ANSWERS)):
        return None
    message = problem.message if isinstance(problem, NovaError) else type(problem).__name__
    return f"{what}: {message}"
