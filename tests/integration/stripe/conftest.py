"""The storefront, with every exchange held against Stripe's published document, and localstripe in its own process."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nova.clock import ManualClock
from nova.demo.storefront import Storefront
from nova.demo.stripe_account import Account
from platforms.stripe_integration import Stripe
from tests.hands import QuickHands
from tests.published import Document

_LOCALSTRIPE = """
import sys
from aiohttp import web
from localstripe import resources, server
resources.Store.dump_to_disk = lambda self: None
web.run_app(server.app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""


@pytest.fixture(scope="session")
def published() -> Document:
    return Document("stripe", forms=True, unpublished=("invoice_payments",))  # newer than the document


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 5, 1, 12, tzinfo=UTC))


@pytest.fixture
def storefront(published: Document, clock: ManualClock) -> Iterator[Callable[..., Storefront]]:
    """Opens storefronts; at the end every exchange must have been as Stripe publishes it."""
    opened: list[Storefront] = []

    def open_one(**options: Any) -> Storefront:
        account = Account(clock=clock, rates=options.pop("rates", None))
        store = Storefront(account, on_exchange=published.hear, **options)
        opened.append(store.__enter__())
        return store

    yield open_one
    for store in opened:
        store.__exit__()
    problems = published.take_problems()
    assert not problems, problems


@pytest.fixture
def store(storefront: Callable[..., Storefront]) -> Storefront:
    return storefront()


@pytest.fixture
def hands() -> QuickHands:
    return QuickHands()


@pytest.fixture
def connect(hands: QuickHands) -> Iterator[Callable[..., Stripe]]:
    """Opens clients whose waiting is written down instead of done."""
    opened: list[Stripe] = []

    def open_one(store: Storefront, **options: Any) -> Stripe:
        client = Stripe(options.pop("key", store.key), store.url, hands=hands, **options)
        opened.append(client)
        return client

    yield open_one
    for client in opened:
        client.close()


@pytest.fixture
def stripe(store: Storefront, connect: Callable[..., Stripe]) -> Stripe:
    return connect(store)


@pytest.fixture(scope="session")
def localstripe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that others wrote, on loopback and without its file."""
    if importlib.util.find_spec("localstripe") is None:
        if os.environ.get("CI"):
            pytest.fail("localstripe is missing in CI")
        pytest.skip("localstripe is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("localstripe") / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-c", _LOCALSTRIPE, str(port)], stdout=out, stderr=out)
    try:
        _wait_for(port, process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"localstripe did not start: {log.read_text()[-2000:]}")
