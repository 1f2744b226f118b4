"""What a host is to the manager: told what should run there, it says what does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from nova.fleet.documents import Deployment
from nova.fleet.terms import ImputedCost, Resources, Schedule
from nova.ledger.limits import Breach, Limit
from nova.money import Money
from workers.breaker import Trip
from workers.instance import Intent, State

InstanceId = str  # name#1
EVERY = Schedule()


@dataclass(frozen=True, slots=True)
class Spec:
    """One instance as it is wanted. A changed spec serves from the next run on; `limits` also during the current one.

    Another `generation` renews the instance: its worker object and its backoff are forgotten. `born` is when its
    deployment was: the same name may be declared anew. `since` is when its schedule was. `secrets` and `env` are names
    of variables. `imputed` is what a run costs besides what it meters. What a person runs in the `foreground` is no
    replica: it is the instance NAME#0. A run that gives no sign of life for `heartbeat_s` is ended (0: never). Under
    one `probe` the instance runs once.
    """

    worker: str
    department: str
    agent: str
    runtime: str
    index: int
    replicas: int
    every_s: float
    timeout_s: float
    config: Mapping[str, Any]
    limits: tuple[Limit, ...]
    generation: int = 0
    intent: Intent = Intent.RUN
    due_now: bool = False
    born: datetime | None = None
    schedule: Schedule = EVERY
    since: datetime | None = None
    resources: Resources = Resources()
    secrets: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    imputed: ImputedCost | None = None
    foreground: bool = False
    heartbeat_s: float = 0.0
    probe: str | None = None

    @classmethod
    def of(cls, one: Deployment, index: int, limits: tuple[Limit, ...], **other: Any) -> Spec:
        """What is declared of it; `other` are fields that differ from that."""
        declared: dict[str, Any] = {
            "worker": one.name, "department": one.department, "agent": one.agent, "runtime": one.runtime,
            "index": index, "replicas": one.replicas, "every_s": one.every_s, "timeout_s": one.timeout_s,
            "config": one.config, "limits": limits, "generation": one.generation, "born": one.created_at,
            "schedule": one.schedule, "since": one.scheduled_at or one.created_at, "resources": one.resources,
            "secrets": one.secrets, "env": one.env, "imputed": one.imputed, "heartbeat_s": one.health.heartbeat_s,
        }  # fmt: skip
        return cls(**{**declared, **other})

    @property
    def instance(self) -> InstanceId:
        return f"{self.worker}#{0 if self.foreground else self.index}"


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A run is over for the ledger; `hung`: its thread is not.

    `cost` is what it spent, in millionths. `progressed`: it earned, claimed or changed state. `probe`: what it was for.
    """

    worker: str
    instance: InstanceId
    run: str
    status: str
    crash: bool
    error: str | None
    started_at: datetime
    ended_at: datetime
    hung: bool = False
    cost: int = 0
    progressed: bool = False
    probe: str | None = None


@dataclass(frozen=True, slots=True)
class Overspent:
    """A run spends, or was about to spend, more than is normal. It is being ended."""

    worker: str
    instance: InstanceId
    run: str
    trip: Trip
    probe: str | None = None


@dataclass(frozen=True, slots=True)
class BudgetHit:
    """`refused`: a spending was not allowed; `broken`: money already gone broke a limit; `near`: it reached a tier.

    `asked` is in the reporting currency.
    """

    kind: Literal["refused", "broken", "near"]
    worker: str
    run: str
    breaches: tuple[Breach, ...]
    asked: Money | None = None
    instance: InstanceId = ""


Fact = RunEnded | BudgetHit | Overspent


@dataclass(frozen=True, slots=True)
class Seen:
    """One instance as its host sees it. `cpu_s` is what its runs have used so far, the current one included."""

    instance: InstanceId
    worker: str
    state: State
    epoch: int
    run: str | None = None
    run_started_at: datetime | None = None
    heartbeat_at: datetime | None = None
    cpu_s: float = 0.0
    memory_bytes: int | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The instances by id, and the facts since the last report."""

    states: Mapping[InstanceId, Seen]
    facts: tuple[Fact, ...] = ()


class Host(Protocol):
    """Where instances live. An instance that is not in `want` ends after its current run."""

    def sync(self, want: Mapping[InstanceId, Spec], lease_until: float) -> Report:
        """Takes what is wanted, and reports. Without another sync no run starts later than `lease_until` (monotonic):
        an instant and no span, because the caller may be stopped just before it calls.
        """
        ...

    def report(self) -> Report:
        """What runs here and what happened since the last report, without asking for anything."""
        ...

    def remember(self, starts: Mapping[str, Mapping[InstanceId, datetime]]) -> None:
        """By worker, the last recorded starts of what was not this manager's until now."""
        ...

    def abandon(self) -> None:
        """Nothing that runs here counts any more, because another manager took over: ends what it can, at once."""
        ...

    def kill(self, instance: InstanceId) -> None:
        """Ends its run now. The instance leaves the report when its death is confirmed."""
        ...

    def logs(self, instance: InstanceId, n: int) -> Sequence[str]:
        """The last `n` lines its worker wrote."""
        ...

    def stop(self, grace_s: float) -> None:
        """No new runs; asks the running ones to end, waits, kills what can be killed; returns within `grace_s`."""
        ...
