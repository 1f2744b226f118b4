"""WorkerManager: makes what runs match what is declared, and enforces what must hold whatever runs."""

from __future__ import annotations

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
from nova.errors import LockHeld, NovaError
from nova.fleet.documents import Deployment, FleetSnapshot
from nova.ledger.instances import ManagerRecord
from nova.ledger.limits import Limit
from nova.money import Money
from workers.applied import Applied, version_of
from workers.base_worker import BaseWorker
from workers.chronicle import Chronicle
from workers.enforcement import CrashPolicy
from workers.enforcer import AlertSink, Enforcer
from workers.hosts.base import BudgetHit, Fact, InstanceId, Report, RunEnded, Spec
from workers.hosts.keepalive import Keepalive
from workers.hosts.leash_client import Leash
from workers.hosts.local import LocalHost
from workers.hosts.nursery_client import Nursery
from workers.hosts.run import Services
from workers.housekeeping import Housekeeping, PeriodicTask
from workers.instance import Backoff
from workers.lock import DepartmentLeases, ManagerInfo, ManagerLock
from workers.logfile import WorkerLogs
from workers.observer import Observer
from workers.planner import Plan, Planner
from workers.recovery import Recovery, recover
from workers.wakeup import Wakeup

if TYPE_CHECKING:
    from nova.fleet.fleet import Fleet
    from nova.ledger.ledger import Ledger

log = logging.getLogger(__name__)

_LOOK_S = 0.25  # how often the fleet's file is looked at
_LEASE_S = 30.0
_BUDGET_CHECK_S = 5.0
_AFTER_FAILURE_S = 1.0
_REPEAT_S = 60.0  # what fails again and again is logged so often
_FACTS_S = 0.2  # of a turn, so that a storm of crashes does not hold up what is declared
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


class Watcher(Protocol):
    """Who wants to know that the loop turns, as a service manager's watchdog does. It must not raise."""

    def turned(self, status: str) -> None: ...
    def stopping(self) -> None: ...


