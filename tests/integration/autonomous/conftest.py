from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nova.autonomous.cycle import CycleResult, run_cycle
from nova.clock import ManualClock
from nova.config import Settings, load_settings
from nova.fleet.documents import Declaration, Deployment
from nova.fleet.fleet import Fleet
from nova.ledger.entries import Entry
from nova.ledger.ledger import Ledger
from nova.ledger.runs import RunRecord, import_runs
from nova.money import Money

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass
class Alerts:
    sent: list[tuple[str, str, str]] = field(default_factory=list)

    def send(self, event: str, title: str, body: str) -> None:
        self.sent.append((event, title, body))


@dataclass
class Office:
    """A real fleet and a real ledger in a throw-away home, and a clock that stands still."""

    settings: Settings
    clock: ManualClock
    fleet: Fleet
    ledger: Ledger
    alerts: Alerts
    ids: Iterator[int] = field(default_factory=itertools.count)

    def deploy(self, name: str, **given: Any) -> Deployment:
        asked = {"department": "research", "agent": "shell", "every_s": 3600.0, **given}
        asked.setdefault("config", {"command": "true"})
        return self.fleet.deploy(Declaration(name=name, **asked)).deployment

    def money(self, worker: str, kind: str, amount: str, at: datetime, source: str = "history", **more: Any) -> None:
        entry = Entry(f"e{next(self.ids)}", source, kind, Money.parse(amount, "USD"), at, worker, **more)
        self.ledger.entries.record([entry])

    def runs(self, worker: str, count: int, until: datetime, every: timedelta = HOUR, failed: int = 0) -> None:
        records = []
        for i in range(count):
            at = until - (count - i - 0.5) * every
            status = "failed" if i < failed else "succeeded"
            ended = at + timedelta(seconds=1)
            records.append(RunRecord(f"r{next(self.ids)}", worker, f"{worker}#1", at, ended, status))
        self.ledger.apply(lambda conn: import_runs(conn, records))

    def history(
        self,
        worker: str,
        *,
        cost: str,
        revenue: str,
        runs: int = 168,
        end: datetime = NOW,
        failed: int = 0,
        source: str = "history",
    ) -> None:
        """A run, a cost and a sale every hour."""
        self.runs(worker, runs, end, failed=failed)
        entries = []
        for i in range(runs):
            at = end - (runs - i - 0.5) * HOUR
            for kind, amount in (("cost", cost), ("revenue", revenue)):
                money = Money.parse(amount, "USD")
                if money:
                    entries.append(Entry(f"e{next(self.ids)}", source, kind, money, at, worker))
        self.ledger.entries.record(entries)

    def enable(self, **policy: str) -> None:
        self.fleet.set_autonomous(True)
        if policy:
            self.fleet.set_policy(policy)

    def cycle(self, **options: Any) -> CycleResult:
        return run_cycle(self, **options)

    def outcome(self, **options: Any) -> dict[str, tuple[str, str]]:
        """Kind and state by worker."""
        return {one.worker: (one.kind, one.state) for one in self.cycle(**options).decisions}


@pytest.fixture
def office(home: Path) -> Iterator[Office]:
    settings = load_settings({"NOVA_HOME": str(home)})
    clock = ManualClock(NOW)
    ledger = Ledger.open(settings.database_url, currency="USD", zone=settings.tz, clock=clock)
    yield Office(settings, clock, Fleet(settings.fleet_path, clock, "USD"), ledger, Alerts())
    ledger.close()


@pytest.fixture
def now() -> datetime:
    return NOW
