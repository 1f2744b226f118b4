"""A ledger and a fleet of their own, in a zone that changes its clocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from nova.clock import ManualClock
from nova.fleet.fleet import Fleet
from nova.ledger.entries import Entry
from nova.ledger.ledger import Ledger
from nova.money import Money

NOW = datetime(2026, 4, 10, 12, tzinfo=UTC)


@dataclass
class House:
    """Stands for `nova.bootstrap.Nova`."""

    ledger: Ledger
    fleet: Fleet
    clock: ManualClock
    settings: object = None

    def book(self, kind: str, amount: str, at: datetime, id: str | None = None, **more: str) -> None:
        number = self.ledger.verify().entries
        entry = Entry(
            id=id or f"e{number}", source=more.pop("source", "shop"), kind=kind, amount=Money.parse(amount, "USD"),
            at=at, worker=more.pop("worker", "mailer"), **more,
        )  # fmt: skip
        recorded = self.ledger.entries.record([entry])
        assert recorded.new == 1, recorded


@pytest.fixture
def open_house(tmp_path: Path) -> Iterator[Callable[[str], House]]:
    opened: list[House] = []

    def open_one(zone: str) -> House:
        clock = ManualClock(NOW)
        url = f"sqlite:///{tmp_path}/{len(opened)}.db"
        ledger = Ledger.open(url, currency="USD", zone=ZoneInfo(zone), clock=clock)
        opened.append(House(ledger, Fleet(tmp_path / f"{len(opened)}.json", clock, "USD"), clock))
        return opened[-1]

    yield open_one
    for house in opened:
        house.ledger.close()


@pytest.fixture
def house(open_house: Callable[[str], House]) -> House:
    return open_house("Europe/Berlin")
