"""The storefront, with every exchange held against Stripe's published document, and localstripe in its own process."""

from __future__ import annotations

import importlib.util
import json
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
from openapi_schema_validator import OAS30Validator

from nova.clock import ManualClock
from nova.demo.storefront import Exchange, Storefront
from nova.demo.stripe_account import Account
from platforms.stripe_integration import Stripe
from tests.hands import QuickHands

_EXTRACT = Path(__file__).parents[2] / "data" / "stripe_openapi_extract.json"
_LOCALSTRIPE = """
import sys
from aiohttp import web
from localstripe import resources, server
resources.Store.dump_to_disk = lambda self: None
web.run_app(server.app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""


class Document:
    """What Stripe publishes: it says of each exchange what is wrong with it."""

    def __init__(self) -> None:
        self._document = _null_where_nullable(json.loads(_EXTRACT.read_text()))
        self.problems: list[str] = []
        self.checked = 0

    def names(self, request: str) -> set[str]:
        return set(self._document["requests"][self._key(request)]["properties"])

    def requests(self) -> set[str]:
        return {_without_ids(key) for key in self._document["requests"]}

    def hear(self, exchange: Exchange) -> None:
        if "invoice_payments" in exchange.request:  # newer than the document
            return
        self.checked += 1
        if exchange.status >= 400:
            self._check(exchange, {"$ref": "#/components/schemas/error"}, exchange.body, "answer")
            return
        key = self._key(exchange.request)
        asked = self._document["requests"][key]
        self._check(exchange, asked, _typed(asked, exchange.params), "request")
        self._check(exchange, self._document["responses"][key], exchange.body, "answer")

    def _check(self, exchange: Exchange, schema: dict[str, Any], body: object, part: str) -> None:
        whole = {**schema, "components": self._document["components"]}
        for error in OAS30Validator(whole).iter_errors(body):
            cause = _nearest(error)
            self.problems.append(f"{exchange.request} {part}: {cause.json_path}: {cause.message[:300]}")

    def _key(self, request: str) -> str:
        return next(key for key in self._document["requests"] if _without_ids(key) == request)


def _null_where_nullable(schema: Any) -> Any:
    """OpenAPI 3.0 lets `nullable` act only beside `type`; Stripe means it beside `anyOf` and `enum` too."""
    if isinstance(schema, list):
        return [_null_where_nullable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    said = {key: _null_where_nullable(value) for key, value in schema.items()}
    if said.get("nullable") is True:
        if "enum" in said:
            said["enum"] = [*said["enum"], None]
        if "anyOf" in said:
            said["anyOf"] = [*said["anyOf"], {"enum": [None]}]
    return said


def _typed(schema: dict[str, Any], value: Any) -> Any:
    """Forms carry texts: numbers and booleans are read where the document has them."""
    if isinstance(value, dict):
        inner = schema.get("properties", {})
        return {key: _typed(inner.get(key, {}), item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(schema.get("items", {}), item) for item in value]
    if schema.get("type") == "integer" and isinstance(value, str):
        return int(value)
    return value


def _nearest(error: Any) -> Any:
    """Of what fits none of several shapes: what is wrong with the shape that fits best."""
    while error.context:
        branches: dict[int, list[Any]] = {}
        for inner in error.context:
            branches.setdefault(inner.schema_path[0], []).append(inner)
        error = min(branches.values(), key=lambda wrong: (any("object" in e.absolute_path for e in wrong), len(wrong)))[
            0
        ]
    return error


def _without_ids(key: str) -> str:
    return "/".join("{id}" if part.startswith("{") else part for part in key.split("/"))


@pytest.fixture(scope="session")
def published() -> Document:
    return Document()


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
    problems, published.problems = published.problems, []
    assert not problems, "\n".join(list(dict.fromkeys(problems))[:12])


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
