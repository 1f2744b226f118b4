"""One run in the terminal of whoever asks for it, beside what a manager runs: the same host, budgets, state and log."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nova.clock import Clock, iso
from nova.errors import LockHeld, NotFound, Refused
from nova.fleet.documents import Deployment, FleetSnapshot
from nova.fleet.file import Token
from nova.fleet.terms import Schedule
from nova.ledger.instances import ManagerRecord
from nova.ledger.limits import Limit
from nova.secrecy import Scrubber
from workers.enforcer import AlertSink, Enforcer
from workers.hosts.base import BudgetHit, InstanceId, RunEnded, Spec
from workers.hosts.keepalive import Keepalive
from workers.hosts.leash_client import Leash
from workers.hosts.local import LocalHost
from workers.hosts.nursery_client import Nursery
from workers.instance import Backoff
from workers.lock import ForegroundLock, ManagerInfo
from workers.log_lines import LogLine
from workers.logfile import WorkerLogs
from workers.manager import ManagerSettings, services_of
from workers.recovery import FOREGROUND, recover_foreground
from workers.wakeup import Wakeup

if TYPE_CHECKING:
    from nova.fleet.fleet import Fleet
    from nova.ledger.ledger import Ledger
    from platforms.exchange import Exchange

Show = Callable[[Sequence[str]], None]

_LOOK_S = 0.25
_LEASE_S = 30.0


class ForegroundRun:
    """One run of a deployment, as `NAME#0`, whatever its schedule and state are. `show` is given what it prints.

    It is a manager of its own in the ledger, so that one that is killed is recovered like any other.
    """

    def __init__(
        self,
        fleet: Fleet,
        ledger: Ledger,
        settings: ManagerSettings,
        clock: Clock,
        show: Show,
        *,
        alerts: AlertSink | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        self._fleet = fleet
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self._show = show
        self._exchange = exchange
        self._enforcer = Enforcer(fleet, ledger, clock, settings.crash_policy, alerts)
        self._wakeup = Wakeup()
        self._stop_asked = 0
        self.id = f"{FOREGROUND}{secrets.token_hex(6)}"
        self._version: Token = None
        self._hangs = False
        self.refused = False  # whether a budget or a kill ended it

    def ask_to_stop(self) -> None:
        """Safe in a signal handler. Asked twice, it does not wait for the run."""
        self._stop_asked += 1
        self._wakeup.set()

    def run(self, name: str) -> RunEnded:
        """Returns when it has ended. Raises NotFound, Refused for what was killed, LockHeld while another one runs."""
        one = self._fleet.get(name)
        recover_foreground(self._ledger, self.id, self._settings.run_dir)
        lock = ForegroundLock(self._settings.run_dir, name)
        if not lock.acquire(self._info(one)):
            raise LockHeld(f"{name} is being run in the foreground already", hint="try again when that has ended")
        try:
            # Who kills it looks for the lock after the fleet was changed: one of both sees the other.
            self._version = self._fleet.token()
            one = self._fleet.get(name)
            if one.state == "killed":
                raise Refused(f"{name} was killed", hint="deploy it again with --revive")
            return self._registered(one, self._fleet.snapshot())
        finally:
            if not self._hangs:  # else it is over when this process is
                lock.release()
            self._wakeup.close()

    def _info(self, one: Deployment) -> ManagerInfo:
        return ManagerInfo(os.getpid(), self.id, iso(self._clock.now()), one.department, socket.gethostname())

    def _registered(self, one: Deployment, snapshot: FleetSnapshot) -> RunEnded:
        now, managers = self._clock.now(), self._ledger.instances.managers
        managers.register(ManagerRecord(self.id, os.getpid(), socket.gethostname(), one.department, now, now))
        self._ledger.store.guard(self.id)
        leash = Leash(self.id)
        nursery = Nursery(self.id, leash)
        keepalive = Keepalive([leash.beat, nursery.beat])
        logs = _ShownLogs(self._settings.logs_dir / "workers", self._clock, self._settings.scrubber, self._show)
        services = services_of(
            self.id, self._ledger, self._settings, self._clock, self._exchange, leash, logs, nursery, keepalive
        )
        host = LocalHost(services, starts={}, wake=self._wakeup.set, backoff=Backoff(_LEASE_S * 1000, _LEASE_S * 1000))
        try:
            keepalive.start()
            return self._watched(host, self._spec(one, snapshot))
        finally:
            nursery.close()
            keepalive.stop()
            leash.close()
            logs.close()
            managers.stopped(self.id, self._clock.now())

    def _spec(self, one: Deployment, snapshot: FleetSnapshot) -> Spec:
        return Spec.of(
            one,
            1,
            self._limits(one, snapshot),
            foreground=True,
            replicas=1,
            schedule=Schedule(once=True),
            since=self._clock.now(),
        )

    def _limits(self, one: Deployment, snapshot: FleetSnapshot) -> tuple[Limit, ...]:
        declared = snapshot.limits_for(one, self._settings.default_daily)
        return tuple(Limit(*limit, tiers=snapshot.tiers) for limit in declared)

    def _watched(self, host: LocalHost, spec: Spec) -> RunEnded:
        want = {spec.instance: spec}
        ended: RunEnded | None = None
        try:
            while ended is None and not self._stop_asked:
                ended = self._facts(host.sync(want, self._clock.monotonic() + _LEASE_S).facts)
                if ended is None:
                    self._wakeup.wait(_LOOK_S)
                if self._fleet.token() != self._version:
                    self._version = self._fleet.token()
                    want = self._heed(host, want, spec)
        finally:
            host.stop(self._settings.grace_s, lambda: self._stop_asked > 1)
            report = host.report()
            self._hangs = any(seen.run is not None for seen in report.states.values())
        ended = ended or self._facts(report.facts)
        if ended is None:
            raise NotFound(f"{spec.worker} was stopped before its run began")
        return ended

    def _heed(self, host: LocalHost, want: dict[InstanceId, Spec], spec: Spec) -> dict[InstanceId, Spec]:
        """A kill is for this run too, and so are the budgets as they are now."""
        snapshot = self._fleet.snapshot()
        one = snapshot.deployments.get(spec.worker)
        if one is not None and one.state != "killed":
            return {spec.instance: replace(spec, limits=self._limits(one, snapshot))}
        self.refused = True
        host.kill(spec.instance)
        return want

    def _facts(self, facts: Sequence[object]) -> RunEnded | None:
        """What hits a budget is enforced as ever."""
        ended = None
        for fact in facts:
            if isinstance(fact, RunEnded):
                ended = fact
            elif isinstance(fact, BudgetHit):
                self.refused = self.refused or fact.kind == "refused"
                self._enforcer.budget_hit(fact, self._fleet.snapshot())
        return ended


def _nowhere(_lines: Sequence[str]) -> None:
    pass


class _ShownLogs(WorkerLogs):
    """What was printed is shown as it is, what was logged with its level and fields; as long as somebody reads it."""

    def __init__(self, directory: Path, clock: Clock, scrubber: Scrubber, show: Show) -> None:
        super().__init__(directory, clock, scrubber)
        self._show = show

    def write(
        self,
        worker: str,
        instance: InstanceId,
        lines: Sequence[str],
        *,
        run: str | None = None,
        level: str = "INFO",
        stream: str | None = "stdout",
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        told = [self.scrubber.text(line) for line in lines]
        if not stream:
            told = LogLine(f"{level} {told[0]}", fields=self.scrubber.fields(fields or {})).text()
        try:
            self._show(told)
        except OSError:  # as after `| head`: the run goes on
            self._show = _nowhere
        super().write(worker, instance, lines, run=run, level=level, stream=stream, fields=fields)
