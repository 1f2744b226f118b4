"""A nova whose clock is moved by hand, and alerts that are remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nova.bootstrap import Nova, build
from nova.clock import ManualClock
from nova.config import load_settings
from tests import signing

KEYS = {
    "STRIPE_WEBHOOK_SECRET": signing.STRIPE_SECRET,
    "GUMROAD_WEBHOOK_SECRET": "correct-horse-battery",
    "SENDGRID_WEBHOOK_KEY": signing.MAIL_KEY,
    "SHOP_SECRET": signing.STANDARD_SECRET,
    "PLAIN_SECRET": "plain-secret-value",
}


class Told:
    """Alerts by their event."""

    def __init__(self) -> None:
        self.alerts: list[tuple[str, str, str]] = []

    def send(self, event: str, title: str, body: str, key: str | None = None) -> bool:
        self.alerts.append((event, title, body))
        return True

    def close(self) -> None:
        pass

    def of(self, event: str) -> int:
        return sum(told[0] == event for told in self.alerts)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 21, 12, tzinfo=UTC))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def open_nova(clock: ManualClock, home: Path, told: Told) -> Iterator[Callable[..., Nova]]:
    opened: list[Nova] = []

    def open_one(*, grouped: bool = False, **environ: str) -> Nova:
        settings = load_settings({"NOVA_HOME": str(home), **KEYS, **environ}, home)
        nova = build(settings, clock, grouped=grouped, manages=False)
        alerts: Any = told
        nova.__dict__["alerts"] = alerts
        opened.append(nova)
        return nova

    yield open_one
    for nova in opened:
        nova.close()


@pytest.fixture
def nova(open_nova: Callable[..., Nova]) -> Nova:
    return open_nova()
