"""What operators do to deployments: each is one absolute change of the fleet, and a row in the audit trail."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from nova.clock import parse_duration
from nova.errors import Refused, RevisionConflict, UsageProblem
from nova.fleet.documents import USUAL_TIERS, BudgetLimit, Declaration, Deployment, ScopeBudget
from nova.fleet.fleet import DeployResult, scaled_by
from nova.fleet.terms import HealthRules, ImputedCost, Resources, Schedule, plain, valid_variables
from nova.ledger import audit, deployments
from nova.money import Money
from nova.secrecy import scrub
from nova.words import exact_money
from workers.agents.configuration import checked, typed
from workers.agents.registry import ALIASES, COMMANDS, load
from workers.applied import version_of
from workers.ending import await_end
from workers.parts import Parts
from workers.schedule import checked as checked_schedule
from workers.totals import lacking, left_in_total, stopped_by_total

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from workers.base_worker import BaseWorker

_DECLARED = frozenset(field.name for field in fields(Declaration))

_HIDDEN = "***"
_SECRET = re.compile(
    r"secret|token|passw|pwd|credential|authori[sz]ation|cookie|(api|access|private|signing|encryption)[_-]?key|[_-]key$",
    re.IGNORECASE,
)
_TIMEOUT_S = 300.0
_MOST_REPLICAS = 10
_ATTEMPTS = 5


def declare(
    nova: Parts,
    *,
    department: str,
    agent: str,
    name: str | None = None,
    every: str | None = None,
    replicas: int | None = None,
    max_replicas: int | None = None,
    runtime: str | None = None,
    timeout: str | None = None,
    budget: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
    schedule: Schedule | None = None,
    resources: Resources | None = None,
    health: Sequence[str] = (),
    imputed: str | None = None,
    secrets: Sequence[str] = (),
    env: Sequence[str] = (),
    revive: bool = False,
    by: str,
) -> DeployResult:
    """What is not given is the default, so that the same call always declares the same.

    Raises NotFound for an unknown agent, UsageProblem where its configuration or a figure is wrong, Refused for a
    killed name and for more replicas than the agent allows.
    """
    settings = nova.settings
    worker, stored, needed = _configured(settings.nova_home, agent, config or {})
    if resources not in (None, Resources()) and runtime != "process" and agent not in COMMANDS:
        raise UsageProblem(
            "a thread cannot be limited in what it takes", hint="add --runtime process, or leave the limits out"
        )
    if not worker.scalable and max(replicas or 1, max_replicas or 1) > 1:
        raise _not_scalable(agent)
    every_s = parse_duration(every) if every else settings.worker_run_interval
    asked = Declaration(
        name=_name_of(agent) if name is None else name,
        department=department,
        agent=ALIASES.get(agent, agent),
        runtime=runtime or "thread",
        replicas=1 if replicas is None else replicas,
        max_replicas=_most(replicas, max_replicas, worker.scalable),
        every_s=every_s,
        timeout_s=parse_duration(timeout) if timeout else _TIMEOUT_S,
        budget=tuple(BudgetLimit.parse(text, settings.nova_currency) for text in budget),
        config=stored,
        schedule=checked_schedule(
            schedule or Schedule(), every_s, settings.tz, nova.clock.now(), every_given=every is not None
        ),
        resources=resources or Resources(),
        health=HealthRules.parse(health),
        imputed=_imputed(worker, imputed, settings.nova_currency),
        secrets=valid_variables([*secrets, *needed], "--secret"),
        env=valid_variables(env, "--env"),
    )
    ledger = nova.ledger  # opened first: a fleet that was changed must find its record
    done = nova.fleet.deploy(asked, revive=revive)
    if done.created or "state" in done.changes:
        ledger.runs.forget_starts(asked.name)  # so that its first run is due at once
    if done.created or done.changes:
        ledger.apply(lambda conn: _record_deployed(conn, ledger.store.clock.now(), done, by))
    return done


def _configured(
    home: Path, agent: str, config: Mapping[str, Any]
) -> tuple[type[BaseWorker], dict[str, Any], Sequence[str]]:
    """The agent's class, the configuration as it is kept (in the types the class declares, without its defaults), and
    the secrets it needs so.
    """
    worker, own = load(agent, config, home)
    valid = checked(agent, worker, own)
    stored = typed(worker, own, valid)
    return worker, stored | {key: value for key, value in config.items() if key not in own}, worker.secrets_of(valid)


def _imputed(worker: type[BaseWorker], asked: str | None, currency: str) -> ImputedCost | None:
    """What was asked for, else what the agent says of itself. Nothing at all is none, said as `0/run`."""
    said = worker.imputed_cost if asked is None else asked
    if said is None:
        return None
    try:
        cost = ImputedCost.parse(said, currency)
    except UsageProblem as problem:
        raise (
            problem if asked is not None else UsageProblem(f"{worker.__name__}.imputed_cost: {problem.message}")
        ) from None
    return cost if cost.amount else None


def _record_deployed(conn: Connection, at: datetime, done: DeployResult, by: str) -> None:
    one = done.deployment
    deployments.note(conn, one.name, one.department, one.agent, at)
    if done.created:
        detail = {key: _told(value) for key, value in one.to_document().items() if key in _DECLARED}
    else:
        detail = {key: _difference(old, new) for key, (old, new) in done.changes.items()}
    audit.append(conn, at, by, "deployed", one.name, {"created": done.created, "changes": detail})


def retire(nova: Parts, name: str, *, by: str) -> Deployment:
    """Takes it out of the fleet, ending its runs; its history stays. Raises NotFound."""
    ledger = nova.ledger
    gone = nova.fleet.retire(name)
    ledger.runs.forget_starts(name)
    ledger.audit.append(by, "retired", name, {"state": gone.state})
    return gone


def scale(
    nova: Parts, name: str, *, replicas: int | None = None, multiplier: float | None = None, by: str
) -> Deployment:
    """To `replicas`, or by `multiplier` rounded up and at most to the most it may have.

    Raises Refused above that, and for more than one of an agent that is not scalable.
    """
    if multiplier is not None and not 0 < multiplier < 1e6:
        raise UsageProblem(f"--multiplier must be above 0, not {multiplier:g}")
    ledger = nova.ledger
    for attempt in range(_ATTEMPTS):
        before = nova.fleet.get(name)
        wanted = scaled_by(before.replicas, multiplier, before.max_replicas) if multiplier is not None else replicas
        if wanted is None:
            raise UsageProblem("say how many replicas")
        if wanted > 1 and not load(before.agent, before.config, nova.settings.nova_home)[0].scalable:
            raise _not_scalable(before.agent)
        try:
            after = nova.fleet.scale(name, wanted, expected_revision=before.revision)
            break
        except RevisionConflict:
            if attempt == _ATTEMPTS - 1:
                raise
    if after.revision != before.revision:
        ledger.audit.append(by, "scaled", name, {"from": before.replicas, "to": after.replicas})
    return after


def pause(nova: Parts, name: str, *, by: str) -> Deployment:
    """No new run begins; a running one ends by itself. Raises Refused for what was killed."""
    before = nova.fleet.get(name)
    if before.state == "killed":
        raise Refused(f"{name} was killed", hint="nothing of it runs")
    return _changed(nova, before, lambda: nova.fleet.pause(name, "operator"), "paused", by)


def pause_all(nova: Parts, by: str) -> list[Deployment]:
    """Those it paused: also what ROI or a budget had paused, so that nothing but a person lets it go on."""
    chosen = [one for one in nova.fleet.snapshot().deployments.values() if one.state not in ("killed", "parked")]
    after = [pause(nova, one.name, by=by) for one in chosen if one.pause_reason != "operator"]
    return [one for one in after if one.pause_reason == "operator"]


def resume(nova: Parts, name: str, *, by: str) -> Deployment:
    """Lets it run again, paused, cooling down or parked. Raises Refused for what was killed, and for what a budget in
    total has stopped: that is to be raised.

    Of what ROI, a budget or its breaker had paused, the evidence counts from now on.
    """
    before = nova.fleet.get(name)
    _refuse_without_room(nova, before)
    override = before.pause_reason in ("roi", "budget", "breaker")
    at = nova.clock.now()
    return _changed(nova, before, lambda: nova.fleet.resume(name, at, override=override), "resumed", by)


def _refuse_without_room(nova: Parts, one: Deployment) -> None:
    if not stopped_by_total(one):
        return
    limit = lacking(one, left_in_total(nova, nova.fleet.snapshot(), one))
    if limit is not None:
        amount = exact_money(limit.amount)
        raise Refused(
            f"{one.name} is paused because the budget of {limit.scope} is used up: {amount} in total",
            hint=f"raise it, and {one.name} goes on by itself: nova budgets set {limit.scope} AMOUNT/total",
        )


def resume_all(nova: Parts, by: str) -> list[Deployment]:
    """Those it resumed: what an operator had paused, what is parked or cools down; not what ROI, a budget or a breaker
    has paused.
    """
    chosen = [
        one
        for one in nova.fleet.snapshot().deployments.values()
        if one.pause_reason == "operator" or one.state in ("parked", "cooling_down")
    ]
    return [resume(nova, one.name, by=by) for one in chosen]


def kill(nova: Parts, name: str, *, by: str, timeout_s: float = 30.0) -> Deployment:
    """Returns when every manager has said that nothing of it runs any more. Raises NovaError where none of that comes.

    What its commands left behind in a session of their own is ended too.
    """
    from workers.strays import end_strays

    before = nova.fleet.get(name)
    after = _changed(nova, before, lambda: nova.fleet.kill(name), "killed", by)
    version = version_of(nova.fleet.token())
    await_end(nova, after, version, timeout_s)
    end_strays({record.id for record in nova.ledger.instances.managers.all()}, name)
    return after


def set_budget(nova: Parts, scope: str, per: str, limit: Money, *, by: str) -> ScopeBudget:
    """Raises UsageProblem for what is no scope or no limit, NotFound for a worker that is not deployed."""
    ledger, before = nova.ledger, nova.fleet.token()
    budget = nova.fleet.set_budget(scope, per, limit)
    if nova.fleet.token() != before:
        ledger.audit.append(by, "budget_set", scope, {"per": per, "limit": str(limit)})
    return budget


def remove_budget(nova: Parts, scope: str, per: str | None = None, *, by: str) -> int:
    """How many were removed. Raises NotFound where there was none."""
    ledger = nova.ledger
    removed = nova.fleet.remove_budget(scope, per)
    ledger.audit.append(by, "budget_removed", scope, {"per": per})
    return removed


def set_tiers(nova: Parts, percents: Sequence[str], *, by: str) -> tuple[int, ...]:
    """At which percentages of a budget people are warned: `50 80 95`, or `reset`. Raises UsageProblem."""
    wanted = USUAL_TIERS if list(percents) == ["reset"] else tuple(map(_percent, percents))
    ledger, before = nova.ledger, nova.fleet.snapshot().tiers
    after = nova.fleet.set_tiers(wanted)
    if after != before:
        ledger.audit.append(by, "tiers_set", "budgets", {"percents": list(after)})
    return after


def _percent(text: str) -> int:
    plain_text = text.strip().removesuffix("%").strip()
    if not (plain_text.isascii() and plain_text.isdecimal() and len(plain_text) < 4):
        raise UsageProblem(
            f"not a percentage: {text!r}", hint="whole percentages from 1 to 100, such as 50 80 95; or reset"
        )
    return int(plain_text)


def masked(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as it may be shown: what looks like a secret, by its name or by itself, is not."""
    return {key: _HIDDEN if value and _SECRET.search(key) else _masked(value) for key, value in config.items()}


