"""Gumroad's emulator, with every exchange held against the shapes that Gumroad documents, and a nova that syncs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nova.bootstrap import Nova, build
from nova.clock import ManualClock
from nova.config import load_settings
from platforms.gumroad_integration import Gumroad
from platforms.line import Patience
from tests.emulators.gumroad import Gumroad as Emulator
from tests.emulators.gumroad_shop import Shop
from tests.hands import QuickHands
from tests.published import Document


@pytest.fixture(scope="session")
def published() -> Document:
    return Document("gumroad", forms=True, file="gumroad_schema.json")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 5, 1, 12, tzinfo=UTC))


@pytest.fixture
def shop(clock: ManualClock) -> Shop:
    return Shop(clock.now)


@pytest.fixture
def emulate(published: Document) -> Iterator[Callable[..., Emulator]]:
    """Opens emulators; at the end every exchange must have been as Gumroad documents it."""
    opened: list[Emulator] = []

    def open_one(shop: Shop, **options: Any) -> Emulator:
        opened.append(Emulator(shop, on_exchange=published.hear, **options).__enter__())
        return opened[-1]

    yield open_one
    for one in opened:
        one.__exit__()
    assert not (problems := published.take_problems()), problems


@pytest.fixture
def server(emulate: Callable[..., Emulator], shop: Shop) -> Emulator:
    return emulate(shop)


@pytest.fixture
def hands() -> QuickHands:
    return QuickHands()


@pytest.fixture
def connect(hands: QuickHands) -> Iterator[Callable[..., Gumroad]]:
    """Opens clients whose waiting is written down instead of done."""
    opened: list[Gumroad] = []

    def open_one(server: Any, **options: Any) -> Gumroad:
        options = {"hands": hands, "patience": Patience(attempts=3), **options}
        opened.append(Gumroad(options.pop("token", getattr(server, "token", "t")), server.url, **options))
        return opened[-1]

    yield open_one
    for client in opened:
        client.close()


@pytest.fixture
def gumroad(server: Emulator, connect: Callable[..., Gumroad]) -> Gumroad:
    return connect(server)


@pytest.fixture
def open_nova(clock: ManualClock, tmp_path: Path) -> Iterator[Callable[..., Nova]]:
    """Opens a nova by the name of its home; the same name is the same home."""
    opened: list[Nova] = []

    def open_one(name: str = "home", **environ: str) -> Nova:
        opened.append(build(load_settings({"NOVA_HOME": str(tmp_path / name), **environ}, tmp_path), clock))
        return opened[-1]

    yield open_one
    for nova in opened:
        nova.close()


@pytest.fixture
def nova(open_nova: Callable[..., Nova]) -> Nova:
    return open_nova()
