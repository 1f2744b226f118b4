from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from nova.autonomous.evidence import Evidence, SaleSize, Window
from nova.autonomous.interval import Takings
from nova.autonomous.policy import Policy
from nova.money import MICROS, Money

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def usd(text: str) -> Money:
    return Money.parse(text, "USD")


def make_window(
    sales: Iterable[float] = (),
    cost: str = "84",
    runs: int = 168,
    failed: int = 0,
    end: datetime = NOW,
    length: timedelta = timedelta(days=7),
    returns: Iterable[float] = (),
    fees: float = 0.0,
) -> Window:
    came, went = Takings.of(sales), Takings.of(returns)
    net = came.total - went.total - fees
    return Window(
        start=end - length,
        end=end,
        cost=usd(cost),
        revenue=Money(round(net * MICROS), "USD"),
        succeeded=runs - failed,
        failed=failed,
        sales=came,
        returns=went,
        fees=fees,
    )


def make_evidence(window: Window | None = None, **changes: Any) -> Evidence:
    window = window or make_window()
    given: dict[str, Any] = {
        "worker": "mailer",
        "department": "sales",
        "state": "active",
        "replicas": 1,
        "max_replicas": 10,
        "window": window,
        "replica_time": window.end - window.start,
        "budget_left": usd("1000"),
        "state_since": NOW - timedelta(days=30),
        "first_run_at": NOW - timedelta(days=30),
        "sale_size": SaleSize(1.0, "own"),
    }
    return Evidence(**{**given, **changes})


class Given:
    """The builders, for tests that cannot import a conftest."""

    now = NOW
    usd = staticmethod(usd)
    window = staticmethod(make_window)
    evidence = staticmethod(make_evidence)

    @staticmethod
    def policy(**overrides: str) -> Policy:
        defaults = Policy(require_approval_above=usd("50"), max_daily_budget=usd("100"))
        return Policy.from_overrides(defaults, overrides, version=1)


@pytest.fixture(scope="session")
def given() -> type[Given]:
    return Given


@pytest.fixture(scope="session")
def builders() -> type[Given]:
    """The same under a name that leaves hypothesis its own."""
    return Given


@pytest.fixture(scope="session")
def settings() -> Callable[..., Any]:
    class Settings:
        nova_currency = "USD"
        max_daily_budget = Decimal(100)
        min_roi_threshold = 150.0
        scale_roi_threshold = 300.0
        kill_roi_threshold = 0.0
        require_approval_above = Decimal(50)

    def make(**changes: Any) -> Any:
        made = Settings()
        for name, value in changes.items():
            setattr(made, name, value)
        return made

    return make
