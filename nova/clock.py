"""Time: injected clocks, and how instants and durations are read, written and stored."""

from __future__ import annotations

import re
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from nova.errors import UsageProblem

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)?", re.ASCII)
_SECONDS = {"ms": 0.001, None: 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
HOUR_US = 3_600_000_000


class Clock(Protocol):
    """`now` is an aware UTC instant and may jump; `monotonic` is seconds that never go back."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that stands still until it is moved: for tests, replays and `--now`."""

    def __init__(self, at: datetime) -> None:
        self._now = at.astimezone(UTC)
        self._monotonic = 0.0
        self._lock = threading.Lock()

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now += timedelta(seconds=seconds)
            self._monotonic += seconds

    def set(self, at: datetime) -> None:
        """Sets the wall clock, forward or back; the monotonic one does not follow."""
        self._now = at.astimezone(UTC)


def to_us(at: datetime) -> int:
    """Microseconds since 1970 UTC: how instants are stored."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def from_us(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)


def iso(at: datetime) -> str:
    """ISO 8601 in UTC, with `Z`."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Reads ISO 8601; without an offset it is UTC. Raises UsageProblem."""
    try:
        at = datetime.fromisoformat(text.strip())
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageProblem(f"not a time: {text!r}", hint="write it as 2026-01-31 or 2026-01-31T09:30:00Z") from None


def parse_duration(text: str) -> float:
    """Reads `90`, `90s`, `5m`, `2h`, `1d` as seconds. Raises UsageProblem."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise UsageProblem(f"not a duration: {text!r}", hint="write it as 90, 90s, 5m, 2h or 1d")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > 86400 * 36500:
        raise UsageProblem(f"the duration {text.strip()} is longer than a century")
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest of `90s`, `5m`, `2h`, `1d` that says the same."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def window_of(per: str, at: datetime, zone: ZoneInfo) -> str:
    """The name of the budget window that holds `at`: `day:2026-11-21`, `month:2026-11`, in the operator's time zone."""
    local = at.astimezone(zone)
    return f"day:{local:%Y-%m-%d}" if per == "day" else f"month:{local:%Y-%m}"


def window_end(per: str, at: datetime, zone: ZoneInfo) -> datetime:
    """When the window that holds `at` turns, in UTC."""
    local = at.astimezone(zone)
    midnight = datetime(local.year, local.month, local.day, tzinfo=zone)
    if per == "day":
        turn = (midnight + timedelta(days=1)).replace(tzinfo=zone)
    else:
        turn = (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
    return turn.astimezone(UTC)
