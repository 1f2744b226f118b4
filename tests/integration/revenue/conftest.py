"""A nova with a ledger, and a storefront it syncs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nova.bootstrap import Nova, build
from nova.clock import ManualClock
from nova.config import load_settings
from nova.demo.storefront import Storefront
from nova.demo.stripe_account import Account
from platforms import line


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many attempts as always, with short waits in between."""
    monkeypatch.setattr(line, "Patience", partial(line.Patience, first_s=0.001))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 5, 1, 12, tzinfo=UTC))


@pytest.fixture
def store(clock: ManualClock) -> Iterator[Storefront]:
    with Storefront(Account(clock=clock)) as opened:
        yield opened


@pytest.fixture
def open_nova(store: Storefront, clock: ManualClock, tmp_path: Path) -> Iterator[Callable[..., Nova]]:
    """Opens a nova by the name of its home; the same name is the same home."""
    opened: list[Nova] = []

    def open_one(name: str = "home", **environ: str) -> Nova:
        keys = {"STRIPE_API_KEY": store.key, "STRIPE_API_BASE": store.url}
        settings = load_settings({"NOVA_HOME": str(tmp_path / name), **keys, **environ}, tmp_path)
        opened.append(build(settings, clock))
        return opened[-1]

    yield open_one
    for nova in opened:
        nova.close()


@pytest.fixture
def nova(open_nova: Callable[..., Nova]) -> Nova:
    return open_nova()


@pytest.fixture
def figures() -> Callable[[Nova], dict[str, Any]]:
    """The whole report by worker and by source, without what may differ between two ledgers."""
    from nova.revenue.reports import report

    return lambda nova: {by: report(nova, by=by) for by in ("worker", "source", "day")}
