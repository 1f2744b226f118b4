"""What is declared, as frozen values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from nova.clock import iso
from nova.errors import UsageProblem
from nova.fleet.terms import (
    Breaker,
    HealthRules,
    ImputedCost,
    Resources,
    Schedule,
    checked,
    plain,
    unusual,
    usual_of,
    valid_variables,
)
from nova.money import Money

if TYPE_CHECKING:
    from nova.fleet.goals import Target
    from nova.fleet.shared import SharedCost
    from nova.fleet.webhooks import WebhookSender

State = Literal["active", "paused", "cooling_down", "parked", "killed"]
PauseReason = Literal["operator", "budget", "roi", "breaker"]
PERS = ("run", "day", "month", "total")
USUAL_TIERS = (80,)
MOST_REPLICAS = 10_000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def valid_name(name: str, what: str = "name") -> str:
    """Names appear in files, rows and shell lines: letters, digits, `.`, `_` and `-` only. Raises UsageProblem."""
    if not _NAME.fullmatch(name):
        raise UsageProblem(
            f"not a valid {what}: {name!r}",
            hint="use 1 to 64 letters, digits, dots, dashes or underscores; begin with a letter or a digit",
        )
    return name


def valid_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration is kept as JSON. Raises UsageProblem where it is not."""
    try:
        json.dumps(config, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as problem:
        raise UsageProblem(f"the configuration cannot be kept as JSON: {problem}") from None
    return config


def valid_tiers(percents: Iterable[int]) -> tuple[int, ...]:
    """Percentages of a budget, rising, each once. Raises UsageProblem."""
    tiers = tuple(sorted(set(percents)))
    if not tiers or not 1 <= tiers[0] <= tiers[-1] <= 100:
        raise UsageProblem(
            f"not warning tiers: {', '.join(map(str, tiers)) or 'none'}",
            hint="whole percentages from 1 to 100, such as 50 80 95",
        )
    return tiers


@dataclass(frozen=True, slots=True)
class BudgetLimit:
    """What a deployment may cost per run, day or month, or in total."""

    per: str
    limit: Money

    @classmethod
    def parse(cls, text: str, currency: str) -> BudgetLimit:
        """Reads `20/day`. Raises UsageProblem."""
        amount, slash, per = text.partition("/")
        per = per.strip()
        if not slash or per not in PERS:
            raise UsageProblem(
                f"not a budget: {text!r}",
                hint="write it as AMOUNT/PER, such as 20/day; PER is run, day, month or total",
            )
        return cls(per, Money.parse(amount, currency)).checked(currency)

    def checked(self, currency: str) -> BudgetLimit:
        """Itself. Raises UsageProblem where it makes no sense."""
        if self.per not in PERS:
            raise UsageProblem(f"not a budget period: {self.per!r}", hint="it is run, day, month or total")
        if self.limit.micros < 0:
            raise UsageProblem(f"a budget must not be negative: {self.limit}/{self.per}")
        if self.limit.currency != currency:
            raise UsageProblem(f"a budget is in {currency}, the reporting currency, not in {self.limit.currency}")
        return self


@dataclass(frozen=True, slots=True)
class ScopeBudget:
    """A limit over a scope: `fleet`, `department:D` or `worker:NAME`."""

    scope: str
    per: str
    limit: Money


class Allowance(NamedTuple):
    """A limit that a run must keep; `scope` is `run`, `worker:NAME`, `department:D` or `fleet`."""

    scope: str
    per: str
    amount: Money


@dataclass(frozen=True, slots=True)
class Step:
    """A change of replicas by the engine, kept so that it can be judged later."""

    at: datetime
    from_replicas: int
    to_replicas: int
    decision: str | None = None


@dataclass(frozen=True, slots=True)
class Declaration:
    """What an operator asks to be deployed. The fleet adds state and revision."""

    name: str
    department: str
    agent: str
    runtime: str = "thread"
    replicas: int = 1
    max_replicas: int = 10
    every_s: float = 60.0
    timeout_s: float = 300.0
    budget: tuple[BudgetLimit, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    schedule: Schedule = field(default_factory=Schedule)
    resources: Resources = field(default_factory=Resources)
    health: HealthRules = field(default_factory=HealthRules)
    imputed: ImputedCost | None = None
    secrets: tuple[str, ...] = ()
    env: tuple[str, ...] = ()

    def checked(self, currency: str) -> Declaration:
        """Itself. Raises UsageProblem where it makes no sense."""
        valid_name(self.name)
        valid_name(self.department, "department")
        valid_config(self.config)
        if not self.agent.strip() or not self.agent.isprintable():
            raise UsageProblem(f"not an agent: {self.agent!r}", hint="nova agents list shows what can be deployed")
        if self.runtime not in ("thread", "process"):
            raise UsageProblem(f"not a runtime: {self.runtime!r}", hint="it is thread or process")
        if not (self.every_s > 0 and self.timeout_s > 0):
            raise UsageProblem("--every and --timeout must be longer than nothing")
        if not 1 <= self.max_replicas <= MOST_REPLICAS:
            raise UsageProblem(f"--max-replicas must be from 1 to {MOST_REPLICAS}, not {self.max_replicas}")
        if not 1 <= self.replicas <= self.max_replicas:
            raise UsageProblem(
                f"--replicas must be from 1 to {self.max_replicas}, not {self.replicas}",
                hint="raise --max-replicas, or pause it instead",
            )
        if len({limit.checked(currency).per for limit in self.budget}) < len(self.budget):
            raise UsageProblem("a deployment has at most one budget per run, day and month, and one in total")
        for terms in (self.schedule, self.resources, self.health):
            checked(terms)
        valid_variables(self.secrets, "--secret")
        valid_variables(self.env, "--env")
        return self


@dataclass(frozen=True, slots=True)
class Deployment:
    """An agent with its configuration, replicas and budget. `revision` rises with every change.

    `generation` rises when its instances are to begin anew. Before `evidence_since` nothing counts for the engine.
    `state_until` is when a cooldown or a budget pause ends by itself. `tried` are the tunables' values that were tried.
    `needs` is how much its budgets in total must have room for before it goes on, where one of them has stopped it.
    `secrets` and `env` are the names of variables its processes are given. `breaker` is set while its breaker is open.
    `scheduled_at` is since when its schedule counts, and of a single run since when it is wanted.
    `changed_at` is when what runs, how often or how many was changed last: what is normal for it counts from then on.
    Before `cleared_at` no run counts against it: its breaker was closed, or a person let it run again.
    `declared_*` is what `deploy` said last, where others may have changed it since: only another word changes it again.
    """

    name: str
    department: str
    agent: str
    runtime: str
    state: State
    pause_reason: PauseReason | None
    state_until: datetime | None
    state_since: datetime
    replicas: int
    max_replicas: int
    every_s: float
    timeout_s: float
    budget: tuple[BudgetLimit, ...]
    config: Mapping[str, Any]
    revision: int
    created_at: datetime
    evidence_since: datetime | None = None
    last_step: Step | None = None
    tried: Mapping[str, list[Any]] = field(default_factory=dict)
    generation: int = 1
    declared_replicas: int = 1
    declared_config: Mapping[str, Any] = field(default_factory=dict)
    declared_budget: tuple[BudgetLimit, ...] = ()
    schedule: Schedule = field(default_factory=Schedule)
    resources: Resources = field(default_factory=Resources)
    health: HealthRules = field(default_factory=HealthRules)
    imputed: ImputedCost | None = None
    secrets: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    breaker: Breaker | None = None
    needs: Money | None = None
    scheduled_at: datetime | None = None
    changed_at: datetime | None = None
    cleared_at: datetime | None = None

    def to_document(self) -> dict[str, Any]:
        """As JSON keeps it, without what is by default; `decoding` reads it back."""
        given = ((key, getattr(self, key), usual) for key, usual in _USUAL.items())
        return {key: _plain(value) for key, value, usual in given if value != usual}


_USUAL = usual_of(Deployment)
FIELDS = frozenset(_USUAL)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Money):
        return f"{value} {value.currency}"
    if isinstance(value, BudgetLimit):
        return {"per": value.per, "limit": f"{value.limit} {value.limit.currency}"}
    if isinstance(value, Step):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, ImputedCost):
        return plain(value)
    if isinstance(value, Schedule | Resources | HealthRules | Breaker):
        return unusual(value)
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return dict(value) if isinstance(value, Mapping) else value


