"""WorkerManager: makes what runs match what is declared, and enforces what must hold whatever runs."""

from __future__ import annotations

import gc
import logging
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nova.clock import Clock, iso
from nova.errors import NovaError
from nova.fleet.documents import Deployment, FleetSnapshot
from nova.ledger.instances import ManagerRecord
from nova.ledger.limits import Limit
from nova.money import Money
from nova.secrecy import Scrubber
from nova.words import count, money
from workers.applied import Applied, version_of
from workers.base_worker import BaseWorker
from workers.chronicle import Chronicle
from workers.enforcement import CrashPolicy
from workers.enforcer import AlertSink, Enforcer
from workers.heartbeat import Heartbeat
from workers.hosts.base import BudgetHit, Fact, InstanceId, Overspent, Report, RunEnded, Spec
from workers.hosts.keepalive import Keepalive
from workers.hosts.leash_client import Leash
from workers.hosts.local import LocalHost
from workers.hosts.nursery_client import Nursery
from workers.hosts.services import Services
from workers.housekeeping import Housekeeping, PeriodicTask
from workers.hung import Cure, cure, told
from workers.instance import Backoff, State
from workers.lock import ManagerInfo, ManagerLock
from workers.logfile import WorkerLogs
from workers.observer import Observer
from workers.planner import Plan, Planner
from workers.recovery import Recovery, recover
from workers.takeover import Takeover
from workers.tenancy import Tenancy
from workers.vigil import Vigil
from workers.wakeup import Wakeup
from workers.worker_monitor import ManagerMonitor

if TYPE_CHECKING:
    from nova.fleet.fleet import Fleet
    from nova.ledger.ledger import Ledger
    from workers.normals import Normals

log = logging.getLogger(__name__)

_LOOK_S = 0.25  # how often the fleet's file is looked at
_BUDGET_CHECK_S = 5.0
_AFTER_FAILURE_S = 1.0
_REPEAT_S = 60.0  # what fails again and again is logged so often
_FACTS_S = 0.2  # of a turn, so that a storm of crashes does not hold up what is declared
_FENCED = "another manager took over what it ran, because it gave no sign of life: it was stopped, or starved"
DEFAULT_GRACE_S = 8.0  # below the ten seconds that container engines give


@dataclass(frozen=True, slots=True)
class ManagerSettings:
    """`agents` finds the class of an agent and its validated configuration. `default_daily` is the fleet's limit a day
    where the operator has set none. `variables` are the environment, with what `.env` files add."""

    home: Path
    run_dir: Path
    logs_dir: Path
    agents: Callable[[str, Mapping[str, Any]], tuple[type[BaseWorker], Any]]
    default_daily: Money
    department: str = ""
    crash_policy: CrashPolicy = field(default_factory=CrashPolicy)
    backoff: Backoff = field(default_factory=Backoff)
    grace_s: float = DEFAULT_GRACE_S
    variables: Callable[[], Mapping[str, str]] = lambda: os.environ
    scrubber: Scrubber = field(default_factory=Scrubber)
    max_hung: int = 10  # threads; with more of them it starts itself anew


@dataclass(frozen=True, slots=True)
class Restart:
    """A manager that ended in order to begin anew; `environ` hands its lock on. `fenced`: without another word."""

    why: str
    fenced: bool
    environ: Mapping[str, str]


class Watcher(Protocol):
    """Who wants to know that the loop turns, as a service manager's watchdog does. It must not raise."""

    def turned(self, status: str) -> None: ...
    def stopping(self) -> None: ...


def services_of(
    manager: str,
    ledger: Ledger,
    settings: ManagerSettings,
    clock: Clock,
    platforms: Any,
    leash: Leash,
    logs: WorkerLogs,
    nursery: Nursery,
    keepalive: Keepalive,
    normals: Normals | None = None,
) -> Services:
    """What the runs share of the manager that has this id."""
    return Services(
        manager=manager,
        ledger=ledger,
        clock=clock,
        logs=logs,
        leash=leash,
        home=str(settings.home),
        agents=settings.agents,
        platforms=platforms,
        nursery=nursery,
        variables=settings.variables,
        was_silent=keepalive.was_silent,
        normals=normals,
    )


