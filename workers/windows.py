"""The times of a week in which runs may begin, by the clocks of a time zone. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from nova.errors import UsageProblem

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LONG = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SPAN = re.compile(r"(?:(?P<days>[a-z,\s-]+?)\s+)?(?P<begin>\d{1,2}:\d\d)\s*-\s*(?P<end>\d{1,2}:\d\d)", re.ASCII)
_HINT = "write it as 'mon-fri 09:00-17:00', 'sat,sun 10:00-24:00' or '22:00-06:00'"
_DAY_MIN = 24 * 60
_LOOK_DAYS = 15  # a weekly window may lose one week to a change of clocks


@dataclass(frozen=True, slots=True)
class Window:
    """From minute `begin` of each of the weekdays (0: Monday) to before `end`, which may be on the day after."""

    days: frozenset[int]
    begin: int
    end: int

    @classmethod
    def parse(cls, text: str) -> Window:
        """Raises UsageProblem."""
        found = _SPAN.fullmatch(text.strip().lower())
        if found is None:
            raise _not_a_window(text)
        begin, end = _minutes(found["begin"], text), _minutes(found["end"], text)
        if begin in (end, _DAY_MIN):
            raise UsageProblem(f"the window {text!r} is empty", hint="the whole day is 00:00-24:00")
        days = _days(found["days"], text) if found["days"] else frozenset(range(7))
        return cls(days, begin, end if end > begin else end + _DAY_MIN)

    def holds(self, local: datetime) -> bool:
        minute, day = local.hour * 60 + local.minute, local.weekday()
        today = day in self.days and self.begin <= minute < self.end
        return today or ((day - 1) % 7 in self.days and self.begin <= minute + _DAY_MIN < self.end)


class Windows:
    """Several of them, in a time zone; none is always open."""

    def __init__(self, windows: Sequence[Window], zone: ZoneInfo) -> None:
        self._windows = tuple(windows)
        self._zone = zone

    @classmethod
    def parse(cls, texts: Sequence[str], zone: ZoneInfo) -> Windows:
        """Raises UsageProblem."""
        return cls([Window.parse(text) for text in texts], zone)

    def hold(self, at: datetime) -> bool:
        local = at.astimezone(self._zone)
        return not self._windows or any(one.holds(local) for one in self._windows)

    def opening(self, at: datetime) -> datetime:
        """The first instant from `at` on that lies in a window."""
        if self.hold(at):
            return at
        today = at.astimezone(self._zone).date()
        for ahead in range(-1, _LOOK_DAYS):
            begins = self._begins(today + timedelta(days=ahead))
            if found := [one for one in begins if one >= at and self.hold(one)]:
                return min(found)
        raise UsageProblem("the window never opens")

    def _begins(self, day: date) -> Iterator[datetime]:
        """Where a window may open that day. A change of clocks leads into the middle of one, and may open it twice."""
        for one in self._windows:
            wall = time(one.begin // 60, one.begin % 60)
            for fold in (0, 1):
                yield datetime.combine(day, wall, self._zone).replace(fold=fold).astimezone(UTC)
        changed = self._change_of_clocks(day)
        if changed is not None:
            yield changed

    def _change_of_clocks(self, day: date) -> datetime | None:
        """To the minute, which is how zones change."""
        low = datetime.combine(day, time(), self._zone).astimezone(UTC)
        high = datetime.combine(day + timedelta(days=1), time(), self._zone).astimezone(UTC)
        before = self._offset(low)
        if self._offset(high) == before:
            return None
        while high - low > timedelta(minutes=1):
            middle = low + timedelta(minutes=(high - low) // timedelta(minutes=2))
            low, high = (middle, high) if self._offset(middle) == before else (low, middle)
        return high

    def _offset(self, at: datetime) -> timedelta | None:
        return at.astimezone(self._zone).utcoffset()


def _minutes(text: str, whole: str) -> int:
    hours, minutes = map(int, text.split(":"))
    if minutes > 59 or hours * 60 + minutes > _DAY_MIN:
        raise _not_a_window(whole)
    return hours * 60 + minutes


def _days(text: str, whole: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        begin = _day(first, whole)
        end = _day(last, whole) if dash else begin
        found |= {(begin + step) % 7 for step in range((end - begin) % 7 + 1)}
    return frozenset(found)


def _day(name: str, whole: str) -> int:
    for names in (_DAYS, _LONG):
        if name in names:
            return names.index(name)
    raise _not_a_window(whole)


def _not_a_window(text: str) -> UsageProblem:
    return UsageProblem(f"not a window: {text!r}", hint=_HINT)
