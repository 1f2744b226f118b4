"""What an operator looks at: `status --json`, from what is declared, recorded and seen, in a handful of statements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from nova.clock import iso, parse_time
from nova.fleet.documents import Deployment
from nova.ledger.budgets import Usage
from nova.ledger.instances import ManagerRecord, Observation
from nova.ledger.reports import Totals
from nova.ledger.run_records import RunTotals
from nova.money import Money, roi_percent
from workers.lock import ManagerInfo, managers
from workers.parts import Parts
from workers.schedule import next_run

NextRun = Callable[[str], datetime | None]

_DOWN: dict[str, Any] = {"running": False, "pid": None, "started_at": None, "uptime_s": None, "department": None}


@dataclass(frozen=True, slots=True)
class Figures:
    """What was earned and spent. Without a cost there is no ROI: unknown is not zero."""

    revenue: Money
    cost: Money

    @property
    def profit(self) -> Money:
        return self.revenue - self.cost

    def to_json(self) -> dict[str, Any]:
        return {
            "revenue": str(self.revenue),
            "cost": str(self.cost),
            "profit": str(self.profit),
            "roi_percent": roi_percent(self.revenue, self.cost),
        }


def status_document(nova: Parts) -> dict[str, Any]:
    """As INTERFACE says of `workers status --json`, every deployment a row."""
    now = nova.clock.now()
    snapshot = nova.fleet.snapshot()
    living = [info for info, alive in managers(nova.settings.run_dir) if alive]
    told = _managers(nova, living, now)
    seen = instances_of_living(nova, {info.id for info in living})
    totals = nova.ledger.reports.totals()
    runs = nova.ledger.runs.totals()
    usage = nova.ledger.budgets.usages(_budget_keys(snapshot.deployments.values()), now)
    starts = nova.ledger.runs.last_starts()
    rows = [
        _row(
            one,
            totals.get(one.name),
            runs.get(one.name),
            seen.get(one.name, []),
            usage,
            snapshot.currency,
            managed=any(info.department in ("", one.department) for info in living),
            next_run=partial(_next_run, one, starts, nova.settings.tz, now),
            finished=_is_finished(nova, one, seen.get(one.name, [])),
        )
        for one in snapshot.deployments.values()
    ]
    document: dict[str, Any] = {
        "at": iso(now),
        "currency": snapshot.currency,
        "manager": told[0] if told else dict(_DOWN),
        "totals": _totals(list(snapshot.deployments.values()), rows, totals, snapshot.currency),
        "workers": rows,
    }
    if len(told) > 1:
        document["managers"] = told
    return document


def _managers(nova: Parts, living: Sequence[ManagerInfo], now: datetime) -> list[dict[str, Any]]:
    records = {record.id: record for record in nova.ledger.instances.managers.all()} if living else {}
    held = nova.ledger.leases.counts() if living else {}
    return [_manager_json(info, records.get(info.id), held.get(info.id, 0), now) for info in living]


def _manager_json(info: ManagerInfo, record: ManagerRecord | None, leases: int, now: datetime) -> dict[str, Any]:
    """What it uses itself includes the threads of its workers, but not their commands. `leases`: the deployments it may
    run; `fenced`: another manager took them over while it stood still.
    """
    uptime = max(0.0, (now - parse_time(info.started_at)).total_seconds())
    memory = record.memory_bytes if record else None
    return {
        "running": True,
        "pid": info.pid,
        "started_at": info.started_at,
        "uptime_s": round(uptime, 1),
        "department": info.department or "all",
        "last_heartbeat": iso(record.heartbeat_at) if record else None,
        "cpu_percent": record.cpu_percent if record else None,
        "memory_mb": None if memory is None else round(memory / 1e6, 1),
        "threads": record.threads if record else None,
        "leases": leases,
        "fenced": record is not None and record.fenced_by is not None,
    }


def instances_of_living(nova: Parts, living: set[str]) -> dict[str, list[Observation]]:
    """By worker: what managers that are still there last saw. What a dead one saw is no longer so."""
    seen: dict[str, list[Observation]] = defaultdict(list)
    if living:
        for one in nova.ledger.instances.all():
            if one.manager in living:
                seen[one.worker].append(one)
    return seen


def figures(totals: Totals | None, currency: str) -> Figures:
    zero = Money.zero(currency)
    return Figures(totals.revenue, totals.cost) if totals is not None else Figures(zero, zero)


def _budget_keys(deployments: Any) -> list[tuple[str, str]]:
    return [(f"worker:{one.name}", limit.per) for one in deployments for limit in one.budget if limit.per != "run"]


def _row(
    one: Deployment,
    totals: Totals | None,
    runs: RunTotals | None,
    seen: Sequence[Observation],
    usage: Mapping[tuple[str, str], Usage],
    currency: str,
    *,
    managed: bool,
    next_run: NextRun,
    finished: bool,
) -> dict[str, Any]:
    ended = runs.succeeded + runs.failed + runs.interrupted if runs else 0
    judged = runs.succeeded + runs.failed if runs else 0
    instances = _instances(one, seen, next_run, managed=managed)
    seen = [each for each in seen if each.state != "stopped"]  # of a single run that was made
    return {
        "name": one.name,
        "department": one.department,
        "agent": one.agent,
        "runtime": one.runtime,
        "state": one.state,
        "pause_reason": one.pause_reason,
        "state_until": iso(one.state_until) if one.state_until else None,
        "replicas": one.replicas,
        "running": len(seen),
        "runs": ended,
        "succeeded": runs.succeeded if runs else 0,
        "failed": runs.failed if runs else 0,
        "interrupted": runs.interrupted if runs else 0,
        "crashes": runs.crashed if runs else 0,
        "restarts": runs.restarts if runs else 0,
        "success_rate": round(100 * runs.succeeded / judged, 2) if runs and judged else None,
        **figures(totals, currency).to_json(),
        "unconverted": totals.unconverted if totals else 0,
        "budget": [_budget_json(one.name, limit.per, limit.limit, usage) for limit in one.budget],
        "cpu_percent": _sum([each.cpu_percent for each in seen], 1),
        "memory_mb": _sum([None if each.memory_bytes is None else each.memory_bytes / 1e6 for each in seen], 1),
        "threads": _count([each.threads for each in seen]),
        "last_heartbeat": _latest([each.heartbeat_at for each in seen]),
        "last_error": runs.last_error if runs else None,
        "next_run_at": min((one["next_run_at"] for one in instances if one["next_run_at"]), default=None),
        "finished": finished,
        "instances": instances,
    }


def _is_finished(nova: Parts, one: Deployment, seen: Sequence[Observation]) -> bool:
    """Whether every replica has made its single run."""
    if not one.schedule.once:
        return False
    states = {each.instance: each.state for each in seen}
    since = one.scheduled_at or one.created_at
    return all(
        states[instance] == "stopped" if instance in states else nova.ledger.runs.is_over(instance, since)
        for instance in (f"{one.name}#{index}" for index in range(1, one.replicas + 1))
    )


def _budget_json(name: str, per: str, limit: Money, usage: Mapping[tuple[str, str], Usage]) -> dict[str, Any]:
    used = usage.get((f"worker:{name}", per))
    return {
        "per": per,
        "limit": str(limit),
        "spent": str(used.spent) if used else None,
        "reserved": str(used.reserved) if used else None,
    }


def _next_run(
    one: Deployment, starts: Mapping[str, datetime], zone: ZoneInfo, now: datetime, instance: str
) -> datetime | None:
    since = one.scheduled_at or one.created_at
    return next_run(one.schedule, one.every_s, zone, instance, starts.get(instance), since, now)


def _instances(
    one: Deployment, seen: Sequence[Observation], next_run: NextRun, *, managed: bool
) -> list[dict[str, Any]]:
    """Those that are seen, and those that are declared and are not: about to start where somebody will start them."""
    found = {_number(each): _instance_json(each, next_run) for each in seen}
    state = "starting" if managed and one.state == "active" else "stopped"
    for index in range(1, one.replicas + 1) if one.state != "killed" else ():
        missing = {
            "id": f"{one.name}#{index}",
            "state": state,
            "run_started_at": None,
            "last_heartbeat": None,
            "next_run_at": None,
        }
        found.setdefault(index, missing)
    return [found[index] for index in sorted(found)]


def _instance_json(seen: Observation, next_run: NextRun) -> dict[str, Any]:
    """When it is due next is told of one that waits; one that backs off is tried again sooner than its schedule."""
    due = next_run(seen.instance) if seen.state == "waiting" else None
    return {
        "id": seen.instance,
        "state": seen.state,
        "run_started_at": iso(seen.run_started_at) if seen.run_started_at else None,
        "last_heartbeat": iso(seen.heartbeat_at) if seen.heartbeat_at else None,
        "next_run_at": iso(due) if due else None,
    }


def _number(seen: Observation) -> int:
    return int(seen.instance.rpartition("#")[2])


def _sum(values: Sequence[float | None], places: int) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known), places) if known else None


def _count(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _latest(instants: Sequence[datetime | None]) -> str | None:
    known = [at for at in instants if at is not None]
    return iso(max(known)) if known else None


def _totals(
    deployments: Sequence[Deployment],
    rows: Sequence[Mapping[str, Any]],
    totals: Mapping[str | None, Totals],
    currency: str,
) -> dict[str, Any]:
    """Of the deployments listed; what retired and undeployed workers earned is in `revenue report`."""
    listed = [figures(totals.get(one.name), currency) for one in deployments]
    whole = Figures(
        Money.total((each.revenue for each in listed), currency), Money.total((each.cost for each in listed), currency)
    )
    states = [one.state for one in deployments]
    return {
        "deployments": len(deployments),
        "instances": sum(one.replicas for one in deployments if one.state != "killed"),
        "running": sum(row["running"] for row in rows),
        "paused": states.count("paused"),
        "parked": states.count("parked"),
        **whole.to_json(),
    }
