"""What is not well, in words, and what to do about it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from nova.clock import format_duration, iso
from nova.fleet.documents import Deployment, FleetSnapshot
from nova.ledger.instances import Observation
from nova.ledger.limits import Limit
from nova.ledger.run_records import RunSums
from workers.lock import managers
from workers.parts import Parts
from workers.status import instances_of_living

SYNC_INTERVAL = timedelta(minutes=15)
_RECENT = timedelta(hours=1)
_SILENT = timedelta(seconds=30)  # a manager samples every two seconds
_LEAST_FREE = 500_000_000  # bytes
_NEAR = 80  # percent of a budget

Problem = dict[str, str | None]


def health_document(nova: Parts) -> dict[str, Any]:
    """As INTERFACE says of `workers health --json`."""
    problems = list(_problems(nova))
    return {"healthy": not problems, "problems": problems}


def near_budgets(nova: Parts, snapshot: FleetSnapshot) -> list[Problem]:
    """Those of which four fifths are used: not a problem yet, but worth a look."""
    limits = _lasting_limits(snapshot)
    used = nova.ledger.budgets.usages([(limit.scope, limit.per) for limit in limits])
    near = []
    for limit in limits:
        usage = used[limit.scope, limit.per]
        if limit.amount.micros and 100 * (usage.spent + usage.reserved).micros >= _NEAR * limit.amount.micros:
            said = f"{usage.spent} of {limit.amount} {limit.amount.currency} per {limit.per} are spent"
            near.append(_problem(limit.scope, said, "raise it with `nova budgets set`, or let it stop the spending"))
    return near


def _problems(nova: Parts) -> Iterator[Problem]:
    snapshot = nova.fleet.snapshot()
    living = {info.id for info, alive in managers(nova.settings.run_dir) if alive}
    active = [one for one in snapshot.deployments.values() if one.state == "active"]
    if active and not living:
        yield _problem(None, "no manager runs, so nothing does", "start it: nova workers start")
    seen = instances_of_living(nova, living)
    now = nova.clock.now()
    recent = nova.ledger.runs.sums(now - _RECENT, now)
    for one in snapshot.deployments.values():
        yield from _of_state(one)
        yield from _of_instances(nova, one, seen.get(one.name, []))
        yield from _of_runs(one, recent)
    yield from _of_money(nova, snapshot)
    yield from _of_disk(nova)


def _of_state(one: Deployment) -> Iterator[Problem]:
    if one.state == "parked":
        yield _problem(
            one.name,
            "parked after repeated crashes",
            f"see `nova workers logs {one.name}`, mend it, then `nova workers resume {one.name}`",
        )
    elif one.state == "cooling_down":
        until = f" until {iso(one.state_until)}" if one.state_until else ""
        yield _problem(one.name, f"cooling down{until} after repeated crashes", f"see `nova workers logs {one.name}`")
    elif one.state == "paused" and one.pause_reason == "budget":
        until = f" until {iso(one.state_until)}" if one.state_until else ""
        yield _problem(one.name, f"paused by its budget{until}", "raise the budget, or wait for the window to turn")
    elif one.state == "paused" and one.pause_reason in ("roi", "breaker"):
        yield _problem(
            one.name, f"paused: {one.pause_reason}", f"`nova autonomous history --worker {one.name}` says why"
        )


def _of_instances(nova: Parts, one: Deployment, seen: list[Observation]) -> Iterator[Problem]:
    now = nova.clock.now()
    hung = [each.instance for each in seen if each.state == "hung"]
    if hung:
        advice = "a thread cannot be killed: `nova workers restart`; run code you do not trust with the shell agent"
        yield _problem(
            one.name, f"hung past its timeout of {format_duration(one.timeout_s)}: {', '.join(hung)}", advice
        )
    silent = [
        each.instance
        for each in seen
        if each.state == "running"
        and now - (each.heartbeat_at or each.updated_at) > max(_SILENT, timedelta(seconds=one.timeout_s))
    ]
    if silent:
        yield _problem(one.name, f"no sign of life: {', '.join(silent)}", f"see `nova workers logs {one.name}`")


def _of_runs(one: Deployment, recent: Mapping[str, RunSums]) -> Iterator[Problem]:
    sums = recent.get(one.name)
    if one.state != "active" or sums is None:
        return
    judged = sums.succeeded + sums.failed
    if judged >= 4 and 2 * sums.failed > judged:
        said = f"{sums.failed} of its {judged} runs of the last hour failed"
        yield _problem(one.name, said, f"see `nova workers logs {one.name}`")


def _of_money(nova: Parts, snapshot: FleetSnapshot) -> Iterator[Problem]:
    now = nova.clock.now()
    for source, cursor in nova.ledger.cursors.all().items():
        if cursor.error is not None:
            yield _problem(None, f"the last sync of {source} failed: {cursor.error}", f"nova revenue sync {source}")
        elif cursor.succeeded_at is not None and now - cursor.succeeded_at > 2 * SYNC_INTERVAL:
            yield _problem(
                None, f"{source} was last synced at {iso(cursor.succeeded_at)}", f"nova revenue sync {source}"
            )
    for row in nova.ledger.reports.unconverted():
        advice = f"nova revenue rates set {row.amount.currency}=RATE"
        yield _problem(row.worker, f"{row.amount} {row.amount.currency} has no rate", advice)
    for breach in nova.ledger.budgets.broken(_lasting_limits(snapshot)):
        said = (
            f"{breach.spent} of {breach.limit.amount} {breach.limit.amount.currency} per {breach.limit.per} are spent"
        )
        yield _problem(
            breach.limit.scope, said, "nothing more is spent until the window turns, or the budget is raised"
        )


def _of_disk(nova: Parts) -> Iterator[Problem]:
    free = shutil.disk_usage(nova.settings.nova_home).free if nova.settings.nova_home.is_dir() else _LEAST_FREE
    if free < _LEAST_FREE:
        yield _problem(
            None,
            f"only {free / 1e6:.0f} MB are free for {nova.settings.nova_home}",
            "free some space: a full disk stops the ledger",
        )


def _lasting_limits(snapshot: FleetSnapshot) -> list[Limit]:
    own = [
        Limit(f"worker:{one.name}", budget.per, budget.limit)
        for one in snapshot.deployments.values()
        for budget in one.budget
        if budget.per != "run"
    ]
    return own + [Limit(budget.scope, budget.per, budget.limit) for budget in snapshot.budgets if budget.per != "run"]


def _problem(worker: str | None, problem: str, advice: str) -> Problem:
    return {"worker": worker, "problem": problem, "advice": advice}