@dataclass(frozen=True, slots=True)
class FleetSnapshot:
    """All that is declared, at one moment. `policy` holds what the operator has set; `autonomous` None: never set.

    `tiers` are the percentages of every budget at which people are warned. `shared` are bills, by name. `opening` is
    the money that was there before the first entry. `webhooks` are the declared senders of some.
    """

    deployments: Mapping[str, Deployment]
    budgets: tuple[ScopeBudget, ...]
    policy: Mapping[str, str]
    policy_version: int
    autonomous: bool | None
    currency: str
    version: tuple[int, int, int] | None = None
    tiers: tuple[int, ...] = USUAL_TIERS
    shared: tuple[SharedCost, ...] = ()
    targets: tuple[Target, ...] = ()
    opening: Money | None = None
    webhooks: tuple[WebhookSender, ...] = ()

    def daily_limit(self, default: Money) -> Money:
        """The fleet's limit a day: the policy's `max_daily_budget`, else `default`."""
        written = self.policy.get("max_daily_budget")
        return Money.parse(written, self.currency) if written is not None else default

    def limits_for(self, deployment: Deployment | str, default_daily: Money) -> tuple[Allowance, ...]:
        """Every limit that a run of it must keep at once. `default_daily` is the fleet's where the policy sets none."""
        one = self.deployments[deployment] if isinstance(deployment, str) else deployment
        mine = f"worker:{one.name}"
        own = [Allowance("run" if b.per == "run" else mine, b.per, b.limit) for b in one.budget]
        scopes = (f"department:{one.department}", "fleet")
        shared = [
            Allowance("run" if b.per == "run" else b.scope, b.per, b.limit) for b in self.budgets if b.scope in scopes
        ]
        return (*own, *shared, Allowance("fleet", "day", self.daily_limit(default_daily)))

    def all_budgets(self, default_daily: Money) -> tuple[ScopeBudget, ...]:
        """Every limit there is: the fleet's, the departments', and the deployments' own."""
        own = [
            ScopeBudget(f"worker:{one.name}", b.per, b.limit) for one in self.deployments.values() for b in one.budget
        ]
        return (ScopeBudget("fleet", "day", self.daily_limit(default_daily)), *self.budgets, *own)
