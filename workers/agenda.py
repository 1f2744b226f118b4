"""When one instance with a schedule of its own is due, in the monotonic seconds its state machine counts in."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from math import inf
from zoneinfo import ZoneInfo

from nova.clock import Clock
from nova.errors import UsageProblem
from workers.hosts.base import InstanceId, Spec
from workers.schedule import Due, Timetable, timetable_of

log = logging.getLogger(__name__)

WATCH_S = 10.0  # how often the clock on the wall is compared with the one that cannot be set
_SET_S = 0.1


class Agenda:
    """`last` is what the start of its last run was recorded as; `eager`: its next run need not wait for its time.

    A clock that is set is only noticed when it is asked again.
    """

    def __init__(
        self,
        table: Timetable,
        instance: str,
        clock: Clock,
        *,
        since: datetime,
        last: datetime | None,
        eager: bool = False,
    ) -> None:
        self._table = table
        self._instance = instance
        self._clock = clock
        self._since = since
        self._last = last
        self._eager = eager
        self._next: Due | None = None
        self._asked_at = since

    def due(self, now: float, regular: float) -> float:
        """`regular` is one `every` after the last start; -inf: there was none."""
        wall = self._clock.now()
        if self._eager:
            return self._not_before(wall, wall, now)
        if not self._table.by_cron:
            jitter = self._table.jitter(self._instance, self._last or self._since)
            nominal = self._since if regular == -inf else wall + timedelta(seconds=regular - now)
            return self._not_before(self._table.place(nominal, jitter), wall, now)
        if self._next is None or wall < self._asked_at or self._next.at <= wall:
            self._next = self._table.due(self._instance, self._last, self._since, wall)
        self._asked_at = wall
        return inf if self._next is None else self._not_before(self._next.at, wall, now)

    def retry(self, now: float, at: float) -> float:
        """A run that is tried again keeps to the windows too; it is for the occurrence it was for."""
        self._next = None
        wall = self._clock.now()
        nominal = wall + timedelta(seconds=at - now)
        return self._not_before(nominal if at <= now else self._table.place(nominal, timedelta(0)), wall, now)

    def begun(self, at: datetime) -> datetime:
        """A run was started. Returns what is to be recorded as its start."""
        slot = at
        if self._table.by_cron:
            slot = (self._next.slot if self._next is not None else self._last) or at
        self._last, self._next, self._eager = slot, None, False
        return slot

    def _not_before(self, at: datetime, wall: datetime, now: float) -> float:
        """What was due in a window that has closed since waits for the next one."""
        if at <= wall:
            at = max(at, self._table.place(wall, timedelta(0)))
        return now + (at - wall).total_seconds()


class Never:
    """The agenda of a schedule that makes no sense."""

    def due(self, now: float, regular: float) -> float:
        return inf

    def retry(self, now: float, at: float) -> float:
        return inf

    def begun(self, at: datetime) -> datetime:
        return at


class Agendas:
    """Those of a host's instances. `zone` is the operator's."""

    def __init__(self, clock: Clock, zone: ZoneInfo) -> None:
        self._clock = clock
        self._zone = zone
        self._agendas: dict[InstanceId, Agenda] = {}
        self._ahead_s = self._ahead()

    def __bool__(self) -> bool:
        return bool(self._agendas)

    def __contains__(self, instance: InstanceId) -> bool:
        return instance in self._agendas

    def make(self, spec: Spec, last: datetime | None) -> Agenda | Never | None:
        """None where it needs none. A schedule that makes no sense, of a fleet edited by hand, is never due."""
        self.drop(spec.instance)
        try:
            table = timetable_of(spec.schedule, spec.every_s, self._zone)
        except UsageProblem as problem:
            log.error(
                "schedule_refused",
                extra={"action": "schedule_refused", "worker": spec.worker, "error": problem.message},
            )
            return Never()
        if table is None:
            return None
        since = spec.since or spec.born or self._clock.now()
        made = Agenda(table, spec.instance, self._clock, since=since, last=last, eager=spec.due_now)
        self._agendas[spec.instance] = made
        return made

    def drop(self, instance: InstanceId) -> None:
        self._agendas.pop(instance, None)

    def clock_was_set(self) -> bool:
        """Since it was asked last."""
        ahead_s, before_s = self._ahead(), self._ahead_s
        if abs(ahead_s - before_s) < _SET_S:
            return False
        self._ahead_s = ahead_s
        return True

    def _ahead(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()
