"""The desk of a run in a process of its own: every call goes to its manager, over the channel."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nova.errors import UsageProblem
from nova.ledger.effects import Mark, Taken
from nova.ledger.state_value import encode
from nova.money import Money
from workers.gate import LateRun
from workers.hands import RunHands
from workers.hosts.desk import LONGEST_S, About
from workers.hosts.wire import Channel, error_of_wire, plain_money

if TYPE_CHECKING:
    from platforms.hands import Hands
    from workers.hosts.shell_run import CommandEnded

_BEAT_S = 0.5  # at most so often
_LINE_CHARS = 65_536
_LINES = 200


class Line:
    """The one channel of a process: numbers the calls, and hands each answer to who waits for it."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._waiting: dict[int, Answer] = {}
        self._calls = 0
        self._pid = os.getpid()

    def ask(self, name: str, arguments: Sequence[Any]) -> Answer:
        """Returns once it is sent."""
        if os.getpid() != self._pid:
            raise UsageProblem("a run's context works in the process it was given to, not in one forked from it")
        answer = Answer()
        with self._lock:
            self._calls += 1
            number = self._calls
            self._waiting[number] = answer
        self.tell({"call": name, "n": number, "args": list(arguments)})
        return answer

    def tell(self, message: dict[str, Any]) -> None:
        if os.getpid() == self._pid:
            try:
                self._channel.send(message)
            except OSError:
                raise LateRun("the manager of this run is gone") from None

    def answered(self, message: Mapping[str, Any]) -> None:
        with self._lock:
            answer = self._waiting.pop(message["n"], None)
        if answer is not None:
            answer.give(message)


class Answer:
    def __init__(self) -> None:
        self._here = threading.Event()
        self._message: Mapping[str, Any] = {}

    def give(self, message: Mapping[str, Any]) -> None:
        self._message = message
        self._here.set()

    def wait(self) -> Any:
        """What the manager answers, or raises it."""
        self._here.wait()
        if "error" in self._message:
            raise error_of_wire(self._message["error"])
        return self._message["value"]


