"""When runs are due by the clock on the wall: cron, windows of the week, jitter. Pure: instants in, instants out."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from nova.clock import to_us
from nova.errors import UsageProblem
from nova.fleet.terms import Schedule
from workers.windows import Windows

MOST_CAUGHT_UP = 1000
ON_TIME = timedelta(seconds=60)  # an occurrence that could not begin within this is a missed one
SET_BACK = timedelta(hours=3)  # as Debian's cron has it: a clock set back by more begins a new time
_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_CRON_HINT = "five fields, minute hour day month weekday, as in '0 9 * * mon-fri'; six begin with the second"
_SAMPLED = 100  # occurrences looked at for the shortest time between two


@dataclass(frozen=True, slots=True)
class Due:
    """A run that may begin `at`, for the occurrence `slot` of its cron schedule; `slot` is what is recorded of it."""

    at: datetime
    slot: datetime


class Timetable:
    """A schedule in its time zone. Instants are aware; those it returns are in UTC."""

    def __init__(self, schedule: Schedule, every_s: float, zone: ZoneInfo) -> None:
        """Raises UsageProblem for what is no schedule."""
        self.every_s = every_s
        self._zone = zone_of(schedule.timezone) if schedule.timezone else zone
        self._cron = _NAMED.get(schedule.cron.strip().lower(), schedule.cron) if schedule.cron is not None else None
        self._most = schedule.at_most
        self._jitter_s = schedule.jitter_s
        self._windows = Windows.parse(schedule.windows, self._zone)
        if self._cron is not None:
            _read(self._cron)

    @property
    def by_cron(self) -> bool:
        return self._cron is not None

    def due(self, instance: str, last: datetime | None, since: datetime, now: datetime) -> Due | None:
        """Which occurrence of the cron schedule is next; None: there is none any more.

        `last` is the occurrence its last run was for, `since` when the schedule was declared. Of those that were missed
        the newest are made up for, as many as the schedule says, oldest first.
        """
        after = since if last is None else max(last, since)
        if after - now > SET_BACK:
            after = now
        first = next(self.occurrences(after), None)
        if first is None:
            return None
        due = self._placed(instance, first)
        if due.at > now:
            return due
        waiting = self._newest(instance, after, now)
        if self._most == 0 and now - waiting[-1].at > ON_TIME:
            coming = next(self.occurrences(waiting[-1].slot), None)
            return None if coming is None else self._placed(instance, coming)
        return waiting[0]

    def occurrences(self, after: datetime) -> Iterator[datetime]:
        """Of the cron schedule, later than `after` and rising. What falls into the hour that a change to summer time
        leaves out comes right after it, once; what falls into the hour that comes twice comes the first time.
        """
        assert self._cron is not None
        zone = UTC if self._zone.key == "UTC" else self._zone
        last = after
        for local in CronSim(self._cron, after.astimezone(zone)):
            at = local.astimezone(UTC)
            if at > last:
                last = at
                yield at

    def jitter(self, instance: str, key: datetime) -> timedelta:
        """By how much the run that `key` tells begins later: always the same, and another for every instance."""
        if not self._jitter_s:
            return timedelta(0)
        digest = hashlib.blake2b(f"{instance} {to_us(key)}".encode(), digest_size=8).digest()
        return timedelta(milliseconds=int(self._jitter_s * 1000 * int.from_bytes(digest) / 2**64))

    def place(self, nominal: datetime, jitter: timedelta) -> datetime:
        """When a run of that time may begin: later by its jitter, and within a window."""
        at = nominal + jitter
        opening = self._windows.opening(at)
        if opening == at:
            return at
        return opening + jitter if self._windows.hold(opening + jitter) else opening

    def shortest_s(self, after: datetime) -> float:
        """The least time between two of its next runs."""
        if self._cron is None:
            return self.every_s
        coming = list(islice(self.occurrences(after), _SAMPLED))
        gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(coming)]
        return min(gaps, default=float("inf"))

    def _placed(self, instance: str, slot: datetime) -> Due:
        at = slot + self.jitter(instance, slot)
        opening = self._windows.opening(at)
        return Due(at if opening == at else self._after(opening, instance), slot)

    def _after(self, opening: datetime, instance: str) -> datetime:
        """When all that waited for the window begins: spread like other runs, but not later than the first within it,
        so that it is one run with that.
        """
        if not self._jitter_s:
            return opening
        at = opening + self.jitter(instance, opening)
        near = self.occurrences(opening - timedelta(seconds=self._jitter_s, microseconds=1))
        within = (slot + self.jitter(instance, slot) for slot in near)
        at = min(at, next((begin for begin in within if begin >= opening), at))
        return at if self._windows.hold(at) else opening

    def _newest(self, instance: str, after: datetime, now: datetime) -> deque[Due]:
        """The newest of those that may begin by now. Looks back further and further, as a gap of months may hold
        millions.
        """
        most, span = max(1, self._most), timedelta(minutes=1)
        while True:
            begin = max(after, now - span)
            found: deque[Due] = deque(maxlen=most)
            for slot in self.occurrences(begin):
                due = self._placed(instance, slot)
                if due.at > now:
                    break
                found.append(due)
            if len(found) == most or begin == after:
                return found
            span *= 4


@lru_cache(maxsize=4096)
def timetable_of(schedule: Schedule, every_s: float, zone: ZoneInfo) -> Timetable | None:
    """None where a run is simply due one `every` after the last."""
    plain = schedule.cron is None and not schedule.windows and not schedule.jitter_s
    return None if plain else Timetable(schedule, every_s, zone)


def next_run(
    schedule: Schedule, every_s: float, zone: ZoneInfo, instance: str, last: datetime | None, since: datetime,
    now: datetime,
) -> datetime | None:  # fmt: skip
    """When an instance that waits is due, as far as its declaration and its last start tell. None: never."""
    table = timetable_of(schedule, every_s, zone)
    if last is not None and schedule.once and last < since:
        last = None
    nominal = since if last is None else min(last, now) + timedelta(seconds=every_s)
    if table is None:
        return nominal
    if table.by_cron:
        due = table.due(instance, last, since, now)
        at = None if due is None else due.at
    else:
        at = table.place(nominal, table.jitter(instance, last or since))
    return table.place(now, timedelta(0)) if at is not None and at < now else at


def checked(schedule: Schedule, every_s: float, zone: ZoneInfo, now: datetime, *, every_given: bool) -> Schedule:
    """Itself. Raises UsageProblem where it makes no sense, or would never let a run begin."""
    if every_given and (schedule.cron is not None or schedule.once):
        other = "--cron" if schedule.cron is not None else "--once"
        raise UsageProblem(f"--every and {other} do not go together", hint="leave one of them out")
    if schedule.cron is None and schedule.at_most != 1:
        raise UsageProblem("--at-most is for --cron only", hint="what --every missed is always one run")
    if schedule.timezone and schedule.cron is None and not schedule.windows:
        raise UsageProblem("--timezone is for --cron and --window only")
    if not 0 <= schedule.at_most <= MOST_CAUGHT_UP:
        raise UsageProblem(f"--at-most must be from 0 to {MOST_CAUGHT_UP}, not {schedule.at_most}")
    table = Timetable(schedule, every_s, zone)
    if table.by_cron and next(table.occurrences(now), None) is None:
        raise UsageProblem(f"the time {schedule.cron!r} never comes", hint=_CRON_HINT)
    once = schedule.once and not table.by_cron
    if schedule.jitter_s and not once and schedule.jitter_s >= table.shortest_s(now):
        raise UsageProblem(
            f"a jitter of {schedule.jitter_s:g} s is longer than the time between two runs", hint="make it shorter"
        )
    return schedule


def zone_of(name: str) -> ZoneInfo:
    """Raises UsageProblem where there is none of that name."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise UsageProblem(f"not a time zone: {name!r}", hint="an IANA name, such as Europe/Vienna or UTC") from None


def _read(cron: str) -> None:
    if cron.strip().lower() == "@reboot":
        raise UsageProblem("@reboot has no time of its own", hint="for a single run there is --once")
    try:
        CronSim(cron, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as problem:
        told = str(problem).replace("Bad ", "the field is wrong for the ").replace("Wrong", "the wrong")
        raise UsageProblem(f"not a cron expression: {cron!r}: {told}", hint=_CRON_HINT) from None
