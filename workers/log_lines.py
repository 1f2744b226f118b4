"""What a line of a log is: written as one JSON object, read back from that or from ordinary text. Pure."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from nova.errors import UsageProblem

LEVELS: Mapping[str, int] = {name: getattr(logging, name) for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")}
LONGEST = 65_536  # characters of a message, and of the lines that share an object
_MOST_FIELDS = 16_384
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)
_PLAIN = re.compile(r"(\d{4}-\d\d-\d\dT\S+) (\S+#\d+) (.*)", re.DOTALL)  # TIME INSTANCE MESSAGE
_EVENT = re.compile(rf"(\d{{4}}-\d\d-\d\dT\S+) ({'|'.join(LEVELS)}) +(\S+) (.*)", re.DOTALL)  # TIME LEVEL LOGGER EVENT


@dataclass(frozen=True, slots=True)
class LogLine:
    """`stream` is stdout or stderr where a worker printed it; `at` is null in what was written by no nova."""

    message: str
    at: str | None = None
    level: str = "INFO"
    instance: str | None = None
    run: str | None = None
    stream: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    def parts(self) -> list[LogLine]:
        """What was printed at once, line by line; what was logged is one, however many lines it has."""
        if self.stream is None or "\n" not in self.message:
            return [self]
        return [replace(self, message=part) for part in self.message.split("\n")]

    def document(self) -> dict[str, Any]:
        return {
            "at": self.at, "level": self.level, "instance": self.instance, "run": self.run, "stream": self.stream,
            "message": self.message, "fields": dict(self.fields),
        }  # fmt: skip

    def text(self) -> list[str]:
        """As a person reads it, every line with its head; what was printed has no level."""
        shown = {name: value if isinstance(value, str) else _json(value) for name, value in self.fields.items()}
        told = "".join(f" {name}={value}" for name, value in shown.items()).replace("\n", "\\n")
        level = None if self.stream is not None and self.level == "INFO" else self.level
        head = "".join(f"{part} " for part in (self.at, self.instance, level if self.at else None) if part)
        first, *rest = self.message.split("\n")
        return [f"{head}{first}{told}", *(f"{head}{line}" for line in rest)]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines of a log: `until` is past them, `since` among them. The default is all."""

    instance: str | None = None
    level: str = "DEBUG"
    since: datetime | None = None
    until: datetime | None = None

    def has(self, line: LogLine) -> bool:
        if self.instance is not None and line.instance != self.instance:
            return False
        if LEVELS.get(line.level, logging.INFO) < LEVELS[self.level]:
            return False
        return (self.since is None and self.until is None) or self._in_time(line.at)

    def _in_time(self, told: str | None) -> bool:
        try:
            at = datetime.fromisoformat(told or "")
            return (self.since is None or at >= self.since) and (self.until is None or at < self.until)
        except (ValueError, TypeError):  # no time, or one without a zone
            return False


def level_named(text: str) -> str:
    """Raises UsageProblem."""
    name = {"WARN": "WARNING", "FATAL": "CRITICAL"}.get(text.strip().upper(), text.strip().upper())
    if name not in LEVELS:
        raise UsageProblem(f"not a level: {text!r}", hint=f"one of {', '.join(LEVELS)}")
    return name


def level_of(number: int) -> str:
    """The highest of the five that `number` reaches."""
    return next((name for name, least in reversed([*LEVELS.items()]) if number >= least), "DEBUG")


def encode(
    at: str,
    level: str,
    instance: str,
    run: str | None,
    stream: str | None,
    message: str,
    fields: Mapping[str, Any],
) -> str:
    """One JSON object and a newline. Lines that were printed at once share an object: they may be thousands."""
    body: dict[str, Any] = {"at": at, "level": level, "instance": instance}
    body |= {name: value for name, value in (("run", run), ("stream", stream)) if value}
    fields = _bounded(fields)
    return _json(body | {"message": message} | ({"fields": fields} if fields else {})) + "\n"


def _json(value: Any) -> str:
    return _ENCODER.encode(value)


def json_fields(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """As JSON has them: what it lacks as text."""
    return _bounded({name: _as_json(value) for name, value in fields.items()})


def _as_json(value: Any) -> Any:
    try:
        return json.loads(json.dumps(value, default=str, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        return str(value)


def _bounded(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    size = len(_json(fields)) if fields else 0
    return fields if size <= _MOST_FIELDS else {"too_large": f"{size} characters"}


def parse(raw: bytes) -> LogLine:
    """A line of a worker's log. What is none, as half a line that a full disk left, is a message without a head."""
    text = raw.decode("utf-8", "replace")
    if raw[:1] == b"{" and (body := _object(text)) is not None and isinstance(body.get("message"), str):
        fields = body.get("fields")
        words = {name: _text(body.get(name)) for name in ("at", "instance", "run", "stream")}
        level = _text(body.get("level")) or "INFO"
        return LogLine(body["message"], level=level, fields=fields if isinstance(fields, dict) else {}, **words)
    plain = _PLAIN.fullmatch(text)
    return LogLine(text) if plain is None else LogLine(plain[3], plain[1], instance=plain[2], stream="stdout")


def parse_event(raw: bytes) -> LogLine | None:
    """A line of the manager's own log, in either format; None for one that goes on with the event before it."""
    text = raw.decode("utf-8", "replace")
    if raw[:1] == b"{" and (body := _object(text)) is not None and isinstance(body.get("action"), str):
        fields = {name: value for name, value in body.items() if name not in ("at", "level", "action")}
        return LogLine(body["action"], _text(body.get("at")), _text(body.get("level")) or "INFO", fields=fields)
    event = _EVENT.fullmatch(text)
    return None if event is None else LogLine(event[4], event[1], event[2], fields={"logger": event[3]})


def _object(text: str) -> dict[str, Any] | None:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def joined(lines: Sequence[bytes]) -> str:
    return b"\n".join(lines).decode("utf-8", "replace")
