"""The life of one instance as a state machine: no threads, no sleeping, no clock of its own.

Times are monotonic seconds, so that a wall clock that jumps neither stalls nor floods an instance.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum
from math import inf
from typing import Protocol

GRACE_S = 5.0  # from asking a run to end to killing it, and from killing it to giving it up


class State(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    BACKING_OFF = "backing_off"
    HUNG = "hung"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Intent(Enum):
    """What is wanted of an instance: to run, to end after the run it is in, or to ask that run to end."""

    RUN = "run"
    DRAIN = "drain"
    END = "end"


class Order(Enum):
    """What the host is to do now. `ABANDON`: the run is over for the ledger although its thread is not."""

    NONE = "none"
    START = "start"
    ASK = "ask"
    TERMINATE = "terminate"
    KILL = "kill"
    ABANDON = "abandon"


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds to the next attempt after the n-th crash in a row: `base_s` doubling to `max_s`."""

    base_s: float = 1.0
    max_s: float = 60.0

    def delay(self, crashes: int) -> float:
        return min(self.max_s, self.base_s * 2.0 ** min(crashes - 1, 30)) if crashes > 0 else 0.0


class Agenda(Protocol):
    """When an instance is due that has a schedule; it is asked anew after a clock was set."""

    def due(self, now: float, regular: float) -> float: ...

    def retry(self, now: float, at: float) -> float: ...

    def begun(self, at: datetime) -> datetime: ...


class Instance:
    """`step(now)` says what to do and when to be asked again; the host tells what happened in between. `agenda` knows
    when it is due where that is not simply one `every` after the last start.

    `last_start_ago` is the age of the last recorded start (None: never ran). One in the future, after the clock was set
    back, counts as just now. Runs cannot overlap: while a thread is held, `START` is never ordered.
    """

    def __init__(
        self,
        every_s: float,
        timeout_s: float,
        *,
        now: float,
        last_start_ago: float | None,
        backoff: Backoff | None = None,
        agenda: Agenda | None = None,
    ) -> None:
        self.every_s = every_s
        self.timeout_s = timeout_s
        self.agenda = agenda
        self.state = State.STARTING
        self.intent = Intent.RUN
        self.epoch = 0
        self._backoff = backoff or Backoff()
        self._last_start = -inf if last_start_ago is None else now - max(0.0, last_start_ago)
        self._crashes = 0
        self._retry_at: float | None = None
        self.fulfilled = False  # nothing is wanted of it any more
        self._held = False  # a thread is executing, or has been ordered to
        self._asked = False
        self._killed = False
        self._grace_s = GRACE_S
        self.silent = False  # the run is being ended because it gave no sign of life
        self._end_at = inf  # when the run's time is over
        self._kill_at = inf  # when a terminated process group is killed
        self._give_up_at = inf  # when a terminated run is declared hung

    @property
    def held(self) -> bool:
        return self._held

    def declare(self, every_s: float, timeout_s: float, intent: Intent) -> None:
        """What is declared now; a running run keeps the timeout it began with."""
        self.every_s, self.timeout_s = every_s, timeout_s
        self.intent = intent
        if intent is not Intent.END:
            self._asked = False

    def due_now(self) -> None:
        """The next run need not wait for `every` to pass."""
        self._last_start = -inf

    def renew(self) -> None:
        """A person or the manager gave it a fresh start: crashes in a row are forgotten."""
        self._crashes, self._retry_at = 0, None

    def began(self) -> None:
        """The run has its thread."""
        if self.state is State.STARTING:
            self.state = State.RUNNING

    def ended(self, now: float, *, crash: bool) -> None:
        """The thread is free again. A crash is retried after the backoff, whatever `every` is."""
        self._held = self._asked = self._killed = self.silent = False
        self._grace_s = GRACE_S
        self._end_at = self._kill_at = self._give_up_at = inf
        self._crashes = self._crashes + 1 if crash else 0
        self._retry_at = now + self._backoff.delay(self._crashes) if crash else None
        self.state = State.WAITING

    def kill(self, now: float) -> None:
        """End the run now; `step` orders it."""
        self.intent = Intent.END
        self._killed = self._held
        self._end_at = min(self._end_at, now)

    def cut(self, at: float, grace_s: float = GRACE_S) -> None:
        """The run's time is over at `at`, if not before; a process group then has `grace_s` to end."""
        self._end_at = min(self._end_at, at)
        self._grace_s = min(self._grace_s, grace_s)

    def step(self, now: float, *, killable: bool = False, silent_at: float = inf) -> tuple[Order, float]:
        """The order of this moment and when to step again. `killable`: the run is in a process group of its own.

        From `silent_at` on it is without a sign of life for too long, unless it gives one before.
        """
        return self._step_held(now, killable, silent_at) if self._held else self._step_free(now)

    def _step_free(self, now: float) -> tuple[Order, float]:
        if self.intent is not Intent.RUN or self.fulfilled:
            self.state = State.STOPPED
            return Order.NONE, inf
        due = self._due(now)
        if now < due:
            self.state = State.WAITING if self._retry_at is None else State.BACKING_OFF
            return Order.NONE, due
        self.epoch += 1
        self._held, self._last_start, self._retry_at = True, now, None
        self._end_at = now + self.timeout_s
        self.state = State.STARTING
        return Order.START, self._end_at

    def _due(self, now: float) -> float:
        if self._retry_at is not None:
            return self._retry_at if self.agenda is None else self.agenda.retry(now, self._retry_at)
        regular = self._last_start + self.every_s
        return regular if self.agenda is None else self.agenda.due(now, regular)

    def _step_held(self, now: float, killable: bool, silent_at: float) -> tuple[Order, float]:
        if self.state is State.HUNG:
            return Order.NONE, inf
        if now >= self._give_up_at:
            self.state = State.HUNG
            return Order.ABANDON, inf
        if now >= self._kill_at:
            self._kill_at = inf
            return Order.KILL, self._give_up_at
        if self._give_up_at < inf:
            return Order.NONE, min(self._kill_at, self._give_up_at)
        end_at = min(self._end_at, silent_at)
        if now >= end_at:
            self.silent = now < self._end_at
            return self._time_is_over(now, killable)
        if self.intent is Intent.END and not self._asked:
            self._asked = True
            self.state = State.STOPPING
            return Order.ASK, end_at
        if self.intent is not Intent.RUN:
            self.state = State.STOPPING
        elif self.state is State.STOPPING and not self._asked:
            self.state = State.RUNNING
        return Order.NONE, end_at

    def _time_is_over(self, now: float, killable: bool) -> tuple[Order, float]:
        if self.intent is not Intent.RUN:
            self.state = State.STOPPING
        if not killable and not self._killed:
            self.state = State.HUNG
            return Order.ABANDON, inf
        self._kill_at = now + self._grace_s if killable else inf
        self._give_up_at = now + (self._grace_s + GRACE_S if killable else GRACE_S)
        return Order.TERMINATE, min(self._kill_at, self._give_up_at)
