"""Real threads, real processes and a real ledger; only the fleet's file and the agents are small."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import dedent, indent
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select

from nova.clock import SystemClock
from nova.config import load_settings
from nova.errors import NotFound
from nova.ledger.ledger import Ledger
from nova.ledger.schema import entries
from nova.money import Money
from platforms.exchange import Exchange
from workers.agents.shell import Shell
from workers.base_worker import BaseWorker
from workers.hosts.base import Fact, InstanceId, Report, Spec
from workers.hosts.leash_client import Leash
from workers.hosts.local import LocalHost
from workers.hosts.nursery_client import Nursery
from workers.hosts.services import Services
from workers.instance import Backoff
from workers.links import TrackedLinks
from workers.log_lines import parse
from workers.logfile import WorkerLogs
from workers.logs import Log, texts
from workers.normals import Normals


def until(condition: Callable[[], Any], what: str = "the condition", seconds: float = 15.0) -> Any:
    """Polls with a deadline."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        threading.Event().wait(0.01)
    return value


def booked(ledger: Ledger, worker: str, side: str) -> Money:
    """What the ledger's entries of a worker add up to; `side` is revenue or cost."""
    query = select(func.sum(entries.c.booked_micros)).where(entries.c.worker == worker, entries.c.side == side)
    with ledger.read() as conn:
        return Money(conn.execute(query).scalar() or 0, "USD")


@pytest.fixture
def ledger(home: Path) -> Iterator[Ledger]:
    opened = Ledger.open(
        f"sqlite:///{home / 'ledger.db'}", currency="USD", zone=ZoneInfo("UTC"), clock=SystemClock(), grouped=True
    )
    yield opened
    opened.close()


class Agents(dict[str, type[BaseWorker]]):
    """Agents by name, as the registry finds them."""

    def __call__(self, agent: str, config: Mapping[str, Any]) -> tuple[type[BaseWorker], Any]:
        if agent not in self:
            raise NotFound(f"no agent {agent}")
        chosen = self[agent]
        return chosen, chosen.Config.model_validate(dict(config)) if chosen.Config else config


@pytest.fixture
def agents() -> Agents:
    return Agents(shell=Shell)


class LeapingClock(SystemClock):
    """The machine's, whose monotonic seconds may be let leap ahead."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


_IMPORTS = "import json, os, signal, subprocess, sys, threading, time\nfrom workers import BaseWorker, RunResult\n"
_AGENT = "class Agent(BaseWorker):\n    def run(self, ctx):\n"


class Rig:
    """A local host with everything it needs, and what it reported so far."""

    def __init__(self, services: Services, starts: Mapping[InstanceId, Any]) -> None:
        self.services = services
        self.ledger = services.ledger
        self.facts: list[Fact] = []
        self.wakes = 0
        self.agents = Path(services.home) / "agents"
        self.host = LocalHost(services, starts=starts, wake=self._woken, backoff=Backoff(base_s=0.05, max_s=0.2))
        self.want: dict[InstanceId, Spec] = {}

    def _woken(self) -> None:
        self.wakes += 1

    def spec(self, worker: str = "w", index: int = 1, **more: Any) -> Spec:
        values: dict[str, Any] = {
            "worker": worker, "department": "d", "agent": worker, "runtime": "thread", "index": index, "replicas": 1,
            "every_s": 3600.0, "timeout_s": 60.0, "config": {}, "limits": (), **more,
        }  # fmt: skip
        return Spec(**values)

    def shell(self, command: str, **more: Any) -> Spec:
        return self.spec("sh", agent="shell", config={"command": command, **more.pop("config", {})}, **more)

    def process(self, body: str, worker: str = "w", **more: Any) -> Spec:
        """An instance in a process of its own; `body` is that of its run method, or a whole class."""
        self.agents.mkdir(exist_ok=True)
        lines = body if body.lstrip().startswith("class ") else _AGENT + indent(dedent(body), " " * 8)
        (self.agents / f"{worker}.py").write_text(_IMPORTS + dedent(lines))
        return self.spec(worker, runtime="process", **more)

    def sync(self, *specs: Spec) -> Report:
        self.want = {spec.instance: spec for spec in specs}
        return self.look()

    def look(self) -> Report:
        report = self.host.sync(self.want, self.services.clock.monotonic() + 30.0)
        self.facts += report.facts
        return report

    def leap(self, seconds: float) -> None:
        """The time passes at once: whatever is due by then is due now, however slow the machine is."""
        clock = self.services.clock
        assert isinstance(clock, LeapingClock)
        clock.ahead_s += seconds
        self.sync(*self.want.values())

    def states(self) -> dict[str, str]:
        return {key: seen.state.value for key, seen in self.look().states.items()}

    def runs(self, worker: str = "sh") -> list[Any]:
        return [run for run in self.ledger.runs.recent(worker, 100) if run.ended_at is not None]

    def ended(self, worker: str = "sh", count: int = 1) -> Any:
        """The last of `count` runs that have ended."""
        return until(lambda: len(runs := self.runs(worker)) >= count and runs[0], f"{count} runs of {worker}")

    def log(self, worker: str = "sh") -> str:
        return "\n".join(texts(Log(self.services.logs.path(worker), parse).tail(n=1000)))


@pytest.fixture
def rig(home: Path, ledger: Ledger, agents: Agents) -> Iterator[Rig]:
    clock = LeapingClock()
    manager = f"m-{secrets.token_hex(6)}"  # tests run side by side, and a leash ends what bears its manager's name
    leash = Leash(manager)
    logs = WorkerLogs(home / "logs" / "workers", clock)
    nursery = Nursery(manager, leash)
    exchange = Exchange(load_settings({"NOVA_HOME": str(home)}, home), clock.now)
    services = Services(
        manager,
        ledger,
        clock,
        logs,
        leash,
        str(home),
        agents,
        exchange,
        nursery=nursery,
        normals=Normals(ledger, clock),
        links=TrackedLinks(ledger, "https://go.example", home),
    )
    rig = Rig(services, {})
    yield rig
    rig.host.stop(2.0)
    nursery.close()
    leash.close()
    logs.close()
