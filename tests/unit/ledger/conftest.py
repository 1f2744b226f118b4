"""A ledger of its own and a clock that stands still, for every test of the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from nova.clock import ManualClock
from nova.ledger.store import Store


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 21, 12, 0, tzinfo=UTC))


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path}/ledger.db", currency="USD", zone=ZoneInfo("UTC"), clock=clock)
    yield opened
    opened.close()
