"""What becomes of a deployment when something is asked of it: pure. No change returns the value that was given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

from nova.errors import Refused, UsageProblem
from nova.fleet.documents import BudgetLimit, Declaration, Deployment, PauseReason, State, Step
from nova.fleet.terms import Breaker
from nova.money import Money

_OF_INSTANCES = (
    "agent",
    "runtime",
    "config",
    "department",
    "resources",
    "secrets",
    "env",
)  # they begin anew with these
_OF_ITS_NORMAL = ("generation", "replicas", "every_s", "schedule", "imputed")  # another one makes another normal
_MANY = 64  # trips in a row: the wait has long ceased to grow
_STRENGTH = {None: -1, "budget": 0, "roi": 1, "breaker": 2, "operator": 3}


def declared(asked: Declaration, now: datetime) -> Deployment:
    """A new one."""
    return Deployment(
        **_given(asked),
        declared_replicas=asked.replicas,
        declared_config=dict(asked.config),
        declared_budget=asked.budget,
        state="active",
        pause_reason=None,
        state_until=None,
        state_since=now,
        revision=1,
        created_at=now,
        scheduled_at=now,
    )


def redeclared(one: Deployment, asked: Declaration, now: datetime) -> Deployment:
    """What was scaled, tuned or limited since stays, as long as the declaration says of it what it said before.

    Another schedule counts from now on. A single run is wanted again where anything else is asked for.
    """
    given = _given(asked)
    if asked.replicas == one.declared_replicas:
        given["replicas"] = min(one.replicas, asked.max_replicas)
    if dict(asked.config) == dict(one.declared_config):
        given["config"] = one.config
    if asked.budget == one.declared_budget:
        given["budget"] = one.budget
    after = replace(
        one,
        **given,
        declared_replicas=asked.replicas,
        declared_config=dict(asked.config),
        declared_budget=asked.budget,
    )
    scheduled = (one.schedule, one.every_s) == (after.schedule, after.every_s)
    if not scheduled or (after.schedule.once and after != one):
        after = replace(after, scheduled_at=now)
    anew = any(getattr(one, key) != getattr(after, key) for key in _OF_INSTANCES)
    return replace(after, generation=one.generation + 1, tried={}) if anew else after


def revived(one: Deployment, now: datetime) -> Deployment:
    """Begun anew under the same name: its old evidence is forgotten."""
    return replace(
        _in_state(one, "active", now),
        evidence_since=now,
        last_step=None,
        tried={},
        generation=one.generation + 1,
        scheduled_at=now,
    )


def scaled(one: Deployment, replicas: int, step: Step | None) -> Deployment:
    """`step` is the engine's; a person's scaling leaves it none to judge."""
    _refuse_killed(one)
    if replicas < 1:
        raise UsageProblem(
            f"{one.name} cannot have {replicas} replicas", hint=f"to run none: nova workers pause {one.name}"
        )
    if replicas > one.max_replicas:
        raise Refused(
            f"{one.name} may have at most {one.max_replicas} replicas, not {replicas}",
            hint=f"deploy it again with --max-replicas {replicas}",
        )
    if replicas == one.replicas and step is None:
        return one
    return replace(one, replicas=replicas, last_step=step)


def paused(
    one: Deployment, reason: PauseReason, until: datetime | None, now: datetime, needs: Money | None = None
) -> Deployment:
    """A stronger reason replaces a weaker one: operator, breaker, roi, budget. What is parked or killed stays so."""
    if one.state in ("killed", "parked") or _STRENGTH[one.pause_reason] > _STRENGTH[reason]:
        return one
    return _in_state(one, "paused", now, reason, until, needs)


def resumed(one: Deployment, at: datetime, now: datetime, *, override: bool) -> Deployment:
    """`override`: a person's word against what stopped it lets its evidence count from `at` on."""
    _refuse_killed(one)
    if one.state == "active":
        return one
    after = _in_state(one, "active", now)
    if one.breaker is not None or one.state == "parked":
        after = replace(after, cleared_at=now)
    return replace(after, evidence_since=at) if override else after