class WorkerManager:
    """One process's manager. `run` returns when it was asked to stop, and everything of it has ended."""

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
        self._leases = DepartmentLeases(settings.run_dir)
        self._enforcer = Enforcer(fleet, ledger, clock, settings.crash_policy, alerts)
        self._chronicle = Chronicle(ledger, clock)
        self._observer = Observer(ledger, self.id, clock)
        self._planner = Planner(
            self.id, settings.run_dir, settings.department, self._leases, self._limits_of, self._enforcer.eager
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

    def run(self, ready: Callable[[], None] = lambda: None, watcher: Watcher | None = None) -> None:
        """Raises LockHeld when another manager holds the lock; `ready` is called once it is up."""
        self._watcher = watcher
        left = self._lock.acquire()
        try:
            if self._settings.department and not self._leases.hold(self._settings.department):
                raise LockHeld(f"another manager runs the department {self._settings.department}")
            info = self._announce(left)
            recovery = recover(self._ledger, left, self._settings.run_dir)
            self._register(info)
            self._tell(recovery)
            self._serve(ready)
        finally:
            self._leases.release()
            self._lock.release()

    def _announce(self, left: ManagerInfo | None) -> ManagerInfo:
        """At once, because what stands beside the lock names who holds it; should it die here, the next one still
        learns whose runs are to be put in order.
        """
        unsettled = () if left is None else (left.id, *left.unsettled)
        info = ManagerInfo(
            os.getpid(), self.id, iso(self._clock.now()), self._settings.department, socket.gethostname(), unsettled
        )
        self._lock.write(info)
        return info

    def _register(self, info: ManagerInfo) -> None:
        now = self._clock.now()
        self._ledger.instances.managers.register(
            ManagerRecord(self.id, info.pid, info.host, info.department or "all", now, now)
        )
        self._lock.write(replace(info, unsettled=()))

    def _tell(self, recovery: Recovery) -> None:
        interrupted = len(recovery.runs.runs)
        log.info("manager_started", extra={"action": "manager_started", "manager": self.id, "interrupted": interrupted})
        if recovery.crashed is not None and self._alerts is not None:
            charged = recovery.runs.charged
            self._alerts.send(
                "manager_restarted",
                "the manager was restarted after it died",
                f"{interrupted} runs were interrupted, {recovery.killed} commands ended, "
                f"{charged} {charged.currency} of open reservations charged.",
            )

    def _serve(self, ready: Callable[[], None]) -> None:
        leash, logs = Leash(self.id), WorkerLogs(self._settings.logs_dir / "workers", self._clock)
        nursery = Nursery(self.id, leash)
        keepalive = Keepalive([leash.beat, nursery.beat])
        host = self._host(leash, logs, nursery, keepalive)
        chores = Housekeeping([*self._tasks, PeriodicTask("leash", 5, leash.ensure)])
        try:
            keepalive.start()
            self._turn(host)
            chores.start()
            ready()
            while not self._stop_asked:
                self._wakeup.wait(_LOOK_S)
                if not self._stop_asked and not self._turn(host):
                    self._wakeup.wait(_AFTER_FAILURE_S)
                if self._watcher is not None:
                    self._watcher.turned(self._status())
        finally:
            if self._watcher is not None:
                self._watcher.stopping()
            self._stop(host, nursery, leash, logs, chores)
            keepalive.stop()

    def _status(self) -> str:
        declared = len(self._snapshot.deployments) if self._snapshot is not None else 0
        return f"deployments: {declared}, instances to run: {len(self._want)}"

    def _host(self, leash: Leash, logs: WorkerLogs, nursery: Nursery, keepalive: Keepalive) -> LocalHost:
        services = Services(
            manager=self.id,
            ledger=self._ledger,
            clock=self._clock,
            logs=logs,
            leash=leash,
            home=str(self._settings.home),
            agents=self._settings.agents,
            platforms=self._platforms,
            nursery=nursery,
            variables=self._settings.variables,
            was_silent=keepalive.was_silent,
        )
        starts = self._ledger.runs.last_starts()
        return LocalHost(services, starts=starts, wake=self.wake, backoff=self._settings.backoff)

    def _stop(self, host: LocalHost, nursery: Nursery, leash: Leash, logs: WorkerLogs, chores: Housekeeping) -> None:
        """The order: no new runs, and what runs is asked to end; then the chores, which may still write; then the
        ledger is told that nothing is left open. The lock goes last, so that who waits for it finds all settled.
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
            self._observer.forget,
            lambda: self._ledger.instances.managers.stopped(self.id, self._clock.now()),
        ):
            try:
                act()
            except Exception:
                log.exception("stop_step_failed", extra={"action": "stop_step_failed"})
        log.info("manager_stopped", extra={"action": "manager_stopped", "manager": self.id})

    def _turn(self, host: LocalHost) -> bool:
        """One round of the loop. Whatever fails is logged, and the loop goes on."""
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
        report, plan = self._sync(host, snapshot)
        self._acknowledge(plan)
        self._observe(host, report)
        self._chronicle.note(snapshot)
        if self._enforce(snapshot) or self._facts:
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
        self._planner.look_again()
        return snapshot

    def _sync(self, host: LocalHost, snapshot: FleetSnapshot) -> tuple[Report, Plan]:
        report = self._take(host.sync(self._want, _LEASE_S))
        plan = self._planner.plan(snapshot, report.states)
        for instance in plan.ending:
            host.kill(instance)
        if plan.want is not self._want and plan.want != self._want:
            self._want = plan.want
            report = self._take(host.sync(plan.want, _LEASE_S))
        return report, plan

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

    def _enforce(self, snapshot: FleetSnapshot) -> bool:
        """Whether it changed the fleet."""
        changed = self._enforcer.timers(snapshot, self._planner.mine)
        now = self._clock.monotonic()
        if now - self._budgets_checked >= _BUDGET_CHECK_S:
            self._budgets_checked = now
            self._planner.look_again()
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
        return self._enforcer.run_ended(fact, snapshot)

    def _observe(self, host: LocalHost, report: Report) -> None:
        now = self._clock.monotonic()
        if self._observer.sample_due(now):
            self._observer.sampled(self._take(host.report()), now)
        elif self._observer.states_due(now):
            self._observer.states(report, now)

    def _prune(self) -> None:
        now = self._clock.now()
        runs, effects = self._ledger.runs.prune(now), self._ledger.outbox.prune(now)
        log.info("ledger_pruned", extra={"action": "ledger_pruned", "runs": runs, "effects": effects})
