"""Opens breakers, lets one run probe, and closes them again: what `breaker` judges, carried out and recorded."""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from nova.clock import Clock, format_duration, iso
from nova.errors import NotFound, RevisionConflict
from nova.fleet.documents import Deployment, FleetSnapshot
from nova.fleet.terms import Breaker
from nova.fleet.transitions import probe_is_due
from nova.words import when
from workers.breaker import NO_PROGRESS, Done, Trip, is_off, judge, needed
from workers.hosts.base import InstanceId, Overspent, RunEnded

if TYPE_CHECKING:
    from nova.fleet.fleet import Fleet
    from nova.ledger.ledger import Ledger

log = logging.getLogger(__name__)

OPENED, PROBED, REOPENED, CLOSED = "breaker_opened", "breaker_probe", "breaker_reopened", "breaker_closed"
STEPS = (OPENED, PROBED, REOPENED, CLOSED)

Record = Callable[[Deployment, str, str, str, Mapping[str, Any]], None]
Alert = Callable[[str, str, str], None]


@dataclass(frozen=True, slots=True)
class Probe:
    """The one run that may show whether a deployment is well again. `key` is in the spec it runs under."""

    instance: InstanceId
    key: str


@dataclass(slots=True)
class _Window:
    """The last runs of one deployment since it began afresh; `whole`: also those that other managers ran."""

    of: Deployment
    since: datetime
    runs: deque[Done]
    whole: bool = False


