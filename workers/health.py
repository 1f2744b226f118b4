"""What is not well, in words, and what to do about it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from nova.clock import format_duration
from nova.fleet.documents import Deployment, FleetSnapshot
from nova.ledger.instances import Observation
from nova.ledger.limits import Limit
from nova.ledger.run_records import RunSums
from nova.money import Money
from nova.words import exact_money, money, when
from workers.breaker import SPEND_VELOCITY
from workers.breakers import OPENED, REOPENED
from workers.hosts.environment import NO_VALUE
from workers.lock import ManagerInfo, managers
from workers.parts import Parts
from workers.status import instances_of_living

SYNC_INTERVAL = timedelta(minutes=15)
_SYNCED = ("stripe", "gumroad")  # by the manager, without being asked
_RECENT = timedelta(hours=1)
_ACTS = 200  # of a manager, which open and probe in turn
_MOMENT = timedelta(seconds=10)
_SILENT = timedelta(seconds=30)  # a manager samples every two seconds
_LEAST_FREE = 500_000_000  # bytes

Problem = dict[str, str | None]


def health_document(nova: Parts) -> dict[str, Any]:
    """As INTERFACE says of `workers health --json`."""
    problems = list(_problems(nova))
    return {"healthy": not problems, "problems": problems}


def _problems(nova: Parts) -> Iterator[Problem]:
    snapshot = nova.fleet.snapshot()
    living = [info for info, alive in managers(nova.settings.run_dir) if alive]
    now = nova.clock.now()
    yield from _of_managers(nova, snapshot, living, now)
    seen = instances_of_living(nova, {info.id for info in living})
    recent = nova.ledger.runs.sums(now - _RECENT, now + timedelta(microseconds=1))
    given_up, doubtful = nova.ledger.outbox.given_up(), nova.ledger.outbox.doubtful()
    for one in snapshot.deployments.values():
        yield from _of_state(one)
        yield from _of_breaker(nova, one, seen.get(one.name, []), now)
        yield from _of_effects(one.name, given_up.get(one.name, 0), doubtful.get(one.name, 0))
        yield from _of_instances(one, seen.get(one.name, []), now)
        yield from _of_secrets(nova, one)
        yield from _of_runs(one, recent)
    yield from _of_leases(nova, snapshot, living, now)
    yield from _of_sync(nova, now)
    yield from _of_money(nova, snapshot)
    yield from _of_disk(nova)


def _of_managers(nova: Parts, snapshot: FleetSnapshot, living: list[ManagerInfo], now: datetime) -> Iterator[Problem]:
    active = [one for one in snapshot.deployments.values() if one.state == "active"]
    if active and not living:
        yield _problem(None, "no manager runs, so nothing does", "start it: nova workers start")
        return
    for one in active:
        if not any(info.department in ("", one.department) for info in living):
            advice = f"start one: nova workers start --department {one.department}"
            yield _problem(one.name, f"no manager runs the department {one.department}", advice)
    records = {record.id: record for record in nova.ledger.instances.managers.all()} if living else {}
    for info in living:
        record = records.get(info.id)
        if record is not None and record.fenced_by is not None:
            said = f"the manager with process id {info.pid} stands still; another one has taken over what it ran"
            advice = f"let it go on (kill -CONT {info.pid}): it starts itself again; or end it (kill -KILL {info.pid})"
            yield _problem(None, said, advice)
        elif record is not None and now - record.heartbeat_at > _SILENT:
            said = f"the manager with process id {info.pid} has given no sign of life since {when(record.heartbeat_at)}"
            yield _problem(None, said, "see NOVA_HOME/logs/manager.log, then `nova workers restart`")


def _of_effects(name: str, given_up: int, doubtful: int) -> Iterator[Problem]:
    if given_up:
        told = "one effect was" if given_up == 1 else f"{given_up:,} effects were"
        advice = f"see `nova workers outbox {name}`, mend it, then let it be tried again with --retry KEY"
        yield _problem(name, f"{told} given up after ten attempts", advice)
    if doubtful:
        told = "of one effect" if doubtful == 1 else f"of {doubtful:,} effects"
        advice = f"see `nova workers outbox {name}`, look at the platform, then say --done KEY or --retry KEY"
        yield _problem(name, f"nobody knows {told} on a platform whether it was done", advice)


def _of_state(one: Deployment) -> Iterator[Problem]:
    if one.state == "parked":
        yield _problem(
            one.name,
            "parked after repeated crashes",
            f"see `nova workers logs {one.name}`, mend it, then `nova workers resume {one.name}`",
        )
    elif one.state == "cooling_down":
        until = f" until {when(one.state_until)}" if one.state_until else ""
        yield _problem(one.name, f"cooling down{until} after repeated crashes", f"see `nova workers logs {one.name}`")
    elif one.state == "paused" and one.pause_reason == "budget":
        if one.state_until is None:
            advice = (
                "raise it with `nova budgets set`, and it goes on by itself: `nova budgets list` shows what is used"
            )
            yield _problem(one.name, "paused: its budget in total is used up", advice)
            return
        until = when(one.state_until)
        advice = f"wait for the window to turn, or raise the budget and `nova workers resume {one.name}`"
        yield _problem(one.name, f"paused by its budget until {until}", advice)


def _of_breaker(nova: Parts, one: Deployment, seen: list[Observation], now: datetime) -> Iterator[Problem]:
    """Why it is open, since when, and what follows."""
    breaker = one.breaker
    if breaker is None:
        return
    acts = nova.ledger.decisions.history(one.name, since=one.state_since - _MOMENT, limit=_ACTS)
    why = next((act.reason for act in acts if act.rule == OPENED), breaker.rule.replace("_", " "))
    after = next((f"; {act.reason}" for act in acts if act.rule == REOPENED), "")
    since, follows = when(one.state_since), _next_probe(one, seen, now)
    said = f"its breaker has been open since {since}: {why}{after}; {follows}"
    advice = f"see `nova workers logs {one.name}`; to let it run at once: `nova workers resume {one.name}`"
    if breaker.rule == SPEND_VELOCITY:
        advice += f"; where it may cost so much, deploy it again with --health velocity={_roomier(one.health.velocity)}"
    yield _problem(one.name, said, advice)


def _roomier(velocity: float) -> str:
    return f"{max(10.0, 3 * velocity):g}"


def _next_probe(one: Deployment, seen: list[Observation], now: datetime) -> str:
    if one.breaker is not None and one.breaker.probing:
        under_way = any(each.run_started_at is not None for each in seen)
        return "one run probes now" if under_way else "one run probes when it is next due"
    if one.state_until is None:
        return "it waits for a person"
    if one.state_until > now:
        left = max(1, round((one.state_until - now).total_seconds()))
        in_words = format_duration(left if left < 120 else -(-left // 60) * 60)
        return f"one run probes at {when(one.state_until)} (in {in_words})"
    held = ", ".join(each.instance for each in seen)
    return f"its probe is due, and waits for what still runs: {held}" if held else "its probe is due"


def _of_secrets(nova: Parts, one: Deployment) -> Iterator[Problem]:
    """As its last run found them: what the manager's environment holds is not for others to see."""
    last = nova.ledger.runs.recent(one.name, 1) if one.secrets and one.state != "killed" else []
    if last and last[0].status == "failed" and (last[0].error or "").startswith(NO_VALUE):
        said = str(last[0].error).partition(", which")[0]
        yield _problem(one.name, said, "set it in NOVA_HOME/.env or the manager's environment: `nova workers restart`")


