"""Carries decisions out: one absolute write to the fleet, between the record of their intent and that of the deeds."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from nova.autonomous.decision import Kind
from nova.autonomous.office import Office
from nova.autonomous.records import ENGINE
from nova.errors import NotFound, NovaError, RevisionConflict
from nova.ledger.decisions import DecisionRecord, transition
from nova.money import Money

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from nova.fleet.documents import BudgetLimit, Deployment, FleetSnapshot
    from nova.fleet.fleet import Change

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an approved record: executed, or superseded or failed with the reason."""

    record: DecisionRecord
    state: str
    note: str | None = None


def execute(nova: Office, records: Sequence[DecisionRecord], snapshot: FleetSnapshot) -> list[Outcome]:
    """Changes the fleet for `approved` records, all in one write; `close` them afterwards.

    `snapshot` is what was decided on: a deployment that was changed since is left alone.
    """
    at, seen = nova.clock.now(), snapshot.deployments
    changes = [(one.worker, seen[one.worker].revision, change_for(one, seen[one.worker], at)) for one in records]
    refused = nova.fleet.change_each(changes) if changes else {}
    return [_outcome(record, refused.get(record.worker)) for record in records]


def _outcome(record: DecisionRecord, problem: NovaError | None) -> Outcome:
    if problem is None:
        return Outcome(record, "executed")
    if isinstance(problem, (RevisionConflict, NotFound)):
        return Outcome(record, "superseded", "the deployment was changed or retired meanwhile")
    log.error("decision_failed", extra={"action": "decision_failed", "decision": record.id, "error": problem.message})
    return Outcome(record, "failed", problem.message)


def close(nova: Office, outcomes: Sequence[Outcome], actor: str = ENGINE) -> list[DecisionRecord]:
    """Records what became of them, all in one transaction; returns the records as they are then."""
    at = nova.clock.now()

    def work(conn: Connection) -> list[DecisionRecord]:
        return [
            transition(
                conn, one.record.id, ("approved",), one.state, actor, at,
                note=one.note, changes={"outcome": one.note} if one.note else None,
            )
            for one in outcomes
        ]  # fmt: skip

    return nova.ledger.apply(work) if outcomes else []


def change_for(record: DecisionRecord, deployment: Deployment, at: datetime) -> Change:
    """What is to become of the deployment: absolute, so that repeating it changes nothing."""
    from nova.fleet import transitions
    from nova.fleet.documents import Step, valid_config

    replicas = int(record.body["to_replicas"])
    match Kind(record.kind):
        case Kind.KILL:
            return partial(transitions.killed, now=at)
        case Kind.PAUSE:
            return partial(transitions.paused, reason="roi", until=None, now=at)
        case Kind.SCALE_UP | Kind.SCALE_DOWN:
            step = Step(at, deployment.replicas, replicas, record.id)
            return partial(transitions.scaled, replicas=replicas, step=step)
        case Kind.RESUME:
            return partial(_running, replicas=replicas, at=at)
        case Kind.OPTIMIZE:
            config, tried = tuned(deployment, record.body["change"])
            return partial(transitions.configured, config=valid_config(config), tried=valid_config(tried))
        case Kind.BUDGET:
            return partial(_limited, change=record.body["change"])
        case kind:
            raise NovaError(f"nothing here carries out a {kind}")


def _running(one: Deployment, replicas: int, at: datetime) -> Deployment:
    return replace(
        one, state="active", pause_reason=None, state_until=None, needs=None, state_since=at, replicas=replicas,
        last_step=None, breaker=None,
    )  # fmt: skip


def _limited(one: Deployment, change: Mapping[str, Any]) -> Deployment:
    """Raises RevisionConflict where the limit is not the one that was decided on."""
    from nova.fleet import transitions

    before, after = _limits(one, change)
    if after in one.budget:
        return one
    if before not in one.budget:
        raise RevisionConflict(f"the budget of {one.name} was changed meanwhile")
    return transitions.limited(one, after)


def _limits(one: Deployment, change: Mapping[str, Any]) -> tuple[BudgetLimit, BudgetLimit]:
    """The limit that was decided on, and the one that is to follow."""
    from nova.fleet.documents import BudgetLimit

    per = str(change["key"]).removeprefix("budget/")
    currency = next((held.limit.currency for held in one.budget if held.per == per), "")
    before, after = (Money.parse(str(change["value"][name]), currency) for name in ("from", "to"))
    return BudgetLimit(per, before), BudgetLimit(per, after)


def tuned(deployment: Deployment, change: Mapping[str, object]) -> tuple[dict[str, object], dict[str, list[object]]]:
    """The configuration with the change, and what was tried including the value it leaves."""
    key, value = str(change["key"]), change["value"]
    tried = {name: list(values) for name, values in deployment.tried.items()}
    for each in ([deployment.config[key]] if key in deployment.config else []) + [value]:
        if each not in tried.setdefault(key, []):
            tried[key].append(each)
    return {**deployment.config, key: value}, tried


def took_effect(record: DecisionRecord, deployment: Deployment | None) -> bool:
    """Whether the fleet shows what the record meant to do."""
    if deployment is None:
        return False
    to, change = record.body.get("to_replicas"), record.body.get("change")
    match Kind(record.kind):
        case Kind.KILL:
            return deployment.state == "killed"
        case Kind.PAUSE:
            return deployment.state == "paused" and deployment.pause_reason == "roi"
        case Kind.SCALE_UP | Kind.SCALE_DOWN:
            return deployment.last_step is not None and deployment.last_step.decision == record.id
        case Kind.RESUME:
            return deployment.state == "active" and deployment.replicas == to
        case Kind.OPTIMIZE:
            return change is not None and deployment.config.get(change["key"]) == change["value"]
        case Kind.BUDGET:
            return change is not None and _limits(deployment, change)[1] in deployment.budget
    return False


def finish_leftovers(nova: Office, snapshot: FleetSnapshot) -> None:
    """What a cycle that was cut short meant to do: done where the fleet shows it, else superseded and decided anew."""
    outcomes = []
    for record in nova.ledger.decisions.by_state("approved"):
        done = took_effect(record, snapshot.deployments.get(record.worker))
        log.warning("leftover_closed", extra={"action": "leftover_closed", "decision": record.id, "done": done})
        note = None if done else "it was cut short before it changed the fleet"
        outcomes.append(Outcome(record, "executed" if done else "superseded", note))
    close(nova, outcomes)
