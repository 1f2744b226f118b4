"""The local host: runs in threads of one process, commands in process groups. It wakes for events and never polls."""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from math import inf

from workers.agenda import WATCH_S, Agendas
from workers.hosts.base import BudgetHit, Fact, InstanceId, Overspent, Report, RunEnded, Spec
from workers.hosts.cell import let_go
from workers.hosts.imputing import LOOK_S as IMPUTE_S
from workers.hosts.outcome import Outcome
from workers.hosts.pool import ThreadPool
from workers.hosts.run import Run
from workers.hosts.services import Services
from workers.hosts.slot import Slot
from workers.hosts.starts import Starts
from workers.instance import GRACE_S, Backoff, Instance, Intent, Order, State
from workers.log_lines import Wanted, parse
from workers.logs import Log, texts
from workers.worker_monitor import Used, excess, usage_of

log = logging.getLogger(__name__)

_STOPPED = Outcome("interrupted", error="the manager stopped")
_FENCED = Outcome("interrupted", error="another manager took over")
_TOLD_AT_ONCE = (State.HUNG, State.STOPPING, State.STOPPED)  # the rest is seen when the manager looks next
_TOGETHER_S = 0.003  # what is due within it begins at once: each waking costs more than it is late
_LEAST_HEAP = 1000
_LATE = Outcome("interrupted", error="it did not begin before its manager's lease ran out")
_LAST_MOMENTS_S = 3.0  # of a stop's grace, but at most a third of it: for what has to be killed
_CUT_GRACE_S = 1.0  # to end, for a process that may not go on
_NO_THREAD_S = 1.0  # until it is tried again
_DEATH_S = 0.5  # a process group needs to die


