"""WorkerManager: the life of a manager, from its lock to its end or its next beginning. Its rounds are in rounds.py."""

from __future__ import annotations

import gc
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nova.clock import Clock, iso
from nova.config import USUAL_PUBLIC_URL
from nova.errors import NovaError
from nova.ledger.instances import ManagerRecord
from nova.money import Money
from nova.secrecy import Scrubber
from nova.words import count, money
from workers.base_worker import BaseWorker
from workers.enforcement import CrashPolicy
from workers.enforcer import AlertSink, Enforcer
from workers.heartbeat import Heartbeat
from workers.hosts.base import Report
from workers.hosts.keepalive import Keepalive
from workers.hosts.leash_client import Leash
from workers.hosts.local import LocalHost
from workers.hosts.nursery_client import Nursery
from workers.hosts.services import Services
from workers.housekeeping import Housekeeping, PeriodicTask
from workers.instance import Backoff
from workers.links import TrackedLinks
from workers.lock import ManagerInfo, ManagerLock
from workers.logfile import WorkerLogs
from workers.recovery import Recovery, recover
from workers.rounds import Rounds
from workers.takeover import Takeover
from workers.tenancy import Tenancy
from workers.vigil import Vigil
from workers.wakeup import Wakeup
from workers.worker_monitor import ManagerMonitor

if TYPE_CHECKING:
    from nova.fleet.fleet import Fleet
    from nova.ledger.ledger import Ledger
    from platforms.exchange import Exchange
    from workers.normals import Normals

log = logging.getLogger(__name__)

_LOOK_S = 0.25  # how often the fleet's file is looked at
_GARBAGE = 10_000  # new objects, until those among them are looked for that nobody can reach any more
_AFTER_FAILURE_S = 1.0
_BEGIN_AGAIN_S = 2.0
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
    public_url: str = USUAL_PUBLIC_URL
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
    exchange: Exchange | None,
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
        exchange=exchange,
        nursery=nursery,
        variables=settings.variables,
        was_silent=keepalive.was_silent,
        normals=normals,
        links=TrackedLinks(ledger, settings.public_url, settings.home),
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
        exchange: Exchange | None = None,
        tasks: Sequence[PeriodicTask] = (),
    ) -> None:
        self._fleet = fleet
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self._alerts = alerts
        self._exchange = exchange
        self._tasks = [*tasks, PeriodicTask("prune", 3600, self._prune, first_s=120)]
        self.id = f"m-{secrets.token_hex(6)}"
        self._wakeup = Wakeup()
        self._stop_asked = 0
        self._lock = ManagerLock(settings.run_dir, settings.department)
        self._info: ManagerInfo | None = None
        self._vigil = Vigil()
        takeover = Takeover(ledger, self.id, settings.run_dir, clock, self._vigil, self._alert)
        self._tenancy = Tenancy(ledger, self.id, takeover, self.wake)
        self._enforcer = Enforcer(fleet, ledger, clock, settings.crash_policy, alerts)
        self._rounds = Rounds(
            fleet, ledger, self.id, clock, self._enforcer, self._tenancy, settings, self._lock.applied_path, self.wake
        )
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
            if self._begin(left):
                restart = self._serve(ready)
        finally:
            if restart is None:
                self._lock.release()
        return restart

    def _begin(self, left: ManagerInfo | None) -> bool:
        """False where it was asked to stop before it could. One that starts itself again has nobody to tell that it
        cannot, as on a full disk, and nobody to start it once it can: it tries until then.
        """
        while not self._stop_asked:
            try:
                info = self._announce(left)
                recovery = recover(self._ledger, self.id, left, self._settings.run_dir)
                self._register(info)
            except NovaError as problem:
                if not self._lock.inherited:
                    raise
                log.error("manager_waits", extra={"action": "manager_waits", "error": problem.message})
                self._wakeup.wait(_BEGIN_AGAIN_S)
            else:
                self._tell(recovery, left)
                return True
        return False

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
        self._rounds.restarted_s = info.restarted_s
        with suppress(NovaError):  # who is settled by now may be settled again
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
            gc.set_threshold(_GARBAGE)
            ready()
            while not self._stop_asked and not self._rounds.restart_why and not heartbeat.fenced:
                woken = self._wakeup.wait(_LOOK_S)
                if not self._stop_asked and not self._turn(host, woken=woken):
                    self._wakeup.wait(_AFTER_FAILURE_S)
                if self._watcher is not None:
                    self._watcher.turned(self._rounds.status())
        finally:
            if self._watcher is not None and self._stop_asked:
                self._watcher.stopping()
            if not heartbeat.fenced:
                self._stop(host, nursery, leash, logs, chores)
                keepalive.stop()
        return self._restart(fenced=heartbeat.fenced) if heartbeat.fenced or not self._stop_asked else None

    def _restart(self, *, fenced: bool) -> Restart:
        """The lock is handed on, so that nobody takes this manager for gone."""
        why = _FENCED if fenced else self._rounds.restart_why
        assert self._info is not None
        since = self._info.restarted_s if fenced else time.monotonic()
        log.warning("manager_restarting", extra={"action": "manager_restarting", "manager": self.id, "why": why})
        return Restart(why, fenced, self._lock.hand_over(replace(self._info, restarting=why, restarted_s=since)))

    def _host(self, leash: Leash, logs: WorkerLogs, nursery: Nursery, keepalive: Keepalive) -> LocalHost:
        services = services_of(
            self.id,
            self._ledger,
            self._settings,
            self._clock,
            self._exchange,
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
        steps: tuple[Callable[[], object], ...] = (
            lambda: host.stop(grace_s, lambda: self._stop_asked > 1),
            nursery.close,
            lambda: chores.stop(min(2.0, grace_s / 4)),
            lambda: self._rounds.finish(host, grace_s),
            leash.close,
            logs.close,
            self._tenancy.stop,
            self._rounds.forget,
            self._heartbeat.stop,
            lambda: self._ledger.instances.managers.stopped(self.id, self._clock.now(), _left_in(host.report())),
        )
        for act in steps:
            try:
                act()
            except Exception:
                log.exception("stop_step_failed", extra={"action": "stop_step_failed"})
        log.info("manager_stopped", extra={"action": "manager_stopped", "manager": self.id})

    def _turn(self, host: LocalHost, *, woken: bool = True) -> bool:
        """One round of the loop. Whatever fails is logged, and the loop goes on."""
        return self._heartbeat.look() or self._rounds.turn(host, self._heartbeat.lease_until, woken=woken)

    def _prune(self) -> None:
        now = self._clock.now()
        gone = self._ledger.runs.prune(now)
        self._ledger.outbox.prune(now)
        self._ledger.platform_calls.prune(now)
        log.info("runs_pruned", extra={"action": "runs_pruned", "runs": gone})


def _left_in(report: Report) -> set[str]:
    """The workers of which a thread has not ended."""
    return {seen.worker for seen in report.states.values() if seen.run is not None}
