"""Effects on the outside world, as an agent's author handles them: recorded first, done once, marked after."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

from nova.clock import format_duration
from nova.errors import BudgetExceeded, NovaError, UsageProblem
from nova.ledger.effects import MOST_ATTEMPTS, Taken, check_name, encode_payload, encode_result, wait_us
from platforms.base import Stopped
from workers.gate import LateRun

if TYPE_CHECKING:
    from workers.hosts.desk import Desk


_ERROR_CHARS = 2_000


class EffectsFailed(NovaError):
    """Some effects could not be done."""


class Effect:
    """One effect that this run has taken: `with effect:` marks it done on leaving.

    An exception of the block keeps it pending, to be tried again later, and goes no further, so that the other effects
    have their turn. `attempts` above 1: an earlier attempt may have been done and not marked.
    """

    def __init__(self, desk: Desk, taken: Taken, log: logging.Logger) -> None:
        self._desk = desk
        self._log = log
        self._begun = self._gone = False
        self.topic = taken.topic
        self.key = taken.key
        self.payload = taken.payload
        self.idempotency_key = taken.idempotency_key
        self.attempts = taken.attempts
        self.result: Any = None
        self.error: str | None = None

    def __repr__(self) -> str:
        return f"{self.topic} {self.key!r}"

    def __enter__(self) -> Effect:
        if self._begun or self._gone:
            raise UsageProblem(
                f"{self} is not this loop's any more",
                hint="do each effect in its turn: `for effect in ctx.outbox.due(): with effect: ...`",
            )
        self._begun = True
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> bool:
        if error is None:
            self.mark_done()
            return False
        return self.mark_failed(error)

    def mark_done(self) -> None:
        """A result that is no JSON is an author's mistake, told after the effect was marked, because it was done."""
        try:
            encode_result(self.topic, self.key, self.result)
        except UsageProblem:
            self._desk.outbox_done(self.topic, self.key, None)
            raise
        self._desk.outbox_done(self.topic, self.key, self.result)

    def mark_failed(self, error: BaseException) -> bool:
        """False for what ends the run and is no failure of the effect."""
        if isinstance(error, BudgetExceeded | Stopped):
            self._desk.outbox_release(self.topic, self.key)
        if not isinstance(error, Exception) or isinstance(error, BudgetExceeded | LateRun | Stopped):
            return False
        self.error = "".join(traceback.format_exception_only(error)).strip()[-_ERROR_CHARS:]
        pending = self._desk.outbox_failed(self.topic, self.key, self.error)
        then = f"next attempt in {format_duration(wait_us(self.attempts) / 1e6)}" if pending else "given up"
        told = f"{self} failed, attempt {self.attempts} of {MOST_ATTEMPTS}, {then}"
        self._log.warning("%s", told, exc_info=error)
        return True

    def let_go(self) -> None:
        """What was not begun is free for others; where the run is over, that is so already."""
        self._gone = True
        if not self._begun:
            with suppress(LateRun):
                self._desk.outbox_release(self.topic, self.key)


class Outbox:
    """The effects of this deployment, shared by its replicas. A key names one effect of its topic for ever after."""

    def __init__(self, desk: Desk, log: logging.Logger) -> None:
        self._desk = desk
        self._log = log

    def put(self, topic: str, key: str, payload: Any = None) -> bool:
        """Records an effect to be done, durable on return. False where it is there already, done or not.

        LedgerConflict where it is there with another payload.
        """
        check_name(topic, key)
        encode_payload(topic, key, payload)
        return self._desk.outbox_put(topic, key, payload)

    def due(self, topic: str | None = None) -> Iterator[Effect]:
        """The effects to be done now, each once, oldest first: `for effect in ctx.outbox.due(): with effect: ...`.

        None is at the same time another run's. Ends early when the run is asked to end. Raises EffectsFailed at the
        end where some failed, so that the run has failed too, which is no crash.
        """
        if topic is not None:
            check_name(topic, topic)
        after, count, failures = None, 0, list[Effect]()
        while not self._desk.stopping and (taken := self._desk.outbox_take(topic, after)) is not None:
            effect = Effect(self._desk, taken, self._log)
            after, count = taken.mark, count + 1
            try:
                yield effect
            finally:
                effect.let_go()
            if effect.error is not None:
                failures.append(effect)
        if failures:
            first = f"{failures[0]}: {failures[0].error}"
            raise EffectsFailed(f"{len(failures)} of {count} effects failed, first {first}")

    def once(self, topic: str, key: str, payload: Any, action: Callable[[Effect], Any]) -> Any:
        """Does one effect and returns what `action(effect)` returned, as JSON has it; done before, only returns that.

        What `action` raises is raised here, and the effect stays pending. EffectHeld where another run is at it,
        EffectFailed where it failed too often.
        """
        check_name(topic, key)
        encode_payload(topic, key, payload)
        taken = self._desk.outbox_begin(topic, key, payload)
        if taken.done:
            return taken.result
        effect = Effect(self._desk, taken, self._log)
        try:
            effect.result = action(effect)
        except BaseException as error:
            effect.mark_failed(error)
            raise
        effect.mark_done()
        return json.loads(encode_result(topic, key, effect.result))