class LocalHost:
    """`starts` are the last recorded starts by instance; `wake` is called, from any thread, when there is news."""

    def __init__(
        self,
        services: Services,
        *,
        starts: Mapping[InstanceId, datetime],
        wake: Callable[[], None],
        backoff: Backoff | None = None,
    ) -> None:
        self._services = services
        self._clock = services.clock
        self._starts = Starts(services.ledger.runs, starts)
        self._wake = wake
        self._backoff = backoff or Backoff()
        self._pool = ThreadPool("run")
        self._condition = threading.Condition(threading.RLock())
        self._slots: dict[InstanceId, Slot] = {}
        self._heap: list[tuple[float, InstanceId]] = []
        self._agendas = Agendas(services.clock, services.ledger.store.zone)
        self._facts: list[Fact] = []
        self._want: Mapping[InstanceId, Spec] | None = None
        self._lease_until = -inf
        self._overspent: set[str] = set()  # no run of these begins before the manager has dealt with it
        self._asleep_until = -inf  # the host's own thread; -inf: it is awake
        self._impute_at = -inf
        self._stopping = False
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="host", daemon=True)
        self._thread.start()

    def sync(self, want: Mapping[InstanceId, Spec], lease_until: float) -> Report:
        with self._condition:
            now = self._clock.monotonic()
            lapsed = now > self._lease_until
            self._impute(now)
            self._lease_until = lease_until
            if want is not self._want or lapsed:
                for key, spec in want.items():
                    if key not in self._slots:
                        self._starts.look_up(spec)
                self._want = want
                self._overspent.clear()
                for key, spec in want.items():
                    self._declare(key, spec, now)
                for key, slot in self._slots.items():
                    if key not in want and slot.instance.intent is Intent.RUN:
                        slot.instance.declare(slot.spec.every_s, slot.spec.timeout_s, Intent.DRAIN)
                    self._schedule(slot, now)
                self._condition.notify_all()
            return self._report({})

    def report(self) -> Report:
        """Also reads what its runs use of CPU and memory."""
        with self._condition:
            runs = self._runs()
            idle = self._idle()
        usage = usage_of(runs, idle)
        for run in runs:
            too_much = excess(run.spec.resources, usage[run.id])
            if too_much is not None:
                run.kill(Outcome("failed", crash=True, error=too_much))
        with self._condition:
            return self._report(usage)

    def kill(self, instance: InstanceId) -> None:
        with self._condition:
            slot = self._slots.get(instance)
            if slot is not None and not slot.killed:
                slot.killed = True
                now = self._clock.monotonic()
                slot.instance.kill(now)
                self._schedule(slot, now)
                self._condition.notify_all()

    def remember(self, starts: Mapping[str, Mapping[InstanceId, datetime]]) -> None:
        """By worker, the last recorded starts of what was not this manager's until now."""
        with self._condition:
            self._starts.remember(starts)

    def abandon(self) -> None:
        """Nothing that runs here counts any more: kills commands, lets threads book nothing, records nothing."""
        with self._condition:
            self._stopping = self._closed = True
            self._condition.notify_all()
            runs = self._runs()
        for run in runs:
            run.kill(_FENCED)
            run.gate.close("another manager took over", wait_s=0)

    def logs(self, instance: InstanceId, n: int) -> Sequence[str]:
        path = self._services.logs.path(instance.rpartition("#")[0])
        return texts(Log(path, parse).tail(Wanted(instance), n))

    def stop(self, grace_s: float, hurry: Callable[[], bool] = lambda: False) -> None:
        """Order: no new runs; ask; wait; kill the groups; record what is left, so that nothing of it counts later.

        `hurry` is looked at now and then: once true, what runs is not waited for any more.
        """
        deadline = time.monotonic() + grace_s
        last_moments_s = min(_LAST_MOMENTS_S, grace_s / 3)
        with self._condition:
            self._stopping = True
            for run in self._runs():
                run.terminate(_STOPPED)
            self._await(lambda: self._hang_all() or hurry(), deadline - last_moments_s)
            killed = [run for run in self._runs() if run.killable]
            for run in self._runs():
                run.kill(_STOPPED)
            until = max(time.monotonic() + _DEATH_S, deadline - last_moments_s / 3)
            self._await(lambda: not any(run in killed for run in self._runs()), until)
            left = self._runs()
        for run in left:
            run.end(_STOPPED)
        with self._condition:
            self._closed = True
            self._condition.notify_all()
            free = [slot.cell for slot in self._slots.values() if slot.run is None]
        let_go(free, self._pool, max(0.2, deadline - time.monotonic()))

    def _hang_all(self) -> bool:
        """Whether nothing is left to wait for: the runs that hang are over, and their threads will not end."""
        return all(slot.run is None or slot.instance.state is State.HUNG for slot in self._slots.values())

    def _impute(self, now: float) -> None:
        """In another thread: it waits for the ledger."""
        if now < self._impute_at:
            return
        self._impute_at = now + IMPUTE_S
        metered = [one for run in self._runs() if (one := run.imputing) is not None and one.by_hour]

        def go_on() -> None:
            for one in metered:
                one.go_on()

        if metered:
            try:
                self._pool.submit(go_on)
            except RuntimeError as problem:  # what was not asked for is booked as it is, once there is a thread again
                log.warning("no_thread", extra={"action": "no_thread", "error": str(problem)})

    def _await(self, done: Callable[[], bool], until: float) -> None:
        while not done() and (left_s := until - time.monotonic()) > 0:
            self._condition.wait(min(0.1, left_s))

    def _runs(self) -> list[Run]:
        return [slot.run for slot in self._slots.values() if slot.run is not None]

    def _idle(self) -> dict[InstanceId, int]:
        """The wardens of instances that have a process, and no run just now."""
        found = {}
        for key, slot in self._slots.items():
            remote = slot.cell.remote if slot.run is None else None
            if remote is not None and (warden := remote.warden) is not None:
                found[key] = warden
        return found

    def _declare(self, key: InstanceId, spec: Spec, now: float) -> None:
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = Slot(spec, self._new_instance(spec, now))
        else:
            if slot.spec.generation != spec.generation:
                slot.instance.renew()
            slot.killed = slot.killed and spec.intent is not Intent.RUN
            before, slot.spec = slot.spec, spec
            if spec.probe is not None and spec.probe != before.probe:
                slot.instance.renew()
                slot.instance.due_now()
            if slot.run is not None:
                slot.run.spec = spec
            if (before.schedule, before.every_s, before.since) != (spec.schedule, spec.every_s, spec.since):
                slot.instance.agenda = self._agendas.make(spec, self._starts.last(spec))
                if spec.schedule.once and before.since != spec.since:
                    slot.instance.due_now()
        slot.instance.declare(spec.every_s, spec.timeout_s, spec.intent)
        slot.instance.fulfilled = self._starts.is_made(spec)

    def _new_instance(self, spec: Spec, now: float) -> Instance:
        last = self._starts.last(spec)
        ago = None if last is None or spec.due_now else (self._clock.now() - last).total_seconds()
        agenda = self._agendas.make(spec, last)
        return Instance(spec.every_s, spec.timeout_s, now=now, last_start_ago=ago, backoff=self._backoff, agenda=agenda)

    def _schedule(self, slot: Slot, at: float) -> None:
        slot.wake_at = at
        if at == inf:
            return
        heapq.heappush(self._heap, (at, slot.spec.instance))
        if len(self._heap) > _LEAST_HEAP + 4 * len(self._slots):  # of entries that were scheduled anew since
            self._heap = [(one.wake_at, key) for key, one in self._slots.items() if one.wake_at < inf]
            heapq.heapify(self._heap)
        if at < self._asleep_until:
            self._asleep_until = at
            self._condition.notify_all()

    def _loop(self) -> None:
        with self._condition:
            while not self._closed:
                try:
                    self._turn(self._clock.monotonic())
                except Exception:
                    log.exception("host_turn_failed", extra={"action": "host_turn_failed"})
                left = self._heap[0][0] - self._clock.monotonic() if self._heap else inf
                left = min(left, WATCH_S) if self._agendas else left
                if left > 0:
                    left = max(left, _TOGETHER_S)
                    self._asleep_until = self._clock.monotonic() + left
                    self._condition.wait(None if left == inf else min(left, threading.TIMEOUT_MAX))
                    self._asleep_until = -inf

    def _turn(self, now: float) -> None:
        if self._agendas and self._agendas.clock_was_set():
            for planned in [one for key, one in self._slots.items() if key in self._agendas]:
                self._schedule(planned, now)
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            slot = self._slots.get(key)
            if slot is not None and slot.wake_at == at:  # else it was scheduled anew meanwhile
                slot.wake_at = inf
                self._step(slot, self._clock.monotonic())

    def _step(self, slot: Slot, now: float) -> None:
        instance = slot.instance
        if slot.leaving:
            return
        if not instance.held and instance.intent is Intent.RUN and not self._may_start(slot, now):
            return
        before, run = instance.state, slot.run
        silent_at = run.silent_at(now) if run is not None else inf
        order, wake_at = instance.step(now, killable=run is not None and run.killable, silent_at=silent_at)
        if order is Order.START:
            self._start(slot)
            wake_at = min(wake_at, slot.run.silent_at(now) if slot.run is not None else inf)
        elif run is not None:
            self._obey(order, slot, run)
        if instance.state is State.STOPPED:
            self._rest(slot) if instance.intent is Intent.RUN else self._remove(slot)
        else:
            self._schedule(slot, wake_at)
        if instance.state is not before and instance.state in _TOLD_AT_ONCE:
            self._wake()

    def _may_start(self, slot: Slot, now: float) -> bool:
        probed = slot.spec.probe is not None and slot.spec.probe == slot.probe
        return not (self._stopping or now > self._lease_until or probed or slot.spec.worker in self._overspent)

    def _start(self, slot: Slot) -> None:
        run = slot.run = Run(slot.spec, self._services, slot.cell, self._tell)
        slot.probe = slot.spec.probe
        slot.heartbeat_at = run.started_at
        if slot.instance.agenda is not None:
            run.slot = slot.instance.agenda.begun(run.started_at)
        self._starts.began(slot.spec.instance, run.slot or run.started_at)
        try:
            self._pool.submit(lambda: self._execute(slot, run))
        except RuntimeError as problem:
            log.warning("no_thread", extra={"action": "no_thread", "error": str(problem)})
            run.end(Outcome("failed", crash=True, error=f"no thread could be started: {problem}"))
            self._finished(slot, run, crash=True)

    def _execute(self, slot: Slot, run: Run) -> None:
        with self._condition:
            slot.instance.began()
            late = self._clock.monotonic() > self._lease_until
            if late:
                slot.instance.due_now()
        try:
            run.end(_LATE) if late else run.execute()
        finally:
            self._finished(slot, run, crash=run.crash)

    def _finished(self, slot: Slot, run: Run, *, crash: bool) -> None:
        with self._condition:
            slot.run = slot.seen = None
            slot.heartbeat_at = run.heartbeat_at
            slot.cpu_s += run.cpu_s or 0.0
            now = self._clock.monotonic()
            slot.instance.ended(now, crash=crash or slot.instance.state is State.HUNG)
            if slot.spec.schedule.once and run.outcome is not None and run.outcome.over:
                slot.instance.fulfilled = True
                self._starts.made(slot.spec)
            self._step(slot, now)
            if self._stopping:
                self._condition.notify_all()

    def _obey(self, order: Order, slot: Slot, run: Run) -> None:
        if order is Order.ASK:
            run.ask()
        elif order is Order.TERMINATE:
            run.terminate(slot.verdict())
            if not run.killable:  # a thread goes on for a while; for the ledger it is over
                self._end(run, slot.verdict(), hung=False)
        elif order is Order.KILL:
            run.kill(slot.verdict())
        elif order is Order.ABANDON:
            log.warning("run_hung", extra={"action": "run_hung", "run": run.id, "instance": slot.spec.instance})
            verdict = slot.verdict("; its processes do not die" if run.killable else "; its thread hangs")
            run.kill(verdict)  # also a command that it would start from here on
            self._end(run, verdict, hung=True)

    def _end(self, run: Run, outcome: Outcome, *, hung: bool) -> None:
        """In another thread: it waits for the money calls that are under way."""
        self._pool.submit(lambda: run.end(outcome, hung=hung))

    def _rest(self, slot: Slot) -> None:
        """Its one run was made: it stays, and nothing of it runs."""
        if slot.cell.worker is not None:
            self._pool.submit(slot.cell.let_go)

    def _remove(self, slot: Slot) -> None:
        if slot.cell.remote is not None:
            slot.instance.state = State.STOPPING
            try:
                self._pool.submit(lambda: self._leave(slot))
                slot.leaving = True
            except RuntimeError as problem:
                log.warning("no_thread", extra={"action": "no_thread", "error": str(problem)})
                self._schedule(slot, self._clock.monotonic() + _NO_THREAD_S)
            return
        self._slots.pop(slot.spec.instance, None)
        self._agendas.drop(slot.spec.instance)
        if slot.killed:
            self._starts.killed(slot.spec.instance)
        if slot.cell.worker is not None:
            self._pool.submit(slot.cell.let_go)
        self._wake()

    def _leave(self, slot: Slot) -> None:
        """The instance is there until its process is gone; by then it may be wanted again."""
        slot.cell.let_go(at_once=slot.killed)
        with self._condition:
            slot.leaving = False
            self._schedule(slot, self._clock.monotonic())
            self._condition.notify_all()

    def _tell(self, fact: Fact) -> None:
        with self._condition:
            self._facts.append(fact)
            if isinstance(fact, Overspent):
                self._overspent.add(fact.worker)
                self._cut(self._slots.get(fact.instance), fact.run, 0.0)
            elif isinstance(fact, BudgetHit) and fact.kind == "refused":
                self._cut(self._slots.get(fact.instance), fact.run, _CUT_GRACE_S)
        if not isinstance(fact, RunEnded) or fact.status != "succeeded":
            self._wake()

    def _cut(self, slot: Slot | None, run_id: str, after_s: float) -> None:
        """Ends a run that may not go on. A thread, which cannot be killed, first has the time to notice that it is to
        stop; where a call of its own was refused, it has noticed.
        """
        run = slot.run if slot is not None else None
        if slot is None or run is None or run.id != run_id:
            return
        if not (run.killable or run.overdrawn or run.overspent is not None):
            return
        now = self._clock.monotonic()
        slot.instance.cut(now + (after_s if run.killable else GRACE_S), _CUT_GRACE_S)
        self._schedule(slot, now)
        self._condition.notify_all()

    def _report(self, usage: Mapping[str, Used]) -> Report:
        facts, self._facts = tuple(self._facts), []
        return Report({key: slot.seen_by(key, usage) for key, slot in self._slots.items()}, facts)
