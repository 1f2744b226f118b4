"""What was decided and why: history, the explanation of one decision, and where the engine stands."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from nova.autonomous.decision import Kind
from nova.autonomous.office import OFF_THE_CLOCK, Office, is_enabled, look, policy_of
from nova.autonomous.records import shown
from nova.clock import format_duration, iso, parse_time
from nova.errors import UsageProblem
from nova.ledger.decisions import DecisionRecord
from nova.money import Money
from nova.words import count, money, threshold, when

_AMOUNTS = frozenset(
    (
        *("daily_cost_impact", "approve_up_to", "first_asked", "cost", "revenue", "largest_sale", "amount"),
        *("spend_per_replica_day", "budget_left", "require_approval_above", "spent", "normal", "limit"),
    )
)
_INSTANTS = frozenset({"start", "end", "at", "since", "until", "decided_at"})
_WHOSE = {"own": "its own", "department": "its department's", "fleet": "the fleet's"}


def status(nova: Office) -> dict[str, Any]:
    snapshot = nova.fleet.snapshot()
    policy, now = policy_of(nova, snapshot), nova.clock.now()
    last = next(iter(nova.ledger.decisions.cycles(1, until=now + OFF_THE_CLOCK)), None)
    waiting = nova.ledger.decisions.by_state("pending")
    return {
        "enabled": is_enabled(nova, snapshot),
        "policy_version": policy.version,
        "currency": policy.currency,
        "policy": policy.to_json(),
        "budget": look(nova, snapshot, policy, now).budget.to_json(),
        "pending": sum(one.expires_at is None or one.expires_at > now for one in waiting),
        "last_cycle": None
        if last is None
        else {
            "cycle": last.id,
            "at": iso(last.at),
            "evaluated": last.evaluated,
            "decisions": last.body.get("decisions", 0),
            "dry_run": last.dry_run,
        },
    }


def history(
    nova: Office, worker: str | None = None, since: datetime | None = None, limit: int | None = None
) -> dict[str, Any]:
    """Decisions and enforcement, newest first. Raises NotFound for a worker that is neither deployed nor in it."""
    decisions = nova.ledger.decisions
    found = decisions.history(worker, since, limit=limit)
    if worker is not None and not found and not decisions.history(worker, holds=True, limit=1):
        nova.fleet.get(worker)
    return {"decisions": [shown(one) for one in found]}


def explained(nova: Office, id: str) -> dict[str, Any]:
    """A decision with the evidence it was made on, the policy and its version. Raises NotFound."""
    record = nova.ledger.decisions.get(id)
    names = ("policy_version", "policy", "evidence", "hash")
    return {**shown(record), "cycle": record.cycle, **{name: record.body.get(name) for name in names}}


def explain(nova: Office, id: str) -> str:
    """The same in words."""
    return words(nova.ledger.decisions.get(id), nova.fleet.snapshot().currency)


def words(record: DecisionRecord, currency: str) -> str:
    body = _in_words(record.body, currency)
    lines = [
        f"{record.id}: {record.kind} of {record.worker}, {record.state}",
        "",
        f"when      {when(record.at)}, by {record.actor}" + (f" in cycle {record.cycle}" if record.cycle else ""),
        f"rule      {record.rule}",
        f"because   {record.reason}",
    ]
    if body.get("from_replicas") != body.get("to_replicas"):
        lines.append(f"replicas  {body['from_replicas']} to {body['to_replicas']}")
    if record.kind == Kind.BUDGET:
        limit = record.body["change"]["value"]
        lines.append(f"budget    {limit['from']} to {limit['to']} ({record.body['change']['key'].partition('/')[2]})")
    if body.get("daily_cost_impact") is not None:
        lines.append(f"cost      {body['daily_cost_impact']} a day, risk {body.get('risk')}")
    lines += _approval(record, body)
    if body.get("evidence"):
        lines += ["", *(_evidence if "window" in body["evidence"] else _figures)(body["evidence"])]
    if body.get("policy"):
        lines += ["", *_policy(body["policy"], body.get("policy_version"))]
    return "\n".join(lines) + "\n"


def _in_words(figures: Mapping[str, Any], currency: str) -> dict[str, Any]:
    """What is kept exactly, as people read it. What is no amount or instant stays as it is."""
    return {name: _in_word(name, value, currency) for name, value in figures.items()}


def _in_word(name: str, value: Any, currency: str) -> Any:
    if isinstance(value, Mapping):
        return _in_words(value, currency)
    try:
        if isinstance(value, str) and name in _AMOUNTS:
            return money(Money.parse(value, currency))
        return when(parse_time(value)) if isinstance(value, str) and name in _INSTANTS else value
    except UsageProblem:  # as a budget's limit, which names its scope
        return value


def _approval(record: DecisionRecord, body: Mapping[str, Any]) -> list[str]:
    lines = []
    if body.get("approve_up_to"):
        until = f" until {when(record.expires_at)}" if record.expires_at else ""
        lines.append(f"approval  needed, for at most {body['approve_up_to']} a day{until}")
    if body.get("first_asked") not in (None, body.get("daily_cost_impact")):
        lines.append(f"at first  it was asked for {body['first_asked']} a day")
    if body.get("decided_by"):
        note = f": {body['note']}" if body.get("note") else ""
        lines.append(f"decided   by {body['decided_by']} at {body.get('decided_at')}{note}")
    if body.get("outcome"):
        lines.append(f"outcome   {body['outcome']}")
    return lines


def _evidence(seen: dict[str, Any]) -> list[str]:
    window = seen["window"]
    lines = [
        f"It saw, from {window['start']} until {window['end']}:",
        (
            f"  runs      {window['runs']} ({window['succeeded']} succeeded, {window['failed']} failed, "
            f"{window['interrupted']} interrupted)"
        ),
        f"  cost      {window['cost']} ({seen['spend_per_replica_day']} a replica and day)",
        (
            f"  revenue   {window['revenue']} net, from {count(window['sales'], 'sale')} and "
            f"{count(window['returns'], 'return')}; the largest sale {window['largest_sale']}"
        ),
    ]
    if seen["sale_size"]:
        size = seen["sale_size"]
        lines.append(f"  one sale  {size['amount']}, known from {_WHOSE[size['known_from']]} sales")
    if seen["last_step"]:
        step = seen["last_step"]
        lines.append(f"  last step {step['from_replicas']} to {step['to_replicas']} replicas at {step['at']}")
    if seen["stale"]:
        lines.append(f"  stale     {', '.join(seen['stale'])}")
    lines.append(f"  budget    {seen['budget_left']} left a day ({seen['budget_scope']})")
    return lines


def _figures(seen: dict[str, Any]) -> list[str]:
    """Of what the manager did by itself: each by its own name."""
    return ["It saw:", *(f"  {name.replace('_', ' '):<9} {value}" for name, value in seen.items() if value is not None)]


def _policy(policy: dict[str, Any], version: Any) -> list[str]:
    return [
        (
            f"Policy version {version}: kill below {threshold(policy['kill_roi'])}, "
            f"improve or pause below {threshold(policy['min_roi'])}, scale above {threshold(policy['scale_roi'])},"
        ),
        (
            f"each with {policy['confidence']:.0%} confidence over {format_duration(policy['window'])}; at least "
            f"{policy['min_runs']} runs and {threshold(policy['min_success_rate'])} success;"
        ),
        f"a person decides above {policy['require_approval_above']} a day.",
    ]
