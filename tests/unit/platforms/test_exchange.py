from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from nova.config import load_settings
from nova.errors import NovaError, Unreachable
from platforms.base import Declined, Missing, RateLimited
from platforms.connections import Connections
from platforms.exchange import Exchange, is_local
from platforms.health import Health

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("http://127.0.0.1:8000", True), ("http://localhost", True), ("http://[::1]:9/v1", True),
        ("http://shop.localhost", True), ("https://api.stripe.com", False), ("http://10.0.0.1", False),
        ("https://localhost.example.com", False),
    ],
)  # fmt: skip
def test_an_address_of_this_machine_is_an_emulators(address: str, local: bool) -> None:
    assert is_local(address) is local


def test_an_emulator_is_paced_by_its_own_limits_alone(home: Path) -> None:
    settings = load_settings({"NOVA_HOME": str(home), "STRIPE_API_BASE": "http://127.0.0.1:1"}, home)
    paces = Exchange(settings).paces
    assert not any(paces.take("stripe") for _ in range(1000))
    assert any(paces.take("twitter/write") for _ in range(3))
    paces.hold("stripe", 60)
    assert paces.take("stripe") > 0


def test_clients_are_made_for_each_run_and_share_what_is_open(home: Path) -> None:
    environ = {"NOVA_HOME": str(home), "STRIPE_API_KEY": "sk_test_1", "GUMROAD_ACCESS_TOKEN": "t"}
    exchange = Exchange(load_settings(environ, home))
    one, other = exchange.platforms(), exchange.platforms()
    assert one.stripe is one.stripe is not other.stripe
    assert one.stripe._http is other.stripe._http
    assert one.gumroad._wire is other.gumroad._wire
    one.gumroad.close()
    one.stripe.close()
    assert exchange.connections.http("x") is exchange.connections.http("x")
    exchange.close()


def test_what_does_not_close_keeps_nothing_else_open(caplog: pytest.LogCaptureFixture) -> None:
    closed = []

    def fail(_one: object) -> None:
        raise OSError

    connections = Connections()
    connections.of("a", object, fail)
    connections.of("b", object, closed.append)
    connections.close()
    connections.close()
    assert len(closed) == 1


def test_answers_limits_and_errors_are_told_apart_and_secrets_left_out() -> None:
    health = Health(lambda: NOW, lambda text: text.replace("hunter2", "***"))
    problems = (None, Declined("no"), Missing("no"), RateLimited(), Unreachable("cut hunter2"), ValueError("hunter2"))
    for problem in problems:
        health.seen("p", "post", 0.5, problem)
    health.seen("q", "get", 1.5, NovaError("odd"))
    first, second = health.take()
    assert (first.calls, first.errors, first.limited, first.seconds, first.longest_s) == (6, 2, 1, 3.0, 0.5)
    assert first.last_error == "post: ValueError"
    assert (second.platform, second.hour, second.last_error) == ("q", int(NOW.timestamp()) // 3600, "get: odd")
    assert health.take() == []
    health.seen("p", "get", 2.0, Unreachable("cut hunter2"))
    health.put_back([first])
    (both,) = health.take()
    assert (both.calls, both.errors, both.longest_s, both.last_error) == (7, 3, 2.0, "get: cut ***")
