"""What a platform's client may ask of whom it works for: a run of a worker, or a person's command."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from nova.money import Money
from platforms.pace import Paces


class Bill(Protocol):
    def settle(self, actual: Money) -> object: ...


class Hands(Protocol):
    """Made for one run or one command; its calls may come from several threads."""

    def pace(self, lane: str, every_s: float = 0.0) -> float:
        """Seconds to wait before a request may go; 0: now, and it is counted. A lane is PLATFORM or PLATFORM/PART.

        The next one of the lane may go `every_s` later.
        """
        ...

    def hold(self, lane: str, seconds: float) -> None:
        """The platform asked that nobody goes that way for so long."""
        ...

    def wait(self, seconds: float) -> bool:
        """Returns early, with True, when who it works for is to end."""
        ...

    def rest(self, seconds: float) -> bool:
        """As `wait`, while nothing was asked for yet, or surely not done: who dies meanwhile leaves no doubt."""
        ...

    def paying(self, ceiling: Money, reason: str) -> AbstractContextManager[Bill | None]:
        """Sets money aside for a call that the vendor charges. Raises BudgetExceeded."""
        ...

    def key(self, what: str, content: str) -> str:
        """An idempotency key for an effect: the same when a run that failed is made again, another for another run,
        for other content, and for the second time the same is asked for in one run.
        """
        ...

    def unsure(self, key: str) -> None:
        """What was asked for under the key may have been done: who asks for the same again is given the same key."""
        ...

    def once(
        self,
        what: str,
        key: str,
        payload: Any,
        action: Callable[[str], Any],
        find: Find | None = None,
        *,
        known_s: float = 0.0,
    ) -> Any:
        """Has an effect that the vendor does not know by its key for ever: what was done before is only told again.

        `action` is given the key and returns what is to be remembered, as JSON has it. Where an earlier attempt may
        have been done, `find` asks the vendor for it (None: it was not done); without it, or where it cannot tell and
        raises InDoubt, the effect is not repeated and InDoubt is raised. For `known_s` after the first attempt the
        vendor itself does nothing twice under the key: `action` is made again then. Where a person said that it was
        done, `find` tells what it is; None without it. The payload is for people, who are shown it.
        """
        ...

    def seen(self, platform: str, what: str, seconds: float, problem: Exception | None) -> None:
        """How a call went, for the platform's health."""
        ...

    def labels(self) -> Mapping[str, str]:
        """What says whose an effect is, where the platform keeps such marks: `nova_worker`, `nova_run`."""
        ...

    def lineage(self) -> str | None:
        """The first of the runs that repeat one another: a mark that a repeated request bears again, as it must."""
        ...

    def suppressed(self, addresses: Sequence[str]) -> Mapping[str, str]:
        """Why they are not to be written to, for those of these email addresses that are not."""
        ...


Find = Callable[[str], Any]


class Alone:
    """For a person's command: waits as long as it takes, pays nothing, and each effect is wanted."""

    def __init__(
        self,
        paces: Paces | None = None,
        sleep: Callable[[float], object] = time.sleep,
        suppressed: Callable[[Sequence[str]], Mapping[str, str]] = lambda addresses: {},
        seen: Callable[[str, str, float, Exception | None], object] | None = None,
    ) -> None:
        self._paces = paces or Paces()
        self._sleep = sleep
        self._suppressed = suppressed
        self._seen = seen

    def pace(self, lane: str, every_s: float = 0.0) -> float:
        return self._paces.take(lane, every_s)

    def hold(self, lane: str, seconds: float) -> None:
        self._paces.hold(lane, seconds)

    def wait(self, seconds: float) -> bool:
        self._sleep(seconds)
        return False

    def rest(self, seconds: float) -> bool:
        return self.wait(seconds)

    def paying(self, ceiling: Money, reason: str) -> AbstractContextManager[Bill | None]:
        return nullcontext()

    def key(self, what: str, content: str) -> str:
        return hashlib.sha256(f"{what}\0{content}\0{secrets.token_hex(16)}".encode()).hexdigest()[:40]

    def unsure(self, key: str) -> None:
        return

    def once(
        self,
        what: str,
        key: str,
        payload: Any,
        action: Callable[[str], Any],
        find: Find | None = None,
        *,
        known_s: float = 0.0,
    ) -> Any:
        return action(key)

    def seen(self, platform: str, what: str, seconds: float, problem: Exception | None) -> None:
        if self._seen is not None:
            self._seen(platform, what, seconds, problem)

    def labels(self) -> Mapping[str, str]:
        return {}

    def lineage(self) -> str | None:
        return None

    def suppressed(self, addresses: Sequence[str]) -> Mapping[str, str]:
        return self._suppressed(addresses)