class RemoteDesk:
    """A Desk. `close` is called when the run is over for this process: what comes later is late."""

    def __init__(self, line: Line, about: About, replicas: int, platforms: Callable[[Hands], Any]) -> None:
        self.about = about
        self.replicas = replicas
        self._line = line
        self._platforms = platforms
        self._stop = threading.Event()
        self._gate = threading.Lock()
        self._closed = False
        self._beaten_at = float("-inf")

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    @property
    def environment(self) -> Mapping[str, str]:
        return dict(os.environ)

    @property
    def platforms(self) -> Any:
        return self._platforms(RunHands(self))

    def stop(self) -> None:
        self._stop.set()

    def close(self, last: Mapping[str, Any]) -> None:
        """Says the last word of the run; no call can come after it."""
        with self._gate:
            self._closed = True
        self._line.tell(dict(last))

    def wait(self, seconds: float) -> bool:
        if seconds >= _BEAT_S:
            self.beat(min(seconds, LONGEST_S))
        return self._stop.wait(seconds)

    def now(self) -> datetime:
        return datetime.now(UTC)

    def beat(self, for_s: float = 0.0) -> None:
        now = time.monotonic()
        if for_s or now - self._beaten_at >= _BEAT_S:
            self._beaten_at = now
            self._note("beat", [for_s])

    def write_log(self, lines: Sequence[str], stream: str = "stdout") -> None:
        cut = [line[:_LINE_CHARS].encode("utf-8", "replace").decode() for line in lines]
        for first in range(0, len(cut), _LINES):
            self._note("printed", [cut[first : first + _LINES], stream])

    def log(self, level: str, message: str, fields: Mapping[str, Any]) -> None:
        self._note("logged", [level, message, dict(fields)])

    def command(self, text: str, cwd: str | None, env: Mapping[str, str]) -> CommandEnded:
        from workers.hosts.command import booking
        from workers.hosts.leader import starter
        from workers.hosts.shell_run import ShellRun

        run = ShellRun(starter(None, None), self.about.currency, booking(self), self.write_log)
        return run.run(text, cwd, env)

    def pace(self, lane: str, every_s: float) -> float:
        wait_s: float = self._ask("pace", _text(lane), every_s)
        return wait_s

    def hold(self, lane: str, seconds: float) -> None:
        self._ask("hold", _text(lane), seconds)

    def seen(self, platform: str, seconds: float, limited: bool, error: str | None) -> None:
        self._note("seen", [platform, seconds, limited, error])

    def lineage(self) -> str:
        lineage: str = self._ask("lineage")
        return lineage

    def spend(self, price: Money, reason: str) -> None:
        self._ask("spend", plain_money(price), _text(reason or ""))

    def spent(self, price: Money, reason: str) -> None:
        self._ask("spent", plain_money(price), _text(reason or ""))

    def reserve(self, ceiling: Money, release_on_death: bool) -> str:
        key: str = self._ask("reserve", plain_money(ceiling), bool(release_on_death))
        return key

    def settle(self, reservation: str, actual: Money, reason: str) -> None:
        self._ask("settle", reservation, plain_money(actual), _text(reason or ""))

    def earn(self, revenue: Money, external_id: str, note: str | None) -> bool:
        new: bool = self._ask("earn", plain_money(revenue), external_id, None if note is None else _text(note))
        return new

    def claim(self, source: str, object_id: str) -> None:
        self._ask("claim", _text(source), _text(object_id))

    def map(self, source: str, kind: str, object_id: str) -> None:
        self._ask("map", _text(source), _text(kind), _text(object_id))

    def state_get(self, key: str) -> tuple[bool, Any]:
        known, value = self._ask("state_get", _text(key))
        return known, value

    def state_set(self, key: str, value: Any) -> None:
        encode(key, value)
        self._ask("state_set", key, value)

    def state_delete(self, key: str) -> bool:
        return bool(self._ask("state_delete", _text(key)))

    def state_keys(self) -> Sequence[str]:
        keys: list[str] = self._ask("state_keys")
        return keys

    def outbox_put(self, topic: str, key: str, payload: Any) -> bool:
        new: bool = self._ask("outbox_put", topic, key, payload)
        return new

    def outbox_take(self, topic: str | None, after: Mark | None) -> Taken | None:
        taken = self._ask("outbox_take", None if topic is None else _text(topic), after)
        return None if taken is None else _taken(taken)

    def outbox_begin(self, topic: str, key: str, payload: Any) -> Taken:
        return _taken(self._ask("outbox_begin", topic, key, payload))

    def outbox_done(self, topic: str, key: str, result: Any) -> None:
        self._ask("outbox_done", topic, key, result)

    def outbox_failed(self, topic: str, key: str, error: str) -> bool:
        pending: bool = self._ask("outbox_failed", topic, key, error)
        return pending

    def outbox_release(self, topic: str, key: str) -> None:
        self._ask("outbox_release", topic, key)

    def link(
        self, url: str, campaign: str | None, channel: str | None, content: str | None, subject: str | None
    ) -> str:
        made: str = self._ask("link", _text(url), campaign, channel, content, subject)
        return made

    def way_out(self, subject: str) -> str:
        made: str = self._ask("way_out", _text(subject))
        return made

    def turn_begin(self, name: str) -> None:
        self._ask("turn_begin", _text(name))

    def turn_end(self, name: str) -> None:
        self._ask("turn_end", _text(name))

    def suppressed(self, subjects: Sequence[str]) -> Mapping[str, str]:
        why: dict[str, str] = self._ask("suppressed", list(subjects))
        return why

    def suppress(self, subjects: Sequence[str], reason: str) -> int:
        new: int = self._ask("suppress", list(subjects), _text(reason))
        return new

    def once_begin(self, what: str, key: str, payload: Any) -> Taken:
        return _taken(self._ask("once_begin", _text(what), _text(key), payload))

    def once_doubt(self, topic: str, key: str, error: str) -> None:
        self._ask("once_doubt", topic, key, error.encode("utf-8", "replace").decode())

    def once_forget(self, topic: str, key: str) -> None:
        self._ask("once_forget", topic, key)

    def _ask(self, name: str, *arguments: Any) -> Any:
        with self._gate:  # while it is sent, not while it is answered: several threads may ask at once
            if self._closed:
                raise LateRun("this run was ended")
            answer = self._line.ask(name, arguments)
        return answer.wait()

    def _note(self, name: str, arguments: list[Any]) -> None:
        with self._gate:
            if not self._closed:
                self._line.tell({"note": name, "args": arguments})


def _taken(told: Sequence[Any]) -> Taken:
    topic, key, payload, idempotency_key, attempts, done, result, mark, *more = told
    return Taken(topic, key, payload, idempotency_key, attempts, done, result, tuple(mark), *more)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise UsageProblem(f"a text was expected, not {value!r}"[:200])
    return value
