"""What a command tells nova on its standard output: lines such as {"nova":"spend","amount":"0.12"}."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from nova.errors import NovaError
from nova.money import Money

MAX_LINE = 1_000_000


class MalformedMessage(NovaError):
    """A line of the command's output means something to nova but cannot be read."""


@dataclass(frozen=True, slots=True)
class Message:
    """`kind` is spend, spent, earn, claim, state or beat, a sign of life; the other fields are those the kind has."""

    kind: str
    amount: Money | None = None
    reason: str | None = None
    id: str | None = None
    source: str | None = None
    key: str | None = None
    value: Any = None


_TEXTS = {
    "spend": ("reason",),
    "spent": ("reason",),
    "earn": ("id",),
    "claim": ("source", "id"),
    "state": ("key",),
    "beat": (),
}
_NEEDED = {"spend": (), "spent": (), "earn": ("id",), "claim": ("source", "id"), "state": ("key",), "beat": ()}


def may_be_message(line: bytes) -> bool:
    """Cheap, so that a hundred megabytes of other output cost little."""
    return line[:1] in (b"{", b" ", b"\t") and line.lstrip()[:1] == b"{" and b'"nova"' in line[:MAX_LINE]


def parse(line: bytes, currency: str) -> Message | None:
    """The message in a line, or None where it is ordinary output. Raises MalformedMessage with what is wrong."""
    if not may_be_message(line):
        return None
    if len(line) > MAX_LINE:
        raise MalformedMessage("a nova message is longer than a megabyte")
    try:
        body = json.loads(line, parse_float=Decimal)
    except (ValueError, InvalidOperation):
        if line.split(b":", 1)[0].replace(b" ", b"") == b'{"nova"':
            raise MalformedMessage(f"not valid JSON: {_shown(line)}") from None
        return None
    if not isinstance(body, dict) or "nova" not in body:
        return None
    try:
        if body["nova"] == "state":
            body = json.loads(line)  # a value is kept as JSON has it, and only money needs its decimals
        return _message(body, currency)
    except NovaError as problem:
        raise MalformedMessage(f"{problem.message}: {_shown(line)}") from None


def _message(body: dict[str, Any], currency: str) -> Message:
    kind = body["nova"]
    if not isinstance(kind, str) or kind not in _TEXTS:
        raise MalformedMessage(f"unknown message {kind!r}, expected one of {', '.join(_TEXTS)}")
    texts = {name: body[name] for name in _TEXTS[kind] if body.get(name) is not None}
    for name, value in texts.items():
        if not isinstance(value, str) or not value:
            raise MalformedMessage(f"`{name}` must be a string")
    missing = [name for name in _NEEDED[kind] if name not in texts]
    if missing:
        raise MalformedMessage(f"`{missing[0]}` is missing")
    if kind in ("claim", "beat"):
        return Message(kind, **texts)
    if kind == "state":
        if "value" not in body:
            raise MalformedMessage("`value` is missing")
        return Message(kind, **texts, value=body["value"])
    if "amount" not in body:
        raise MalformedMessage("`amount` is missing")
    amount = Money.of(body["amount"], currency)
    if amount.micros < 0:
        raise MalformedMessage("`amount` is negative")
    return Message(kind, amount, **texts)


def _shown(line: bytes) -> str:
    return line.decode("utf-8", "replace").strip()[:200]


class LineSplitter:
    """Cuts a stream into lines in bounded memory: a line beyond the limit comes in pieces."""

    def __init__(self, limit: int = MAX_LINE + 1) -> None:
        self._limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        lines = (self._rest + data).split(b"\n") if self._rest else data.split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) >= self._limit:
            lines.append(self._rest)
            self._rest = b""
        return lines

    def rest(self) -> bytes:
        """What stands after the last newline, at the end of the stream."""
        rest, self._rest = self._rest, b""
        return rest
