"""From the JSON the fleet is kept in to its values. What makes no sense is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from nova.clock import parse_time
from nova.errors import NovaError, UsageProblem
from nova.fleet.documents import (
    FIELDS,
    PERS,
    USUAL_TIERS,
    BudgetLimit,
    Deployment,
    FleetSnapshot,
    PauseReason,
    ScopeBudget,
    State,
    Step,
    valid_tiers,
)
from nova.fleet.file import Tables, Token
from nova.fleet.goals import target_of
from nova.fleet.shared import shared_of
from nova.fleet.terms import breaker_of, health_of, imputed_of, resources_of, schedule_of
from nova.fleet.webhooks import sender_of
from nova.money import Money

_TIMES = (
    "state_until",
    "state_since",
    "created_at",
    "evidence_since",
    "scheduled_at",
    "changed_at",
    "cleared_at",
)
_KINDS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (str, ("name", "department", "agent", "runtime")),
    (int, ("replicas", "max_replicas", "revision", "generation", "declared_replicas")),
    (dict, ("config", "tried", "declared_config")),
)
_TERMS: Mapping[str, Callable[[Any, str], Any]] = {
    "schedule": lambda document, _: schedule_of(document),
    "resources": lambda document, _: resources_of(document),
    "health": lambda document, _: health_of(document),
    "imputed": imputed_of,
    "breaker": lambda document, _: breaker_of(document),
}
_STATES, _REASONS = get_args(State), (None, *get_args(PauseReason))


def deployment_of(document: Mapping[str, Any], currency: str) -> Deployment:
    """Raises NovaError. Fields it does not know belong to a newer nova and are passed over."""
    try:
        given = {name: document[name] for name in FIELDS if name in document}
        _check(given)
        for name in _TIMES:
            if given.get(name) is not None:
                given[name] = parse_time(given[name])
        for name in ("budget", "declared_budget"):
            given[name] = tuple(_limit(one, currency) for one in given.get(name, ()))
        if given.get("last_step") is not None:
            step = given["last_step"]
            given["last_step"] = Step(
                parse_time(step["at"]), int(step["from_replicas"]), int(step["to_replicas"]), step["decision"]
            )
        if given.get("needs") is not None:
            given["needs"] = Money.parse(given["needs"], currency)
        for name, read in _TERMS.items():
            if given.get(name) is not None:
                given[name] = read(given[name], currency)
        for name in ("secrets", "env"):
            given[name] = tuple(map(str, given.get(name, ())))
        for name in ("config", "tried", "declared_config"):
            given[name] = dict(given.get(name, {}))
        return Deployment(**given)
    except (KeyError, TypeError, ValueError, AttributeError, UsageProblem) as problem:
        raise _nonsense(f"document of {document.get('name', '?')!r}", problem) from problem


def snapshot_of(
    tables: Tables, currency: str, token: Token, known: dict[str, tuple[Mapping[str, Any], Deployment]]
) -> FleetSnapshot:
    """`known` remembers documents with what they mean, so that only what has changed is read anew."""
    found = tables.get("deployments", {})
    for name in known.keys() - found.keys():
        del known[name]
    for name, document in found.items():
        before = known.get(name)
        if before is None or before[0] != document:
            known[name] = (document, deployment_of(document, currency))
    settings = tables.get("settings", {})
    policy = settings.get("policy", {})
    try:
        budgets = [
            ScopeBudget(str(one["scope"]), *_scoped(one, currency))
            for _, one in sorted(tables.get("budgets", {}).items())
        ]
        return FleetSnapshot(
            deployments={name: known[name][1] for name in sorted(found)},
            budgets=tuple(budgets),
            policy={str(key): str(value) for key, value in policy.get("values", {}).items()},
            policy_version=int(policy.get("version", 0)),
            autonomous=settings.get("autonomous", {}).get("enabled"),
            currency=currency,
            version=token,
            shared=tuple(shared_of(one, currency) for _, one in sorted(tables.get("shared_costs", {}).items())),
            webhooks=tuple(sender_of(one) for _, one in sorted(tables.get("webhooks", {}).items())),
            tiers=valid_tiers(map(int, settings.get("tiers", {}).get("percents", USUAL_TIERS))),
            targets=tuple(target_of(one, currency) for _, one in sorted(tables.get("targets", {}).items())),
            opening=Money.parse(settings["opening"]["amount"], currency) if "opening" in settings else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError, UsageProblem) as problem:
        raise _nonsense("budgets, settings, shared costs, targets or webhooks", problem) from problem


def _scoped(document: Mapping[str, Any], currency: str) -> tuple[str, Money]:
    limit = _limit(document, currency)
    return limit.per, limit.limit


def _limit(document: Mapping[str, Any], currency: str) -> BudgetLimit:
    if document["per"] not in PERS:
        raise ValueError(f"{document['per']!r} is no period")
    return BudgetLimit(document["per"], Money.parse(document["limit"], currency))


def _check(given: Mapping[str, Any]) -> None:
    for kind, names in _KINDS:
        for name in names:
            if name in given and type(given[name]) is not kind:
                raise TypeError(f"{name} is {given[name]!r}")
    for name in ("every_s", "timeout_s"):
        if not given[name] > 0:
            raise ValueError(f"{name} is {given[name]!r}")
    if given["state"] not in _STATES or given["pause_reason"] not in _REASONS:
        raise ValueError(f"state is {given['state']!r}, pause_reason {given['pause_reason']!r}")


def _nonsense(what: str, problem: Exception) -> NovaError:
    told = f"{problem} is missing" if isinstance(problem, KeyError) else str(problem)
    return NovaError(
        f"the fleet's {what} makes no sense: {told}",
        hint="mend fleet.json by hand, or restore its copy fleet.json.bak",
    )