def _masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return masked(value)
    if isinstance(value, (list, tuple)):
        return [_masked(one) for one in value]
    return scrub(value)


def _not_scalable(agent: str) -> Refused:
    return Refused(f"the agent {agent} runs as one replica only", hint="deploy it again under another name")


def _most(replicas: int | None, most: int | None, scalable: bool) -> int:
    if most is not None:
        return most
    return max(_MOST_REPLICAS, replicas or 1) if scalable else 1


def _name_of(agent: str) -> str:
    """`shell` for `shell`, `mailer` for `mypkg.mod:Mailer` or `mailer.py:Mailer`."""
    place, _, last = agent.rpartition(":")
    return PurePath(last if place else agent).stem.lower()


def _difference(old: Any, new: Any) -> Any:
    """Of a mapping only the keys that differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        before, after = masked(old), masked(new)
        keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        return {key: [before.get(key), after.get(key)] for key in keys}
    return [_told(old), _told(new)]


def _told(value: Any) -> Any:
    if isinstance(value, Mapping):
        return masked(value)
    if isinstance(value, tuple):
        return [f"{one.limit}/{one.per}" if isinstance(one, BudgetLimit) else one for one in value]
    return plain(value) if isinstance(value, Schedule | Resources | HealthRules | ImputedCost) else value


def _changed(nova: Parts, before: Deployment, act: Callable[[], Deployment], action: str, by: str) -> Deployment:
    """The ledger is opened first: a fleet that was changed must find its record."""
    ledger = nova.ledger
    after = act()
    if after.revision != before.revision:
        ledger.audit.append(by, action, after.name, {"from": before.state, "to": after.state})
    return after
