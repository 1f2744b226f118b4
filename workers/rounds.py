"""The rounds of a manager's loop: what runs is made to match what is declared, and what must hold is enforced."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nova.clock import Clock
from nova.errors import NovaError
from nova.fleet.documents import Deployment, FleetSnapshot
from nova.ledger.limits import Limit
from workers.applied import Applied, version_of
from workers.chronicle import Chronicle
from workers.enforcer import Enforcer
from workers.hosts.base import BudgetHit, Fact, InstanceId, Overspent, Report, RunEnded, Spec
from workers.hung import Cure, cure, told
from workers.instance import State
from workers.observer import Observer
from workers.planner import Plan, Planner

if TYPE_CHECKING:
    from nova.fleet.fleet import Fleet
    from nova.ledger.ledger import Ledger
    from workers.hosts.local import LocalHost
    from workers.manager import ManagerSettings
    from workers.tenancy import Tenancy

log = logging.getLogger(__name__)

_BUDGET_CHECK_S = 5.0
_REPEAT_S = 60.0  # what fails again and again is logged so often
_FACTS_S = 0.2  # of a turn, so that a storm of crashes does not hold up what is declared
_REST = 50  # a turn that nothing asked for comes after so many times what the last one took
_LONGEST_REST_S = 1.0


class Rounds:
    """One `turn` after the other, all from the manager's own thread.

    `restart_why` says why the manager must begin anew, once it must; `restarted_s` when it last did, if it ever did.
    """

    def __init__(
        self,
        fleet: Fleet,
        ledger: Ledger,
        manager: str,
        clock: Clock,
        enforcer: Enforcer,
        tenancy: Tenancy,
        settings: ManagerSettings,
        applied_path: Path,
        wake: Callable[[], object],
    ) -> None:
        self._fleet = fleet
        self._ledger = ledger
        self._manager = manager
        self._clock = clock
        self._enforcer = enforcer
        self._tenancy = tenancy
        self._default_daily = settings.default_daily
        self._max_hung = settings.max_hung
        self._applied_path = applied_path
        self._wake = wake
        self.restart_why = ""
        self.restarted_s: float | None = None
        self._chronicle = Chronicle(ledger, clock)
        self._observer = Observer(ledger, manager, clock)
        self._planner = Planner(settings.department, self._limits_of, enforcer.eager, enforcer.breakers.probes)
        self._snapshot: FleetSnapshot | None = None
        self._want: dict[InstanceId, Spec] = {}
        self._applied: Applied | None = None
        self._facts: deque[Fact] = deque()
        self._budgets_checked = float("-inf")
        self._limits: dict[str, tuple[Limit, ...]] = {}
        self._failure = ("", float("-inf"))
        self._rested_at = float("-inf")
        self._fitting: tuple[frozenset[str] | None, ...] = None, None  # held and wanted, with none too much

    def turn(self, host: LocalHost, lease_until: Callable[[], float], *, woken: bool = True) -> bool:
        """False where something failed, which is logged; the next turn tries it again.

        `lease_until`: until when (monotonic) what begins is this manager's to run; asked whenever something may begin.
        Not `woken`, a large fleet in which nothing is declared anew has its turn less often.
        """
        began = time.monotonic()
        try:
            if woken or began >= self._rested_at or self._has_news():
                self._step(host, lease_until)
                self._rested_at = began + min(_LONGEST_REST_S, _REST * (time.monotonic() - began))
            return True
        except NovaError as problem:
            self._failed(problem.message)
        except Exception:
            log.exception("turn_failed", extra={"action": "turn_failed"})
        return False

    def _has_news(self) -> bool:
        return self._tenancy.arriving or self._snapshot is None or self._fleet.token() != self._snapshot.version

    def finish(self, host: LocalHost, within_s: float) -> None:
        """Deals with what the last runs have left to tell."""
        self._take(host.report())
        self._handle(within_s)

    def forget(self) -> None:
        """Nothing of this manager is there to be seen any more."""
        self._observer.forget()

    def status(self) -> str:
        declared = len(self._snapshot.deployments) if self._snapshot is not None else 0
        return f"deployments: {declared}, instances to run: {len(self._want)}"

    def _failed(self, message: str) -> None:
        """The same failure is logged now and then, not at every turn."""
        now = self._clock.monotonic()
        if message != self._failure[0] or now - self._failure[1] >= _REPEAT_S:
            self._failure = (message, now)
            log.error("turn_failed", extra={"action": "turn_failed", "error": message})

    def _step(self, host: LocalHost, lease_until: Callable[[], float]) -> None:
        """What is declared comes first, so that it is carried out even where the enforcement cannot be written."""
        snapshot = self._load()
        if arrived := self._tenancy.collect():
            host.remember(arrived)
            self._enforcer.took_over(arrived)
        report, plan = self._sync(host, snapshot, lease_until)
        self._acknowledge(plan)
        self._observe(host, report)
        self._chronicle.note(snapshot)
        if self._enforce(snapshot, report) or self._facts:
            self._wake()  # the next turn carries it out

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

    def _sync(self, host: LocalHost, snapshot: FleetSnapshot, lease_until: Callable[[], float]) -> tuple[Report, Plan]:
        report = self._take(host.sync(self._want, lease_until()))
        plan = self._planner.plan(snapshot, report.states, self._tenancy.held)
        for instance in plan.ending:
            host.kill(instance)
        if plan.want is not self._want and plan.want != self._want:
            self._want = plan.want
            report = self._take(host.sync(plan.want, lease_until()))
        self._let_go(report)
        return report, plan

    def _let_go(self, report: Report) -> None:
        """Gives back the lease of what is another manager's now, once nothing of it is here or asked for."""
        leases = self._tenancy.held, self._tenancy.wanted
        if leases[0] is self._fitting[0] and leases[1] is self._fitting[1]:
            return
        if unwanted := leases[0] - leases[1]:
            here = {seen.worker for seen in report.states.values()} | {spec.worker for spec in self._want.values()}
            self._tenancy.let_go(unwanted - here)
        else:
            self._fitting = leases

    def _acknowledge(self, plan: Plan) -> None:
        """Tells who waits for it how far it is. Where that cannot be written it is tried again."""
        assert self._snapshot is not None
        applied = Applied(self._manager, version_of(self._snapshot.version), plan.leaving)
        if applied != self._applied:
            try:
                applied.write(self._applied_path)
            except OSError as problem:
                self._failed(f"{self._applied_path} cannot be written: {problem.strerror}")
                return
            self._applied = applied

    def _limits_of(self, one: Deployment) -> tuple[Limit, ...]:
        limits = self._limits.get(one.name)
        if limits is None:
            assert self._snapshot is not None
            declared = self._snapshot.limits_for(one, self._default_daily)
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
        last, now = self.restarted_s, time.monotonic()
        since = now - last if last is not None and last <= now else None  # else the machine was started since
        chosen = cure(len(hung), self._max_hung, since)
        if chosen is Cure.NONE or self._snapshot is None:
            return
        why = told([seen.instance for seen in hung], self._max_hung)
        if chosen is Cure.PARK:
            why += f"; the manager restarted itself because of that {since or 0:.0f} s ago"
            for worker in {seen.worker for seen in hung}:
                if self._enforcer.park_hung(worker, why, self._snapshot):
                    self._wake()
            return
        runs = {seen.instance: seen.run for seen in hung}
        self._ledger.audit.append("manager", "manager_restarting", self._manager, {"why": why, "hung": runs})
        self.restart_why = why  # where that cannot be written, as on a full disk, it could not begin anew either
