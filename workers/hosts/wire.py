"""Messages between a manager and a worker's process: one JSON object a line, over a socket, bounded and checked."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from nova.errors import (
    BudgetExceeded,
    LedgerConflict,
    NotFound,
    NovaError,
    PlatformNotConfigured,
    PlatformRefused,
    Refused,
    Unreachable,
    UsageProblem,
)
from nova.ledger.effects import EffectFailed, EffectHeld, Mark
from nova.money import MAX_MICROS, Money
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
from workers.gate import LateRun
from workers.outbox import EffectsFailed

MAX_MESSAGE = 4_000_000  # bytes a worker may send at once: a value of its state has at most a megabyte
_CHUNK = 65_536
_LONGEST_S = 1e9
_LANE = re.compile(r"[a-z0-9_]{1,40}(/[a-z0-9_.:-]{1,255})?")

_ERRORS: dict[str, type[NovaError]] = {
    kind.__name__: kind
    for kind in (
        NovaError, UsageProblem, NotFound, Refused, LedgerConflict, BudgetExceeded, PlatformNotConfigured,
        PlatformRefused, Unreachable, LateRun, EffectHeld, EffectFailed, EffectsFailed, PlatformFailed, InvalidRequest,
        Missing, Conflicting, Declined, InDoubt, Forbidden, BadAnswer, NotConnected, RateLimited, Stopped,
    )
}  # fmt: skip


class BadMessage(NovaError):
    """The worker's process sent what is no message."""


class Channel:
    """One end. Any thread may send; one at a time receives."""

    def __init__(self, end: socket.socket, most: int | None = None) -> None:
        self._socket = end
        self._most = most
        self._sending = threading.Lock()
        self._owed: list[bytes] = []
        self._rest = bytearray()

    def send(self, message: dict[str, Any]) -> None:
        """Raises OSError when the other side is gone."""
        line = _line(message)
        with self._sending:
            self._socket.sendall(line)
        self._pay()

    def post(self, message: dict[str, Any]) -> None:
        """Never waits: what cannot be sent at once goes with the next message, or is lost with the other side."""
        self._owed.append(_line(message))
        self._pay()

    def _pay(self) -> None:
        while self._owed and self._sending.acquire(blocking=False):
            try:
                if self._owed:
                    self._socket.send(self._owed[0], socket.MSG_DONTWAIT)  # a short line goes as a whole or not at all
                    del self._owed[0]
            except OSError:
                return
            finally:
                self._sending.release()

    def receive(self) -> dict[str, Any] | None:
        """The next message; None at the end. Raises BadMessage."""
        searched = 0
        while (end := self._rest.find(b"\n", searched)) < 0:
            searched = len(self._rest)
            if self._most is not None and searched > self._most:
                raise BadMessage(f"the worker's process sent a message of more than {self._most} bytes")
            try:
                data = self._socket.recv(_CHUNK)
            except ConnectionResetError:
                data = b""
            if not data:
                if self._rest:
                    raise BadMessage("the worker's process sent half a message")
                return None
            self._rest += data
        line = bytes(self._rest[:end])
        del self._rest[: end + 1]
        return _parsed(line)

    def quiet(self) -> bool:
        """Whether nothing waits to be received."""
        if self._rest:
            return False
        try:
            return not self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return True

    def close(self) -> None:
        self._socket.close()


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise BadMessage(f"the worker's process sent what is no message: {line[:100].decode('utf-8', 'replace')!r}")
    return message


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)


def error_to_wire(problem: NovaError) -> dict[str, Any]:
    """By the nearest class that both sides know."""
    kind = next(one.__name__ for one in type(problem).__mro__ if one.__name__ in _ERRORS)
    told: dict[str, Any] = {"kind": kind, "message": problem.message, "hint": problem.hint}
    if isinstance(problem, RateLimited) and problem.retry_after_s is not None:
        told["retry_after_s"] = problem.retry_after_s
    return told


