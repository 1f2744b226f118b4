"""The manager's own acts, always on and in the same history as decisions: budgets and crash limits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from nova.clock import Clock, iso, window_of
from nova.errors import NovaError
from nova.fleet.documents import Deployment, FleetSnapshot
from nova.ledger.decisions import DecisionRecord
from nova.ledger.limits import TOTAL, Breach, Limit, standing
from nova.money import Money
from nova.words import when
from workers.breakers import Breakers, first_line
from workers.enforcement import CRASH_WINDOW, CrashPolicy, CrashWindow, Verdict, replayed
from workers.hosts.base import BudgetHit, RunEnded
from workers.normals import Normals
from workers.totals import lacking, stopped_by_total, totals_of

if TYPE_CHECKING:
    from nova.fleet.fleet import Fleet
    from nova.ledger.ledger import Ledger

log = logging.getLogger(__name__)

LimitsOf = Callable[[Deployment], tuple[Limit, ...]]


class AlertSink(Protocol):
    """Tells people; never raises."""

    def send(self, event: str, title: str, body: str) -> object: ...


class Enforcer:
    """Each method reads the snapshot it is given and returns whether it changed the fleet."""

    def __init__(
        self, fleet: Fleet, ledger: Ledger, clock: Clock, crash_policy: CrashPolicy, alerts: AlertSink | None
    ) -> None:
        self._fleet = fleet
        self._ledger = ledger
        self._clock = clock
        self._crash_policy = crash_policy
        self._alerts = alerts
        self._created = clock.now()
        self._began: dict[str, datetime] = {}  # since when a worker's crashes are told here
        self._windows: dict[str, CrashWindow] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._known: dict[str, tuple[str, int]] = {}
        self.normals = Normals(ledger, clock)
        self.breakers = Breakers(fleet, ledger, clock, self._record, self._alert)
        self.eager: set[str] = set()  # whose cooldown has just ended: it was the wait for their next run

    def watch(self, snapshot: FleetSnapshot) -> None:
        """Crashes are forgotten when a deployment is declared anew, or leaves a state a person had to end."""
        self.normals.watch(snapshot)
        self.breakers.watch(snapshot)
        for name, deployment in snapshot.deployments.items():
            state, generation = self._known.get(name, (deployment.state, deployment.generation))
            fresh = generation != deployment.generation or (
                state in ("parked", "killed") and deployment.state == "active"
            )
            if fresh and name in self._windows:
                self._windows[name].forget()
            self._known[name] = (deployment.state, deployment.generation)
        for name in self._known.keys() - snapshot.deployments.keys():
            del self._known[name]
            self._windows.pop(name, None)

    def took_over(self, workers: Iterable[str]) -> None:
        """Another manager may have run them before: what they did there the ledger tells."""
        for worker in workers:
            self._began[worker] = self._clock.now()
            self._windows.pop(worker, None)
            self.breakers.forget(worker)
            self.normals.forget(worker)

    def run_ended(self, fact: RunEnded, snapshot: FleetSnapshot) -> bool:
        """A crash of what does not run any more, because it was paused meanwhile, asks for nothing."""
        deployment = snapshot.deployments.get(fact.worker)
        if not fact.crash or deployment is None or deployment.state not in ("active", "cooling_down"):
            self._verdicts.pop(fact.run, None)
            return False
        verdict = self._verdicts.get(fact.run)
        if verdict is None:  # else an earlier attempt to act on it failed, and it counts once
            verdict = self._verdicts[fact.run] = self._window(fact).crashed(fact.ended_at, fact.started_at)
        changed = self._act(verdict, fact, deployment)
        del self._verdicts[fact.run]
        return changed

    def _act(self, verdict: Verdict, fact: RunEnded, deployment: Deployment) -> bool:
        if verdict is Verdict.PARK:
            return self._park(deployment, fact)
        if verdict is Verdict.COOL_DOWN:
            return self._cool_down(deployment, fact)
        if deployment.state == "active":
            self._ledger.runs.restarted(fact.worker)
        return False

    def budget_hit(self, hit: BudgetHit, snapshot: FleetSnapshot) -> bool:
        deployment = snapshot.deployments.get(hit.worker)
        if deployment is None:
            return False
        if hit.kind == "near":
            for breach in hit.breaches:
                self._warn(breach)
            return False
        lasting = [breach for breach in hit.breaches if breach.limit.lasts]
        if deployment.state not in ("active", "cooling_down") or not lasting:
            return False
        if hit.kind == "broken" and all(self._overridden(deployment, breach) for breach in lasting):
            return False
        return self._pause(deployment, max(lasting, key=_lasting), hit.kind, hit.asked)

    def check_spent(self, snapshot: FleetSnapshot, limits_of: LimitsOf, mine: Callable[[Deployment], bool]) -> bool:
        """Pauses who spent in a window whose limit is broken, also by money that was imported or recorded, and warns of
        those that have reached a tier.
        """
        living = [one for one in snapshot.deployments.values() if one.state != "killed" and mine(one)]
        active = [one for one in living if one.state == "active"]
        by_limit = {limit: None for one in living for limit in limits_of(one) if limit.lasts}
        standing = self._ledger.budgets.standing(by_limit)
        for near in standing.near:
            self._warn(near)
        broken = {breach.limit: breach for breach in standing.breaches}
        if not broken:
            return False
        asked = {(f"worker:{one.name}", limit.per) for one in active for limit in limits_of(one) if limit in broken}
        used = self._ledger.budgets.usages(asked)
        changed = False
        for one in active:
            its = [broken[limit] for limit in limits_of(one) if limit in broken]
            breach = max((one for one in its), key=_lasting, default=None)
            if breach is None or self._overridden(one, breach):
                continue
            if used[f"worker:{one.name}", breach.limit.per].spent:
                changed = self._pause(one, breach, "broken") or changed
        return changed

    def let_go_on(self, snapshot: FleetSnapshot, limits_of: LimitsOf, mine: Callable[[Deployment], bool]) -> bool:
        """Resumes those that a budget in total had stopped, once it has room again: it was raised, or corrected."""
        held = [one for one in snapshot.deployments.values() if stopped_by_total(one) and mine(one)]
        if not held:
            return False
        totals = {one.name: totals_of(limits_of(one)) for one in held}
        left = self._ledger.budgets.left({limit: None for limits in totals.values() for limit in limits})
        changed = False
        for one in held:
            if lacking(one, {limit: left[limit] for limit in totals[one.name]}) is None:
                self._fleet.resume(one.name, self._clock.now(), override=False)
                self._record(one, "resume", "budget_room", "its budget in total has room again")
                changed = True
        return changed

    def timers(self, snapshot: FleetSnapshot, mine: Callable[[Deployment], bool]) -> bool:
        """Ends cooldowns that are over, and budget pauses whose window has turned."""
        now, changed = self._clock.now(), False
        for one in snapshot.deployments.values():
            if one.state_until is None or not mine(one):
                continue
            left = one.state_until - now
            set_back = one.state == "cooling_down" and left > self._crash_policy.cooldown  # the clock was
            if left > timedelta(0) and not set_back:
                continue
            if one.state == "cooling_down":
                self._fleet.activate(one.name)
                self.eager.add(one.name)
                self._record(one, "resume", "cooldown_over", "the cooldown after its crashes is over")
                changed = True
            elif one.state == "paused" and one.pause_reason == "budget":
                self._fleet.resume(one.name, now, override=False)
                self._record(one, "resume", "budget_window", "the window of its budget has turned")
                changed = True
        return changed

    def _window(self, fact: RunEnded) -> CrashWindow:
        """What was before this manager the ledger's runs tell; its own it is told, each once."""
        window = self._windows.get(fact.worker)
        if window is None:
            since = fact.started_at - CRASH_WINDOW - self._crash_policy.cooldown
            began = self._began.get(fact.worker, self._created)
            recent = self._ledger.runs.recent(fact.worker, 200)
            crashes = [
                (run.started_at, run.ended_at)
                for run in reversed(recent)
                if run.crash and run.ended_at is not None and since < run.ended_at and run.started_at < began
            ]
            window = self._windows[fact.worker] = replayed(self._crash_policy, crashes)
        return window

    def _park(self, one: Deployment, fact: RunEnded) -> bool:
        self._fleet.park(one.name)
        why = "it crashed again after its cooldown" if self._crash_policy.auto_restart else "it crashed"
        reason = f"{why}: {first_line(fact.error)}"
        self._record(one, "pause", "crash_parked", reason, {"error": fact.error})
        self._alert(
            "parked", f"{one.name} is parked", f"{reason}\nStart it again with `nova workers resume {one.name}`."
        )
        return True

    def park_hung(self, worker: str, why: str, snapshot: FleetSnapshot) -> bool:
        """Of a deployment whose runs hang, when the manager has just restarted itself because of such ones."""
        one = snapshot.deployments.get(worker)
        if one is None or one.state not in ("active", "cooling_down"):
            return False
        self._fleet.park(one.name)
        self._record(one, "pause", "hung_parked", why)
        advice = f"Mend what hangs, then start it again with `nova workers resume {one.name}`."
        self._alert("parked", f"{one.name} is parked: its runs hang", f"{why}\n{advice}")
        return True

    def _cool_down(self, one: Deployment, fact: RunEnded) -> bool:
        until = self._clock.now() + self._crash_policy.cooldown
        self._fleet.cool_down(one.name, until)
        reason = f"{self._crash_policy.max_crashes} crashes within ten minutes: {first_line(fact.error)}"
        self._record(one, "pause", "crash_cooldown", reason, {"until": iso(until), "error": fact.error})
        self._alert("cooling_down", f"{one.name} is cooling down", f"{reason}\nIt is tried again at {when(until)}.")
        return True

    def _pause(self, one: Deployment, breach: Breach, kind: str, asked: Money | None = None) -> bool:
        limit, until = breach.limit, breach.until
        needs = None if until else asked or Money.zero(self._fleet.currency)
        self._fleet.pause(one.name, "budget", until, needs=needs)
        reason = ("a spending was refused: " if kind == "refused" else "") + _told(breach)
        told = {"until": iso(until) if until else None, "limit": f"{limit.scope} {limit.per}"}
        self._record(one, "pause", "budget", reason, told)
        goes_on = (
            f"at {when(until)}" if until else f"when you raise it: nova budgets set {limit.scope} AMOUNT/{limit.per}"
        )
        self._alert("budget_refused", f"{one.name} is paused by its budget", f"{reason}\nIt goes on {goes_on}.")
        return True

    def _warn(self, breach: Breach) -> None:
        """Once for each tier of a window, whoever reaches it and however; a run's own budget is told of as it comes."""
        if not breach.limit.lasts or self._ledger.budgets.warned(breach):
            scope, tier = breach.limit.scope, breach.tier
            self._alert("budget_near", f"{scope} has used {tier}% of its budget", _told(breach))

    def _overridden(self, one: Deployment, breach: Breach) -> bool:
        """Whether a person resumed it in the very window that is broken: then only a refusal stops it again.

        Never of a total: it would be as good as none.
        """
        if one.evidence_since is None or breach.until is None:
            return False
        last, zone = breach.until - timedelta(microseconds=1), self._ledger.store.zone
        return window_of(breach.limit.per, one.evidence_since, zone) == window_of(breach.limit.per, last, zone)

    def _record(
        self, one: Deployment, kind: str, rule: str, reason: str, more: Mapping[str, object] | None = None
    ) -> None:
        """A fleet that was changed stays changed even if the ledger cannot be written."""
        replicas = one.replicas
        body = {"from_replicas": replicas, "to_replicas": replicas, "requires_approval": False, **(more or {})}
        try:
            decisions = self._ledger.decisions
            decisions.add(
                [
                    DecisionRecord(
                        id=decisions.free_ids(1)[0], at=self._clock.now(), worker=one.name, kind=kind, state="executed",
                        rule=rule, reason=reason, actor="manager", fingerprint=f"{kind}:{rule}", body=body,
                    )
                ]
            )  # fmt: skip
        except NovaError as problem:
            log.error(
                "enforcement_not_recorded", extra={"action": "enforcement_not_recorded", "error": problem.message}
            )
        log.warning(
            "enforced", extra={"action": "enforced", "worker": one.name, "kind": kind, "rule": rule, "reason": reason}
        )

    def _alert(self, event: str, title: str, body: str) -> None:
        if self._alerts is not None:
            self._alerts.send(event, title, body)


def _lasting(breach: Breach) -> tuple[bool, datetime | None]:
    """Sorts the longest lasting last."""
    return breach.until is None, breach.until


def _told(breach: Breach) -> str:
    limit = breach.limit
    span = {"run": "in one run", "day": "today", "month": "this month", TOTAL: "in total"}[limit.per]
    return f"{limit.scope} has {standing(breach)} {span}"