class WorkerManager:
    """One process's manager. `run` returns when it was asked to stop, and everything of it has ended; or, with a
    Restart, when it must begin anew in a fresh image of its process, which ends the threads it cannot end.
    """

    def __init__(
        self,
        fleet: Fleet,
        ledger: Ledger,
        settings: ManagerSettings,
        clock: Clock,
        *,
        alerts: AlertSink | None = None,
        platforms: Any = None,
        tasks: Sequence[PeriodicTask] = (),
    ) -> None:
        self._fleet = fleet
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self._alerts = alerts
        self._platforms = platforms
        self._tasks = [*tasks, PeriodicTask("prune", 3600, self._prune, first_s=120)]
        self.id = f"m-{secrets.token_hex(6)}"
        self._wakeup = Wakeup()
        self._stop_asked = 0
        self._lock = ManagerLock(settings.run_dir, settings.department)
        self._info: ManagerInfo | None = None
        self._restart_why = ""
        self._vigil = Vigil()
        takeover = Takeover(ledger, self.id, settings.run_dir, clock, self._vigil, self._alert)
        self._tenancy = Tenancy(ledger, self.id, takeover, self.wake)
        self._enforcer = Enforcer(fleet, ledger, clock, settings.crash_policy, alerts)
        self._chronicle = Chronicle(ledger, clock)
        self._observer = Observer(ledger, self.id, clock)
        self._planner = Planner(
            settings.department, self._limits_of, self._enforcer.eager, self._enforcer.breakers.probes
        )
        self._snapshot: FleetSnapshot | None = None
        self._want: dict[InstanceId, Spec] = {}
        self._applied: Applied | None = None
        self._facts: deque[Fact] = deque()
        self._budgets_checked = float("-inf")
        self._limits: dict[str, tuple[Limit, ...]] = {}
        self._failure = ("", float("-inf"))
        self._watcher: Watcher | None = None

    def ask_to_stop(self) -> None:
        """Safe in a signal handler. Asked twice, it does not wait for what runs."""
        self._stop_asked += 1
        self._wakeup.set()

    def wake(self) -> None:
        self._wakeup.set()

    @property
    def asked_to_stop(self) -> bool:
        return self._stop_asked > 0

    def run(self, ready: Callable[[], None] = lambda: None, watcher: Watcher | None = None) -> Restart | None:
        """Raises LockHeld when another manager holds the lock; `ready` is called once it is up."""
        self._watcher = watcher
        left = self._lock.acquire()
        restart: Restart | None = None
        try:
            info = self._announce(left)
            recovery = recover(self._ledger, self.id, left, self._settings.run_dir)
            self._register(info)
            self._tell(recovery, left)
            restart = self._serve(ready)
        finally:
            if restart is None:
                self._lock.release()
        return restart

    def stay(self) -> None:
        """Instead of the restart that `run` returned."""
        self._lock.release()

    def _announce(self, left: ManagerInfo | None) -> ManagerInfo:
        """At once, because what stands beside the lock names who holds it; should it die here, the next one still
        learns whose runs are to be put in order.
        """
        unsettled = () if left is None else (left.id, *left.unsettled)
        info = ManagerInfo(
            os.getpid(), self.id, iso(self._clock.now()), self._settings.department, socket.gethostname(), unsettled,
            restarted_s=left.restarted_s if left is not None else None,
        )  # fmt: skip
        self._lock.write(info)
        return info

    def _register(self, info: ManagerInfo) -> None:
        now = self._clock.now()
        self._ledger.instances.managers.register(
            ManagerRecord(self.id, info.pid, info.host, info.department or "all", now, now)
        )
        self._ledger.store.guard(self.id)
        self._info = replace(info, unsettled=())
        self._lock.write(self._info)

    def _tell(self, recovery: Recovery, left: ManagerInfo | None) -> None:
        interrupted = len(recovery.runs.runs)
        log.info("manager_started", extra={"action": "manager_started", "manager": self.id, "interrupted": interrupted})
        if left is not None and left.restarting:
            self._alert("manager_restarted", "the manager restarted itself", left.restarting)
        if recovery.crashed is not None:
            charged = recovery.runs.charged
            self._alert(
                "manager_restarted",
                "the manager was restarted after it died",
                f"{count(interrupted, 'run')} interrupted, {count(recovery.killed, 'command')} ended, "
                f"{money(charged)} of open reservations charged.",
            )

    def _alert(self, event: str, title: str, body: str) -> None:
        if self._alerts is not None:
            self._alerts.send(event, title, body)

    def _serve(self, ready: Callable[[], None]) -> Restart | None:
        settings, leash = self._settings, Leash(self.id)
        logs = WorkerLogs(settings.logs_dir / "workers", self._clock, settings.scrubber)
        nursery = Nursery(self.id, leash)
        keepalive = Keepalive([leash.beat, nursery.beat])
        host = self._host(leash, logs, nursery, keepalive)
        chores = Housekeeping([*self._tasks, PeriodicTask("leash", 5, leash.ensure)])

        def fell() -> None:
            host.abandon()
            self.wake()

        usage = ManagerMonitor().read
        self._heartbeat = heartbeat = Heartbeat(self._ledger, self.id, self._clock, self._vigil, usage, fell)
        try:
            keepalive.start()
            heartbeat.start()
            self._turn(host)
            self._tenancy.start()
            self._turn(host)
            chores.start()
            gc.collect()
            gc.freeze()  # what is there now stays: looking through it again and again would hold up every run
            ready()
            while not self._stop_asked and not self._restart_why:
                self._wakeup.wait(_LOOK_S)
                if not self._stop_asked and not self._turn(host):
                    self._wakeup.wait(_AFTER_FAILURE_S)
                if self._watcher is not None:
                    self._watcher.turned(self._status())
        finally:
            if self._watcher is not None and self._stop_asked:
                self._watcher.stopping()
            if not heartbeat.fenced:
                self._stop(host, nursery, leash, logs, chores)
                keepalive.stop()
        return self._restart(fenced=heartbeat.fenced) if heartbeat.fenced or not self._stop_asked else None

    def _restart(self, *, fenced: bool) -> Restart:
        """The lock is handed on, so that nobody takes this manager for gone."""
        why = _FENCED if fenced else self._restart_why
        assert self._info is not None
        since = self._info.restarted_s if fenced else time.monotonic()
        log.warning("manager_restarting", extra={"action": "manager_restarting", "manager": self.id, "why": why})
        return Restart(why, fenced, self._lock.hand_over(replace(self._info, restarting=why, restarted_s=since)))

    def _status(self) -> str:
        declared = len(self._snapshot.deployments) if self._snapshot is not None else 0
        return f"deployments: {declared}, instances to run: {len(self._want)}"

    def _host(self, leash: Leash, logs: WorkerLogs, nursery: Nursery, keepalive: Keepalive) -> LocalHost:
        services = services_of(
            self.id,
            self._ledger,
            self._settings,
            self._clock,
            self._platforms,
            leash,
            logs,
            nursery,
            keepalive,
            self._enforcer.normals,
        )
        return LocalHost(services, starts={}, wake=self.wake, backoff=self._settings.backoff)

    def _stop(self, host: LocalHost, nursery: Nursery, leash: Leash, logs: WorkerLogs, chores: Housekeeping) -> None:
        """The order: no new runs, and what runs is asked to end; then the chores, which may still write; then the
        ledger is told that nothing is left open, which frees the leases but those of threads that have not ended. The
        lock goes last, so that who waits for it finds all settled.
        """
        grace_s = self._lock.grace(self._settings.grace_s)
        log.info("manager_stopping", extra={"action": "manager_stopping", "grace_s": grace_s})
        for act in (
            lambda: host.stop(grace_s, lambda: self._stop_asked > 1),
            nursery.close,
            lambda: chores.stop(min(2.0, grace_s / 4)),
            lambda: (self._take(host.report()), self._handle(grace_s)),
            leash.close,
            logs.close,
            self._tenancy.stop,
            self._observer.forget,
            self._heartbeat.stop,
            lambda: self._ledger.instances.managers.stopped(self.id, self._clock.now(), _left_in(host.report())),
        ):
            try:
                act()
            except Exception:
                log.exception("stop_step_failed", extra={"action": "stop_step_failed"})
        log.info("manager_stopped", extra={"action": "manager_stopped", "manager": self.id})

    def _turn(self, host: LocalHost) -> bool:
        """One round of the loop. Whatever fails is logged, and the loop goes on."""
        if self._heartbeat.look():
            self._restart_why = _FENCED
            return True
        try:
            self._step(host)
            return True
        except NovaError as problem:
            self._failed(problem.message)
        except Exception:
            log.exception("turn_failed", extra={"action": "turn_failed"})
        return False

    def _failed(self, message: str) -> None:
        """The same failure is logged now and then, not at every turn."""
        now = self._clock.monotonic()
        if message != self._failure[0] or now - self._failure[1] >= _REPEAT_S:
            self._failure = (message, now)
            log.error("turn_failed", extra={"action": "turn_failed", "error": message})

    def _step(self, host: LocalHost) -> None:
        """What is declared comes first, so that it is carried out even where the enforcement cannot be written."""
        snapshot = self._load()
        if arrived := self._tenancy.collect():
            host.remember(arrived)
            self._enforcer.took_over(arrived)
        report, plan = self._sync(host, snapshot)
        self._acknowledge(plan)
        self._observe(host, report)
        self._chronicle.note(snapshot)
        if self._enforce(snapshot, report) or self._facts:
            self._wakeup.set()  # the next turn carries it out

    def _load(self) -> FleetSnapshot:
        """What is declared now; while that cannot be read, what was declared last: nothing that runs is stopped."""
        known = self._snapshot
        if known is not None and self._fleet.token() == known.version:
            return known
        try:
            snapshot = self._fleet.snapshot()
        except NovaError as problem:
            if known is None:
                raise
            self._failed(problem.message)
            return known
        self._snapshot = snapshot
        self._limits.clear()
        self._enforcer.watch(snapshot)
        self._tenancy.want(self._planner.wanted(snapshot))
        return snapshot

    def _sync(self, host: LocalHost, snapshot: FleetSnapshot) -> tuple[Report, Plan]:
        lease_s = self._heartbeat.lease_s()
        report = self._take(host.sync(self._want, lease_s))
        plan = self._planner.plan(snapshot, report.states, self._tenancy.held)
        for instance in plan.ending:
            host.kill(instance)
        if plan.want is not self._want and plan.want != self._want:
            self._want = plan.want
            report = self._take(host.sync(plan.want, lease_s))
        self._let_go(report)
        return report, plan

    def _let_go(self, report: Report) -> None:
        """Gives back the lease of what is another manager's now, once nothing of it is here or asked for."""
        if unwanted := self._tenancy.held - self._tenancy.wanted:
            here = {seen.worker for seen in report.states.values()} | {spec.worker for spec in self._want.values()}
            self._tenancy.let_go(unwanted - here)

    def _acknowledge(self, plan: Plan) -> None:
        """Tells who waits for it how far it is. Where that cannot be written it is tried again."""
        assert self._snapshot is not None
        applied = Applied(self.id, version_of(self._snapshot.version), plan.leaving)
        if applied != self._applied:
            try:
                applied.write(self._lock.applied_path)
            except OSError as problem:
                self._failed(f"{self._lock.applied_path} cannot be written: {problem.strerror}")
                return
            self._applied = applied

    def _limits_of(self, one: Deployment) -> tuple[Limit, ...]:
        limits = self._limits.get(one.name)
        if limits is None:
            assert self._snapshot is not None
            declared = self._snapshot.limits_for(one, self._settings.default_daily)
            tiers = self._snapshot.tiers
            limits = self._limits[one.name] = tuple(Limit(*limit, tiers=tiers) for limit in declared)
        return limits

    def _take(self, report: Report) -> Report:
        self._facts.extend(report.facts)
        for fact in report.facts:
            if isinstance(fact, RunEnded) and fact.crash:
                log.warning("run_crashed", extra={"action": "run_crashed", "worker": fact.worker, "run": fact.run})
        return report

    def _enforce(self, snapshot: FleetSnapshot, report: Report) -> bool:
        """Whether it changed the fleet."""
        changed = self._enforcer.timers(snapshot, self._planner.mine)
        changed = self._enforcer.breakers.turn(snapshot, self._planner.mine, report.states) or changed
        now = self._clock.monotonic()
        if now - self._budgets_checked >= _BUDGET_CHECK_S:
            self._budgets_checked = now
            changed = self._enforcer.check_spent(snapshot, self._limits_of, self._planner.mine) or changed
            changed = self._enforcer.let_go_on(snapshot, self._limits_of, self._planner.mine) or changed
        return self._handle() or changed

    def _handle(self, within_s: float = _FACTS_S) -> bool:
        """A fact leaves the queue when it was dealt with: a failed write is repeated."""
        changed = False
        until = time.monotonic() + within_s
        while self._facts and time.monotonic() < until:
            changed = self._deal_with(self._facts[0], self._load()) or changed
            self._facts.popleft()
        return changed

    def _deal_with(self, fact: Fact, snapshot: FleetSnapshot) -> bool:
        if isinstance(fact, BudgetHit):
            return self._enforcer.budget_hit(fact, snapshot)
        if isinstance(fact, Overspent):
            return self._enforcer.breakers.overspent(fact, snapshot)
        changed = self._enforcer.breakers.run_ended(fact, snapshot)
        return self._enforcer.run_ended(fact, self._load()) or changed

    def _observe(self, host: LocalHost, report: Report) -> None:
        now = self._clock.monotonic()
        if self._observer.sample_due(now):
            self._observer.sampled(self._take(host.report()), now)
            self._mind_the_hung(report)
        elif self._observer.states_due(now):
            self._observer.states(report, now)

    def _mind_the_hung(self, report: Report) -> None:
        hung = [seen for seen in report.states.values() if seen.state is State.HUNG]
        assert self._info is not None
        last, now = self._info.restarted_s, time.monotonic()
        since = now - last if last is not None and last <= now else None  # else the machine was started since
        chosen = cure(len(hung), self._settings.max_hung, since)
        if chosen is Cure.NONE or self._snapshot is None:
            return
        why = told([seen.instance for seen in hung], self._settings.max_hung)
        if chosen is Cure.PARK:
            why += f"; the manager restarted itself because of that {since or 0:.0f} s ago"
            for worker in {seen.worker for seen in hung}:
                if self._enforcer.park_hung(worker, why, self._snapshot):
                    self._wakeup.set()
            return
        self._restart_why = why
        runs = {seen.instance: seen.run for seen in hung}
        try:
            self._ledger.audit.append("manager", "manager_restarting", self.id, {"why": why, "hung": runs})
        except NovaError as problem:
            self._failed(problem.message)

    def _prune(self) -> None:
        gone = self._ledger.runs.prune(self._clock.now())
        log.info("runs_pruned", extra={"action": "runs_pruned", "runs": gone})


def _left_in(report: Report) -> set[str]:
    """The workers of which a thread has not ended."""
    return {seen.worker for seen in report.states.values() if seen.run is not None}