def error_of_wire(told: dict[str, Any]) -> NovaError:
    kind, message, hint = told.get("kind"), told.get("message"), told.get("hint")
    known = _ERRORS.get(kind, NovaError) if isinstance(kind, str) else NovaError
    words = hint if isinstance(hint, str) else None
    if issubclass(known, RateLimited):
        after_s = told.get("retry_after_s")
        return known(str(message), hint=words, retry_after_s=None if after_s is None else seconds(after_s))
    return known(str(message), hint=words)


Reader = Callable[[Any], Any]


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise BadMessage(f"a text was expected, not {_shown(value)}")
    return value


def text_or_none(value: Any) -> str | None:
    return None if value is None else text(value)


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadMessage(f"true or false was expected, not {_shown(value)}")
    return value


def texts(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise BadMessage(f"a list was expected, not {_shown(value)}")
    return [text(one) for one in value]


def lane(value: Any) -> str:
    if not _LANE.fullmatch(text(value)):
        raise BadMessage(f"a platform's lane was expected, not {_shown(value)}")
    return str(value)


def seconds(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= _LONGEST_S:
        raise BadMessage(f"some seconds were expected, not {_shown(value)}")
    return float(value)


def anything(value: Any) -> Any:
    return value


def money(value: Any) -> Money:
    """Of `[millionths, "USD"]`."""
    match value:
        case [int(micros), str(code)] if not isinstance(micros, bool) and len(code) == 3 and code.isascii():
            if 0 <= micros <= MAX_MICROS and code.isupper():
                return Money(micros, code)
    raise BadMessage(f"an amount of money was expected, not {_shown(value)}")


def mark_or_none(value: Any) -> Mark | None:
    match value:
        case None:
            return None
        case [int(due_us), str(topic), str(key)] if not isinstance(due_us, bool) and abs(due_us) < 2**63:
            return due_us, topic, key
    raise BadMessage(f"the place of an effect was expected, not {_shown(value)}")


def plain_money(amount: Money) -> list[Any]:
    return [amount.micros, amount.currency]


def _shown(value: Any) -> str:
    return repr(value)[:100]


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the Desk that may come from another process: how each of its arguments is read."""

    takes: tuple[Reader, ...] = ()


CALLS: dict[str, Call] = {
    "spend": Call((money, text)),
    "spent": Call((money, text)),
    "reserve": Call((money, flag)),
    "settle": Call((text, money, text)),
    "earn": Call((money, text, text_or_none)),
    "claim": Call((text, text)),
    "map": Call((text, text, text)),
    "state_get": Call((text,)),
    "state_set": Call((text, anything)),
    "state_delete": Call((text,)),
    "state_keys": Call(),
    "outbox_put": Call((text, text, anything)),
    "outbox_take": Call((text_or_none, mark_or_none)),
    "outbox_begin": Call((text, text, anything)),
    "outbox_done": Call((text, text, anything)),
    "outbox_failed": Call((text, text, text)),
    "outbox_release": Call((text, text)),
    "link": Call((text, text_or_none, text_or_none, text_or_none, text_or_none)),
    "way_out": Call((text,)),
    "turn_begin": Call((text,)),
    "turn_end": Call((text,)),
    "suppressed": Call((texts,)),
    "suppress": Call((texts, text)),
    "pace": Call((lane, seconds)),
    "hold": Call((lane, seconds)),
    "lineage": Call(),
    "once_begin": Call((text, text, anything)),
    "once_doubt": Call((text, text, text)),
    "once_forget": Call((text, text)),
}


def read_call(name: Any, arguments: Any) -> tuple[str, list[Any]]:
    """Raises BadMessage for what is no call, or not with these arguments."""
    call = CALLS.get(name) if isinstance(name, str) else None
    if call is None:
        raise BadMessage(f"the worker's process asked for {_shown(name)}, which there is not")
    if not isinstance(arguments, list) or len(arguments) != len(call.takes):
        raise BadMessage(f"the worker's process called {name} with {_shown(arguments)}")
    return name, [read(value) for read, value in zip(call.takes, arguments, strict=True)]
