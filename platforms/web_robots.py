"""robots.txt: what a site lets be fetched, asked once an hour, and how long to wait between two requests to a host."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nova.errors import Refused

if TYPE_CHECKING:
    from protego import Protego

_KEEP_S = 3600.0
_KEEP_FAILED_S = 60.0
MOST_BYTES = 500_000


class RobotsForbid(Refused):
    """The site's robots.txt does not allow it."""


@dataclass(frozen=True, slots=True)
class RobotsAnswer:
    """How the server answered for its robots.txt."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class _Rules:
    parsed: Protego | None  # None: nothing may be fetched
    status: int
    until: float


class Robots:
    """`ask` fetches the robots.txt of an origin such as https://example.com.

    As RFC 9309 has it: one that is not there (4xx) forbids nothing, one that cannot be had (5xx) forbids everything.
    """

    def __init__(
        self, agent: str, ask: Callable[[str], RobotsAnswer], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._agent = agent
        self._ask = ask
        self._monotonic = monotonic
        self._known: dict[str, _Rules] = {}

    def check(self, origin: str, url: str) -> None:
        """Raises RobotsForbid."""
        rules = self._of(origin)
        if rules.parsed is None:
            raise RobotsForbid(
                f"{origin}/robots.txt answered {rules.status}, so nothing of it may be fetched now",
                hint="try again later",
            )
        if not rules.parsed.can_fetch(url, self._agent):
            raise RobotsForbid(f"{origin}/robots.txt does not allow {url} to be fetched")

    def delay_s(self, origin: str) -> float:
        """What the site asks to be left between two requests."""
        parsed = self._of(origin).parsed
        if parsed is None:
            return 0.0
        rate = parsed.request_rate(self._agent)
        return max(
            parsed.crawl_delay(self._agent) or 0.0, rate.seconds / rate.requests if rate and rate.requests else 0.0
        )

    def _of(self, origin: str) -> _Rules:
        now = self._monotonic()
        known = self._known.get(origin)
        if known is None or known.until <= now:
            known = self._known[origin] = _rules(self._ask(origin), now)
        return known


def _rules(answer: RobotsAnswer, now: float) -> _Rules:
    from protego import Protego

    if answer.status >= 500 or answer.status == 429:
        return _Rules(None, answer.status, now + _KEEP_FAILED_S)
    text = answer.text if 200 <= answer.status < 300 else ""
    return _Rules(Protego.parse(text), answer.status, now + _KEEP_S)


class Pace:
    """When each host may be asked again, over all threads of this process."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._free_at: dict[str, float] = {}

    def take(self, host: str, delay_s: float, most_s: float) -> float | None:
        """The next turn: how long to wait for it. None, and no turn is taken, when that is longer than `most_s`."""
        with self._lock:
            now = self._monotonic()
            turn = max(now, self._free_at.get(host, 0.0))
            if turn - now > most_s:
                return None
            self._free_at[host] = turn + delay_s
            if len(self._free_at) > 1000:
                self._free_at = {name: at for name, at in self._free_at.items() if at > now}
            return turn - now