class Breakers:
    """Each method reads the snapshot it is given and returns whether it changed the fleet.

    `probes` are those that this manager has let go. One that the fleet tells of and that is not there was another
    manager's, which has died: it is given up, and nothing runs twice.
    """

    def __init__(self, fleet: Fleet, ledger: Ledger, clock: Clock, record: Record, alert: Alert) -> None:
        self._fleet = fleet
        self._ledger = ledger
        self._clock = clock
        self._record = record
        self._alert = alert
        self._windows: dict[str, _Window] = {}
        self.probes: dict[str, Probe] = {}

    def watch(self, snapshot: FleetSnapshot) -> None:
        for name in self._windows.keys() - snapshot.deployments.keys():
            del self._windows[name]

    def forget(self, worker: str) -> None:
        """Its runs were another manager's meanwhile: the ledger tells of them."""
        self._windows.pop(worker, None)

    def run_ended(self, fact: RunEnded, snapshot: FleetSnapshot) -> bool:
        """May be told of the same again where it failed before."""
        one = snapshot.deployments.get(fact.worker)
        if one is None:
            return False
        if fact.probe is not None:
            return self._probed(one, fact)
        window = self._window(one)
        if fact.started_at < window.since <= fact.ended_at:
            return False  # it began before the fresh start
        if fact.status != "interrupted" and (not window.runs or window.runs[-1].run != fact.run):
            self._take(window, fact)
        if fact.status != "failed" or one.state not in ("active", "cooling_down"):
            return False
        trip = self._judged(one, window)
        return trip is not None and self._open(one, trip, 1, OPENED)

    def overspent(self, fact: Overspent, snapshot: FleetSnapshot) -> bool:
        one = snapshot.deployments.get(fact.worker)
        if one is None:
            return False
        if one.breaker is None:
            return self._open(one, fact.trip, 1, OPENED)
        if not self._is_under_way(one, fact.probe):
            return False
        return self._open(one, fact.trip, one.breaker.trips + 1, REOPENED)

    def turn(self, snapshot: FleetSnapshot, mine: Callable[[Deployment], bool], there: Container[InstanceId]) -> bool:
        """Lets the probes go that are due; `there` are the instances that have not ended yet."""
        self._drop_probes(snapshot)
        changed, now = False, self._clock.now()
        for one in snapshot.deployments.values():
            if one.breaker is None or not mine(one):
                continue
            try:
                if is_off(one.breaker.rule, one.health):
                    changed = self._turned_off(one) or changed
                elif one.breaker.probing and one.name not in self.probes:
                    changed = self._cut_short(one) or changed
                elif probe_is_due(one, now):
                    changed = self._probe(one, there) or changed
            except (RevisionConflict, NotFound):
                continue  # somebody changed it meanwhile: the next turn sees what it is now
        return changed

    def _take(self, window: _Window, fact: RunEnded) -> None:
        window.runs.append(
            Done(fact.run, fact.instance, fact.started_at, fact.status, fact.cost, fact.progressed, fact.error)
        )

    def _window(self, one: Deployment) -> _Window:
        window = self._windows.get(one.name)
        if window is not None and window.of is one:
            return window
        since = fresh_since(one)
        runs = window.runs if window is not None and window.since == since else ()
        whole = window is not None and window.since == since and window.whole
        window = self._windows[one.name] = _Window(one, since, deque(runs, maxlen=_length(one)), whole)
        return window

    def _judged(self, one: Deployment, window: _Window) -> Trip | None:
        """What would open it is looked at once more, with all that the ledger knows: runs of other managers, and sales
        that no run told of.
        """
        if not window.whole:
            self._complete(one, window)
        if judge(window.runs, one.health, one.replicas) is None:
            return None
        self._complete(one, window)
        got_on = self._ledger.conduct.got_on_at(one.name)
        if got_on is not None:
            now = self._clock.now()
            runs = [replace(run, progressed=True) if run.started_at <= got_on <= now else run for run in window.runs]
            window.runs.clear()
            window.runs.extend(runs)
        return judge(window.runs, one.health, one.replicas)

    def _complete(self, one: Deployment, window: _Window) -> None:
        known = {run.id: run for run in self._ledger.conduct.last_runs(one.name, window.since, _length(one))}
        told = {run.run: run for run in window.runs}
        others = [
            Done(run.id, run.instance, run.started_at, run.status, run.cost, error=run.error)
            for run in known.values()
            if run.id not in told
        ]
        merged = sorted((*others, *told.values()), key=lambda run: run.started_at)
        window.runs.clear()
        window.runs.extend(merged)
        window.whole = True

    def _open(self, one: Deployment, trip: Trip, trips: int, step: str) -> bool:
        wait = one.health.wait(trips)
        wait = None if wait is None else max(wait, timedelta(seconds=trip.rest_s))
        until = None if wait is None else self._clock.now() + wait
        breaker = Breaker(trip.rule, trips)
        after = self._fleet.trip(one.name, breaker, until, expected_revision=one.revision)
        if after.breaker != breaker:
            return False
        self.probes.pop(one.name, None)
        self._windows.pop(one.name, None)
        body = {"breaker": trip.rule, "trips": trips, "until": iso(until) if until else None, "evidence": trip.evidence}
        reason = trip.reason if step == REOPENED else f"{trip.rule.replace('_', ' ')}: {trip.reason}"
        self._record(one, "pause", step, reason, body)
        title = "opened again" if step == REOPENED else "opened"
        self._alert(
            step, f"the breaker of {one.name} {title}", f"{trip.reason}\n{self._what_follows(one, wait, until)}"
        )
        return True

    def _what_follows(self, one: Deployment, wait: timedelta | None, until: datetime | None) -> str:
        resume = f"`nova workers resume {one.name}`"
        if wait is None or until is None:
            return f"It stays so until a person lets it run again: {resume}."
        in_words = format_duration(wait.total_seconds())
        return f"One run probes at {when(until)} (in {in_words}). To let it run before: {resume}."

    def _again(self, one: Deployment, reason: str, trips: int, rule: str) -> bool:
        evidence = {"probe": self.probes[one.name].instance if one.name in self.probes else None}
        return self._open(one, Trip(rule, reason, evidence), trips, REOPENED)

    def _cut_short(self, one: Deployment) -> bool:
        """Nobody knows what became of that run: it is no answer, and so no further trip."""
        assert one.breaker is not None
        return self._again(one, "its manager ended before its probe did", one.breaker.trips, one.breaker.rule)

    def _turned_off(self, one: Deployment) -> bool:
        """Who turns off the rule that opened it wants it to run."""
        self._fleet.resume(one.name, expected_revision=one.revision)
        self.probes.pop(one.name, None)
        reason = f"{one.breaker.rule.replace('_', ' ')} was turned off" if one.breaker is not None else ""
        self._record(one, "resume", CLOSED, reason, {"from_replicas": 0, "to_replicas": one.replicas})
        self._alert(CLOSED, f"the breaker of {one.name} closed", f"Its rule {reason}, and it runs again.")
        return True

    def _probe(self, one: Deployment, there: Container[InstanceId]) -> bool:
        """In the first instance that is free: a run that is still on, or a thread that hangs, holds its own."""
        instances = (f"{one.name}#{index}" for index in range(1, one.replicas + 1))
        free = next((instance for instance in instances if instance not in there), None)
        if free is None or not self._fleet.probe(one.name):
            return False
        self.probes[one.name] = Probe(free, secrets.token_hex(8))
        body = {"from_replicas": 0, "to_replicas": 1, "instance": free}
        self._record(one, "resume", PROBED, f"one run of {free} may show whether it is well again", body)
        return True

    def _probed(self, one: Deployment, fact: RunEnded) -> bool:
        breaker = one.breaker
        if breaker is None or not self._is_under_way(one, fact.probe):
            return False
        if fact.status == "interrupted":
            return self._again(one, f"its probe was interrupted: {fact.error}", breaker.trips, breaker.rule)
        well = fact.status == "succeeded" or (breaker.rule == NO_PROGRESS and fact.progressed)
        if not well:
            return self._again(one, f"its probe failed: {first_line(fact.error)}", breaker.trips + 1, breaker.rule)
        after = self._fleet.recover(one.name, expected_revision=one.revision)
        del self.probes[one.name]
        if after.state == "active":
            body = {"from_replicas": 1, "to_replicas": one.replicas, "breaker": breaker.rule, "run": fact.run}
            self._record(one, "resume", CLOSED, f"its probe went well after {_times(breaker.trips)}", body)
            self._alert(CLOSED, f"the breaker of {one.name} closed", "Its probe went well, and it runs again.")
        return True

    def _is_under_way(self, one: Deployment, probe: str | None) -> bool:
        known = self.probes.get(one.name)
        return one.breaker is not None and one.breaker.probing and known is not None and known.key == probe

    def _drop_probes(self, snapshot: FleetSnapshot) -> None:
        """A person has decided otherwise since they began."""
        for name in list(self.probes):
            one = snapshot.deployments.get(name)
            if one is None or one.breaker is None or not one.breaker.probing:
                del self.probes[name]


def fresh_since(one: Deployment) -> datetime:
    """No run before counts against it: it was changed, its breaker closed, or a person let it run again."""
    return max(at for at in (one.created_at, one.changed_at, one.cleared_at, one.evidence_since) if at is not None)


def _length(one: Deployment) -> int:
    return max(1, *(needed(runs, one.replicas) for runs in (one.health.progress_runs, one.health.error_runs)))


def first_line(error: str | None) -> str:
    lines = (error or "").strip().splitlines()
    return lines[0][:300] if lines else "no reason told"


def _times(trips: int) -> str:
    return "it had opened once" if trips == 1 else f"it had opened {trips} times in a row"
