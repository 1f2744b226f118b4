from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from nova.errors import BudgetExceeded, LedgerConflict, NovaError, UsageProblem
from nova.money import Money
from platforms.base import (
    BadAnswer,
    Conflicting,
    Declined,
    Forbidden,
    InDoubt,
    InvalidRequest,
    Missing,
    NotConnected,
    PlatformFailed,
    RateLimited,
    Stopped,
)
from workers.hosts.wire import CALLS, BadMessage, Channel, error_of_wire, error_to_wire, plain_money, read_call


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    here, there = socket.socketpair()
    channel = Channel(here, 1000)
    yield channel, there
    channel.close()
    there.close()


def test_messages_come_whole_however_they_were_cut(ends: tuple[Channel, socket.socket]) -> None:
    channel, there = ends
    for piece in (b'{"a"', b":1}\n{", b'"b":"\\u00e9"}\n'):
        there.sendall(piece)
    assert (channel.receive(), channel.receive()) == ({"a": 1}, {"b": "é"})
    assert channel.quiet()


@pytest.mark.parametrize(
    "sent",
    [b"[1]\n", b"nonsense\n", b"\xff\xfe\n", b'{"a":NaN}\n', b'{"a":' + b"9" * 900 + b"e\n", b"x" * 3000, b'{"half"'],
)
def test_what_is_no_message_is_refused(sent: bytes, ends: tuple[Channel, socket.socket]) -> None:
    channel, there = ends
    there.sendall(sent)
    there.shutdown(socket.SHUT_WR)
    with pytest.raises(BadMessage):
        channel.receive()


def test_the_end_is_told_and_what_waits_is_seen(ends: tuple[Channel, socket.socket]) -> None:
    channel, there = ends
    there.sendall(b'{"late":1}\n')
    assert not channel.quiet()
    channel.receive()
    there.close()
    assert channel.receive() is None


def test_posting_never_waits_for_a_reader_and_goes_with_the_next_message(ends: tuple[Channel, socket.socket]) -> None:
    channel, there = ends
    there.settimeout(10)
    sender = threading.Thread(target=channel.send, args=({"long": "x" * 1_000_000},))
    sender.start()
    assert there.recv(1) == b"{"  # it is being sent, and fills the socket
    channel.post({"stop": True})
    received = b"{"
    while not received.endswith(b'{"stop":true}\n'):
        received += there.recv(65_536)
    sender.join()
    assert received.count(b"\n") == 2


@pytest.mark.parametrize(
    "problem",
    [
        UsageProblem("wrong", hint="do it right"), LedgerConflict("twice"), NovaError("it failed"), Declined("no"),
        Missing("gone"), InDoubt("who knows", hint="look"), Forbidden("no"), Stopped(), BadAnswer("half"),
        NotConnected("off"), InvalidRequest("bad"), Conflicting("twice"), PlatformFailed("odd"),
    ],
)  # fmt: skip
def test_errors_keep_their_class_their_words_and_their_hint(problem: NovaError) -> None:
    back = error_of_wire(error_to_wire(problem))
    assert (type(back), back.message, back.hint) == (type(problem), problem.message, problem.hint)


@pytest.mark.parametrize("after_s", [None, 0.0, 7.5])
def test_a_limit_keeps_how_long_it_holds(after_s: float | None) -> None:
    back = error_of_wire(error_to_wire(RateLimited("slowly", retry_after_s=after_s)))
    assert isinstance(back, RateLimited)
    assert back.retry_after_s == after_s


def test_an_error_that_only_one_side_knows_arrives_as_the_nearest_that_both_do() -> None:
    class Refusal(BudgetExceeded):
        """Not this time."""

    assert type(error_of_wire(error_to_wire(Refusal()))) is BudgetExceeded
    assert type(error_of_wire({"kind": "SystemExit", "message": "no"})) is NovaError


def test_money_crosses_to_the_millionth() -> None:
    price = Money.parse("0.000001", "EUR")
    assert read_call("spend", [plain_money(price), ""]) == ("spend", [price, ""])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("no_such_call", []),
        (["spend"], []),
        ("spend", None),
        ("spend", [[1, "USD"]]),
        ("spend", [[1.5, "USD"], ""]),
        ("spend", [[True, "USD"], ""]),
        ("spend", [[-1, "USD"], ""]),
        ("spend", [[10**18, "USD"], ""]),
        ("spend", [[1, "usd"], ""]),
        ("spend", [[1, "USD"], 7]),
        ("reserve", [[1, "USD"], "yes"]),
        ("earn", [[1, "USD"], None, None]),
        ("outbox_take", [None, [1, 2, 3]]),
        ("pace", ["Not a lane", 0.0]),
        ("pace", ["a/b/c", 0.0]),
        ("hold", ["stripe", -1]),
        ("hold", ["stripe", True]),
        ("once_begin", ["post", None, {}]),
    ],
)
def test_a_call_that_makes_no_sense_is_refused(name: Any, arguments: Any) -> None:
    with pytest.raises(BadMessage):
        read_call(name, arguments)


def test_every_call_is_one_of_the_desk() -> None:
    from workers.hosts.local_desk import LocalDesk
    from workers.hosts.remote_desk import RemoteDesk

    assert all(hasattr(LocalDesk, name) and hasattr(RemoteDesk, name) for name in CALLS)
