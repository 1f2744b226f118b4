"""What an effect is: named by worker, topic and key, with a payload that never changes. Pure, and free of SQL."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from nova.clock import to_us
from nova.errors import NovaError, Refused, UsageProblem

MOST_BYTES = 1_000_000
MOST_ATTEMPTS = 10
LONGEST_WAIT_US = 3_600_000_000
_FIRST_WAIT_US = 30_000_000
_MOST_CHARS = 250
PLATFORM = "platform:"  # begins the topics of what platforms' clients do once

Mark = tuple[int, str, str]  # where an effect stands in the order in which they are due


class EffectHeld(NovaError):
    """Another run is at this effect."""


class EffectFailed(Refused):
    """This effect failed too often and is tried no more."""


@dataclass(frozen=True, slots=True)
class Effect:
    """`attempts`: how often it was begun. `run`: who is at it, or did it last. `result`: what its doer said of it."""

    worker: str
    topic: str
    key: str
    payload: Any
    state: str  # pending, done, failed, doubtful
    attempts: int
    run: str | None
    result: Any
    error: str | None
    at: datetime
    due_at: datetime
    done_at: datetime | None

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt and on every machine, and fit for a header."""
        name = json.dumps([self.worker, self.topic, self.key])
        return f"nova-{hashlib.sha256(name.encode()).hexdigest()[:32]}"

    def taken(self, *, doubtful: bool = False, age_s: float = 0.0) -> Taken:
        mark = (to_us(self.due_at), self.topic, self.key)
        done = self.state == "done"
        return Taken(
            self.topic, self.key, self.payload, self.idempotency_key, self.attempts, done, self.result, mark, doubtful,
            age_s,
        )  # fmt: skip


class Taken(NamedTuple):
    """An effect as the run has it that took it. `done`: it was done before, and this is its `result`. `doubtful`: it
    may have been, and was begun first `age_s` ago.
    """

    topic: str
    key: str
    payload: Any
    idempotency_key: str
    attempts: int
    done: bool
    result: Any
    mark: Mark
    doubtful: bool = False
    age_s: float = 0.0


def check_name(topic: str, key: str) -> None:
    """Raises UsageProblem."""
    for what, name in (("topic", topic), ("key", key)):
        if not isinstance(name, str) or not 0 < len(name) <= _MOST_CHARS:
            raise UsageProblem(f"an effect's {what} is a text of 1 to {_MOST_CHARS} characters, not {str(name)[:40]!r}")
    if topic.startswith(PLATFORM):
        raise UsageProblem(f"topics that begin with {PLATFORM} are nova's own", hint="give the effect another topic")


def encode(what: str, value: Any) -> str:
    """As JSON, the same for the same value; UsageProblem for what is none, or is too large."""
    try:
        encoded = json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageProblem(f"{what} cannot be kept as JSON: {error}") from None
    if len(encoded) > MOST_BYTES:
        raise UsageProblem(
            f"{what} has {len(encoded)} bytes; at most {MOST_BYTES} are kept",
            hint="keep large data in a file and its path in the effect",
        )
    return encoded


def encode_payload(topic: str, key: str, payload: Any) -> str:
    return encode(f"the payload of {topic} {key!r}", payload)


def encode_result(topic: str, key: str, result: Any) -> str:
    return encode(f"the result of {topic} {key!r}", result)


def wait_us(attempts: int) -> int:
    """Until an effect is tried again that failed at its `attempts`-th attempt."""
    return min(LONGEST_WAIT_US, _FIRST_WAIT_US << min(attempts - 1, 20))