def tripped(one: Deployment, breaker: Breaker, until: datetime | None, now: datetime) -> Deployment:
    """Its breaker opens, or opens again after a probe; only where nothing else keeps it from running.

    `until` is when one run may probe; None: a person decides.
    """
    if one.state not in ("active", "cooling_down") and one.breaker is None:
        return one
    return replace(_in_state(one, "paused", now, "breaker", until), breaker=breaker)


def probe_is_due(one: Deployment, now: datetime) -> bool:
    """A wait that is longer than any was begun before the clock was set back."""
    if one.breaker is None or one.state_until is None:
        return False
    left, longest = one.state_until - now, one.health.wait(_MANY)
    return left <= timedelta(0) or (longest is not None and left > longest)


def probing(one: Deployment, now: datetime) -> Deployment:
    """One run may show whether it is well again; does nothing before its time, or where one is under way."""
    if one.breaker is None or one.breaker.probing or not probe_is_due(one, now):
        return one
    return replace(one, breaker=replace(one.breaker, probing=True), state_until=None)


def recovered(one: Deployment, now: datetime) -> Deployment:
    """The probe went well: the breaker is closed, and no run before counts against it."""
    if one.breaker is None or not one.breaker.probing:
        return one
    return replace(_in_state(one, "active", now), cleared_at=now)


def of_another_normal(before: Deployment, after: Deployment, now: datetime) -> Deployment:
    """`after`, marked where it was changed so that its runs need not cost what they did."""
    same = all(getattr(before, key) == getattr(after, key) for key in _OF_ITS_NORMAL)
    return after if same else replace(after, changed_at=now)


def killed(one: Deployment, now: datetime) -> Deployment:
    return _in_state(one, "killed", now)


def cooled_down(one: Deployment, until: datetime, now: datetime) -> Deployment:
    """Whoever paused it meanwhile wins."""
    return _in_state(one, "cooling_down", now, None, until) if one.state in ("active", "cooling_down") else one


def parked(one: Deployment, now: datetime) -> Deployment:
    return _in_state(one, "parked", now) if one.state in ("active", "cooling_down") else one


def activated(one: Deployment, now: datetime) -> Deployment:
    """Ends a cooldown, and nothing else."""
    return _in_state(one, "active", now) if one.state == "cooling_down" else one


def configured(one: Deployment, config: Mapping[str, Any], tried: Mapping[str, list[Any]]) -> Deployment:
    if dict(one.config) == dict(config) and dict(one.tried) == dict(tried):
        return one
    return replace(one, config=dict(config), tried=dict(tried), generation=one.generation + 1)


def limited(one: Deployment, limit: BudgetLimit) -> Deployment:
    """With `limit` in the place of what stood for the same period."""
    others = (held for held in one.budget if held.per != limit.per)
    return one if limit in one.budget else replace(one, budget=(*others, limit))


def unlimited(one: Deployment, per: str | None) -> Deployment:
    """Without its limit of that period, or without any."""
    return replace(one, budget=tuple(held for held in one.budget if per is not None and held.per != per))


def _in_state(
    one: Deployment,
    state: State,
    now: datetime,
    reason: PauseReason | None = None,
    until: datetime | None = None,
    needs: Money | None = None,
) -> Deployment:
    if (one.state, one.pause_reason, one.state_until, one.needs) == (state, reason, until, needs):
        return one
    since = one.state_since if one.state == state else now
    breaker = one.breaker if reason == "breaker" else None
    return replace(
        one, state=state, pause_reason=reason, state_until=until, state_since=since, needs=needs, breaker=breaker
    )


def _refuse_killed(one: Deployment) -> None:
    if one.state == "killed":
        raise Refused(f"{one.name} was killed", hint="deploy it again with --revive")


def _given(asked: Declaration) -> dict[str, Any]:
    return {one.name: getattr(asked, one.name) for one in fields(Declaration)}