def _of_leases(nova: Parts, snapshot: FleetSnapshot, living: list[ManagerInfo], now: datetime) -> Iterator[Problem]:
    """Held by a manager that gives no sign of life, although another one could take them over."""
    if not living:
        return
    records = nova.ledger.instances.managers.all()
    alive = {info.id for info in living}
    alive |= {one.id for one in records if one.stopped_at is None and now - one.heartbeat_at <= _SILENT}
    for worker, lease in nova.ledger.leases.all().items():
        one = snapshot.deployments.get(worker)
        if one is not None and one.state == "active" and lease.manager is not None and lease.manager not in alive:
            said = f"it is still leased to the manager {lease.manager}, which gives no sign of life"
            yield _problem(worker, said, "another manager takes it over within seconds, else `nova workers restart`")


def _of_instances(one: Deployment, seen: list[Observation], now: datetime) -> Iterator[Problem]:
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


def _of_sync(nova: Parts, now: datetime) -> Iterator[Problem]:
    """Of the platforms that have a key: without it none is expected to answer."""
    cursors = nova.ledger.cursors.all()
    for source, key in (("stripe", nova.settings.stripe_api_key), ("gumroad", nova.settings.gumroad_access_token)):
        cursor = cursors.get(source)
        if key is None or (cursor is None and source not in _SYNCED):
            continue
        advice = f"nova revenue sync {source}"
        if cursor is None or cursor.succeeded_at is None:
            why = f": {cursor.error}" if cursor is not None and cursor.error else ""
            yield _problem(None, f"{source} was never synced{why}", advice)
        elif cursor.error is not None:
            yield _problem(None, f"the last sync of {source} failed: {cursor.error}", advice)
        elif now - cursor.succeeded_at > 2 * SYNC_INTERVAL:
            yield _problem(None, f"{source} was last synced at {when(cursor.succeeded_at)}", advice)


def _of_money(nova: Parts, snapshot: FleetSnapshot) -> Iterator[Problem]:
    for row in nova.ledger.reports.unconverted():
        advice = f"nova revenue rates set {row.amount.currency}=RATE"
        yield _problem(row.worker, f"{money(row.amount)} has no rate", advice)
    stopped = {f"worker:{name}" for name, one in snapshot.deployments.items() if one.state != "active"}
    limits = [limit for limit in _lasting_limits(nova, snapshot) if limit.scope not in stopped]
    for breach in nova.ledger.budgets.broken(limits):
        limit = breach.limit
        per = "in total" if breach.until is None else f"per {limit.per}"
        said = f"{limit.scope} has spent {exact_money(breach.spent)} of {exact_money(limit.amount)} {per}"
        advice = "raise it with `nova budgets set`"
        if breach.until is not None:
            advice = f"it waits until {when(breach.until)}, or {advice}"
        yield _problem(_worker_of(limit), said, advice)


def _of_disk(nova: Parts) -> Iterator[Problem]:
    free = shutil.disk_usage(nova.settings.nova_home).free if nova.settings.nova_home.is_dir() else _LEAST_FREE
    if free < _LEAST_FREE:
        yield _problem(
            None,
            f"only {free / 1e6:.0f} MB are free for {nova.settings.nova_home}",
            "free some space: a full disk stops the ledger",
        )


def _lasting_limits(nova: Parts, snapshot: FleetSnapshot) -> list[Limit]:
    default = Money.of(nova.settings.max_daily_budget, snapshot.currency)
    everything = snapshot.all_budgets(default)
    return [Limit(budget.scope, budget.per, budget.limit) for budget in everything if budget.per != "run"]


def _worker_of(limit: Limit) -> str | None:
    kind, _, name = limit.scope.partition(":")
    return name if kind == "worker" else None


def _problem(worker: str | None, problem: str, advice: str) -> Problem:
    return {"worker": worker, "problem": problem, "advice": advice}
