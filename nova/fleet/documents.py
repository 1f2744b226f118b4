"""What is declared: the documents of the fleet, as frozen values and as the JSON they are kept in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal

from nova.clock import iso, parse_time
from nova.errors import NovaError, UsageProblem
from nova.money import Money

State = Literal["active", "paused", "cooling_down", "parked", "killed"]
PauseReason = Literal["operator", "budget", "roi", "breaker"]
PERS = ("run", "day", "month")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def valid_name(name: str, what: str = "name") -> str:
    """Names appear in files, rows and shell lines: letters, digits, `.`, `_` and `-` only. Raises UsageProblem."""
    if not _NAME.fullmatch(name):
        raise UsageProblem(
            f"not a valid {what}: {name!r}",
            hint="use 1 to 64 letters, digits, dots, dashes or underscores; begin with a letter or a digit",
        )
    return name


@dataclass(frozen=True, slots=True)
class BudgetLimit:
    """What a deployment may cost per run, day or month."""

    per: str
    limit: Money

    @classmethod
    def parse(cls, text: str, currency: str) -> BudgetLimit:
        """Reads `20/day`. Raises UsageProblem."""
        amount, slash, per = text.partition("/")
        per = per.strip()
        if not slash or per not in PERS:
            raise UsageProblem(
                f"not a budget: {text!r}", hint="write it as AMOUNT/PER, such as 20/day; PER is run, day or month"
            )
        limit = Money.parse(amount, currency)
        if limit.micros < 0:
            raise UsageProblem(f"a budget must not be negative: {text!r}")
        if limit.currency != currency:
            raise UsageProblem(f"a budget is in {currency}, the reporting currency, not in {limit.currency}")
        return cls(per, limit)


@dataclass(frozen=True, slots=True)
class ScopeBudget:
    """A limit over a scope: `fleet`, `department:D` or `worker:NAME`."""

    scope: str
    per: str
    limit: Money


@dataclass(frozen=True, slots=True)
class Allowance:
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

    def checked(self) -> Declaration:
        """Itself. Raises UsageProblem where it makes no sense."""
        valid_name(self.name)
        valid_name(self.department, "department")
        if self.runtime not in ("thread", "process"):
            raise UsageProblem(f"not a runtime: {self.runtime!r}", hint="it is thread or process")
        if self.every_s <= 0 or self.timeout_s <= 0:
            raise UsageProblem("--every and --timeout must be longer than nothing")
        if not 1 <= self.max_replicas <= 10_000:
            raise UsageProblem(f"--max-replicas must be from 1 to 10000, not {self.max_replicas}")
        if not 1 <= self.replicas <= self.max_replicas:
            raise UsageProblem(
                f"--replicas must be from 1 to {self.max_replicas}, not {self.replicas}",
                hint="raise --max-replicas, or pause it instead",
            )
        if len({limit.per for limit in self.budget}) < len(self.budget):
            raise UsageProblem("a deployment has at most one budget per run, day and month")
        return self


@dataclass(frozen=True, slots=True)
class Deployment:
    """An agent with its configuration, replicas and budget. `revision` rises with every change.

    `generation` rises when its instances are to begin anew. Before `evidence_since` nothing counts for the engine.
    `state_until` is when a cooldown or a budget pause ends by itself. `tried` are the values of tunables that were tried.
    `declared_*` is what the operator said last, where the engine may have changed it since.
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

    def to_document(self) -> dict[str, Any]:
        return {one.name: _plain(getattr(self, one.name)) for one in fields(self)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any], currency: str) -> Deployment:
        """Raises NovaError where the document is not one: edited by hand, or of a newer nova."""
        try:
            given = {one.name: document[one.name] for one in fields(cls) if one.name in document}
            for name in ("state_until", "state_since", "created_at", "evidence_since"):
                if given.get(name) is not None:
                    given[name] = parse_time(given[name])
            given["budget"] = tuple(
                BudgetLimit(one["per"], Money.parse(one["limit"], currency)) for one in given["budget"]
            )
            if given.get("last_step") is not None:
                step = given["last_step"]
                given["last_step"] = Step(
                    parse_time(step["at"]), step["from_replicas"], step["to_replicas"], step["decision"]
                )
            return cls(**given)
        except (KeyError, TypeError, AttributeError, UsageProblem) as problem:
            raise NovaError(
                f"the fleet's document of {document.get('name', '?')!r} makes no sense: {problem}",
                hint="mend fleet.json by hand, or restore its copy fleet.json.bak",
            ) from problem


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, BudgetLimit):
        return {"per": value.per, "limit": str(value.limit)}
    if isinstance(value, Step):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return dict(value)
    return value


@dataclass(frozen=True, slots=True)
class FleetSnapshot:
    """All that is declared, at one moment. `policy` holds what the operator has set; `autonomous` None: never set."""

    deployments: Mapping[str, Deployment]
    budgets: tuple[ScopeBudget, ...]
    policy: Mapping[str, str]
    policy_version: int
    autonomous: bool | None
    currency: str

    def daily_limit(self, default: Money) -> Money:
        """The fleet's limit a day: the policy's `max_daily_budget`, else `default`."""
        written = self.policy.get("max_daily_budget")
        return Money.parse(written, self.currency) if written is not None else default

    def limits_for(self, one: Deployment, default_daily: Money) -> tuple[Allowance, ...]:
        """Every limit that a run of `one` must keep at once. `default_daily` is the fleet's where the policy sets none."""
        mine = f"worker:{one.name}"
        own = [Allowance("run" if b.per == "run" else mine, b.per, b.limit) for b in one.budget]
        scopes = (mine, f"department:{one.department}", "fleet")
        shared = [
            Allowance("run" if b.per == "run" else b.scope, b.per, b.limit) for b in self.budgets if b.scope in scopes
        ]
        return (*own, *shared, Allowance("fleet", "day", self.daily_limit(default_daily)))
