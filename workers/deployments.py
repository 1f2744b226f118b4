"""What operators do to deployments: each is one absolute change of the fleet, and a row in the audit trail."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from nova.clock import parse_duration
from nova.errors import NovaError, Refused, UsageProblem
from nova.fleet.documents import BudgetLimit, Declaration, Deployment, ScopeBudget
from nova.fleet.fleet import DeployResult, scaled_by
from nova.money import Money
from workers.lock import managers
from workers.parts import Parts

_SECRET = re.compile(r"key|secret|token|passw|credential", re.IGNORECASE)
_LOOK_S = 0.05
_NOTICED_S = 1.0  # by then a manager has seen the change, and written down what it still has


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
    revive: bool = False,
    by: str,
) -> DeployResult:
    """What is not given is the default, so that the same call always declares the same.

    Raises UsageProblem where the agent, its configuration or a figure is wrong, Refused for a killed name.
    """
    from workers.agents.registry import resolver

    settings = nova.settings
    worker, validated = resolver(settings.nova_home)(agent, config or {})
    _refuse_runtime(runtime, getattr(worker, "kills", False), agent)
    if not worker.scalable and max(replicas or 1, max_replicas or 1) > 1:
        raise UsageProblem(f"{agent} cannot have more than one replica")
    asked = Declaration(
        name=name or _name_of(agent),
        department=department,
        agent=agent,
        runtime=runtime or "thread",
        replicas=1 if replicas is None else replicas,
        max_replicas=_most(replicas, max_replicas, worker.scalable),
        every_s=parse_duration(every) if every else settings.worker_run_interval,
        timeout_s=parse_duration(timeout) if timeout else 300.0,
        budget=tuple(BudgetLimit.parse(text, settings.nova_currency) for text in budget),
        config=_stored(config or {}, validated),
    )
    done = nova.fleet.deploy(asked, revive=revive)
    nova.ledger.deployments.note(asked.name, asked.department, asked.agent)
    if done.created or done.changes:
        changes = {key: [_plain(old), _plain(new)] for key, (old, new) in done.changes.items()}
        _audit(nova, by, "deployed", asked.name, {"agent": agent, "department": department, "changes": changes})
    return done


def retire(nova: Parts, name: str, *, by: str) -> Deployment:
    """Takes it out of the fleet, ending its runs; its history stays. Raises NotFound."""
    gone = nova.fleet.retire(name)
    nova.ledger.runs.forget_starts(name)
    _audit(nova, by, "retired", name, {"state": gone.state})
    return gone


def scale(
    nova: Parts, name: str, *, replicas: int | None = None, multiplier: float | None = None, by: str
) -> Deployment:
    """To `replicas`, or by `multiplier` rounded up and at most to the most it may have."""
    before = nova.fleet.get(name)
    if multiplier is not None and not 0 < multiplier < 1e6:
        raise UsageProblem(f"--multiplier must be above 0, not {multiplier:g}")
    wanted = scaled_by(before.replicas, multiplier, before.max_replicas) if multiplier is not None else replicas
    if wanted is None:
        raise UsageProblem("say how many replicas")
    after = nova.fleet.scale(name, wanted)
    if after.revision != before.revision:
        _audit(nova, by, "scaled", name, {"from": before.replicas, "to": after.replicas})
    return after


def pause(nova: Parts, name: str, *, by: str) -> Deployment:
    """No new run begins; a running one ends by itself. Raises Refused for what was killed."""
    before = nova.fleet.get(name)
    if before.state == "killed":
        raise Refused(f"{name} was killed", hint="nothing of it runs")
    return _changed(nova, before, nova.fleet.pause(name, "operator"), "paused", by)


def pause_all(nova: Parts, by: str) -> list[Deployment]:
    """Those it paused."""
    open_ones = [one for one in nova.fleet.snapshot().deployments.values() if _runs_or_may(one)]
    return [pause(nova, one.name, by=by) for one in open_ones]


def resume(nova: Parts, name: str, *, by: str) -> Deployment:
    """Lets it run again. Of what ROI, a budget, a breaker or crashes stopped, the evidence counts from now on."""
    before = nova.fleet.get(name)
    override = before.state == "parked" or before.pause_reason not in (None, "operator")
    return _changed(nova, before, nova.fleet.resume(name, nova.clock.now(), override=override), "resumed", by)


def resume_all(nova: Parts, by: str) -> list[Deployment]:
    """Those it resumed: what an operator had paused, what is parked or cools down; not what ROI or a budget paused."""
    chosen = [
        one
        for one in nova.fleet.snapshot().deployments.values()
        if one.pause_reason == "operator" or one.state in ("parked", "cooling_down")
    ]
    return [resume(nova, one.name, by=by) for one in chosen]


def kill(nova: Parts, name: str, *, by: str, timeout_s: float = 30.0) -> Deployment:
    """Returns when nothing of it runs any more. Raises NovaError when that is not confirmed in time."""
    before = nova.fleet.get(name)
    after = _changed(nova, before, nova.fleet.kill(name), "killed", by)
    begun = time.monotonic()
    while (left := _alive(nova, name)) or (_is_managed(nova) and time.monotonic() < begun + min(_NOTICED_S, timeout_s)):
        if time.monotonic() >= begun + timeout_s:
            raise NovaError(
                f"{name} is declared killed, but not confirmed dead: {', '.join(left)} still there",
                hint="a thread cannot be killed; `nova workers restart` ends it, `nova workers logs` shows it",
            )
        time.sleep(_LOOK_S)
    return after


def set_budget(nova: Parts, scope: str, per: str, limit: Money, *, by: str) -> ScopeBudget:
    budget = nova.fleet.set_budget(scope, per, limit)
    _audit(nova, by, "budget_set", scope, {"per": per, "limit": str(limit)})
    return budget


def remove_budget(nova: Parts, scope: str, per: str | None = None, *, by: str) -> int:
    """How many were removed. Raises NotFound where there was none."""
    removed = nova.fleet.remove_budget(scope, per)
    _audit(nova, by, "budget_removed", scope, {"per": per})
    return removed


def masked(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as it may be shown: what looks like a secret is not."""
    shown: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            shown[key] = masked(value)
        else:
            shown[key] = "********" if _SECRET.search(key) and value else value
    return shown


def _refuse_runtime(runtime: str | None, kills: bool, agent: str) -> None:
    if runtime == "process" and not kills:
        raise UsageProblem(
            f"{agent} cannot run in a process of its own yet",
            hint="leave --runtime out, or run it as a command with the shell agent",
        )


def _most(replicas: int | None, most: int | None, scalable: bool) -> int:
    if most is not None:
        return most
    return max(10, replicas or 1) if scalable else 1


def _name_of(agent: str) -> str:
    """`shell` for `shell`, `mailer` for `mypkg.mod:Mailer` or `mailer.py`."""
    place, _, last = agent.rpartition(":")
    return PurePath(last if place else agent).stem.lower()


def _stored(given: Mapping[str, Any], validated: Any) -> dict[str, Any]:
    """What was given, in the types the agent declares; its defaults are not frozen into the fleet."""
    if not hasattr(validated, "model_dump"):
        return dict(given)
    stored: dict[str, Any] = validated.model_dump(mode="json", exclude_unset=True)
    return stored


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return masked(value)
    if isinstance(value, tuple):
        return [f"{limit.limit}/{limit.per}" for limit in value]
    return value


def _changed(nova: Parts, before: Deployment, after: Deployment, action: str, by: str) -> Deployment:
    if after.revision != before.revision:
        _audit(nova, by, action, after.name, {"from": before.state, "to": after.state})
    return after


def _runs_or_may(one: Deployment) -> bool:
    return one.state != "killed" and one.pause_reason != "operator"


def _living(nova: Parts) -> set[str]:
    return {info.id for info, alive in managers(nova.settings.run_dir) if alive}


def _is_managed(nova: Parts) -> bool:
    return bool(_living(nova))


def _alive(nova: Parts, name: str) -> list[str]:
    """Its instances that a living manager still has."""
    living = _living(nova)
    seen = nova.ledger.instances.all()
    return [one.instance for one in seen if one.worker == name and one.manager in living and one.state != "stopped"]


def _audit(nova: Parts, by: str, action: str, subject: str, detail: Mapping[str, Any]) -> None:
    nova.ledger.audit.append(by, action, subject, detail)
