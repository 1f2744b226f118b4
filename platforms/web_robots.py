"""robots.txt: what a site lets be fetched, asked once an hour, and how long it wants to be left alone in between."""

from __future__ import annotations

import threading
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
    """For several threads. `ask` fetches the robots.txt of an origin such as https://example.com.

    As RFC 9309 has it: one that is not there (4xx) forbids nothing, one that cannot be had (5xx) forbids everything.
    """

    def __init__(self, agent: str) -> None:
        self._agent = agent
        self._known: dict[str, _Rules] = {}
        self._asking: dict[str, threading.Lock] = {}

    def check(self, origin: str, url: str, ask: Callable[[str], RobotsAnswer], now: float) -> None:
        """`now` is monotonic. Raises RobotsForbid."""
        rules = self._of(origin, ask, now)
        if rules.parsed is None:
            raise RobotsForbid(
                f"{origin}/robots.txt answered {rules.status}, so nothing of it may be fetched now",
                hint="try again later",
            )
        if not rules.parsed.can_fetch(url, self._agent):
            raise RobotsForbid(f"{origin}/robots.txt does not allow {url} to be fetched")

    def delay_s(self, origin: str) -> float:
        """What a site that was checked asks to be left between two requests."""
        parsed = self._known[origin].parsed
        if parsed is None:
            return 0.0
        rate = parsed.request_rate(self._agent)
        return max(
            parsed.crawl_delay(self._agent) or 0.0, rate.seconds / rate.requests if rate and rate.requests else 0.0
        )

    def _of(self, origin: str, ask: Callable[[str], RobotsAnswer], now: float) -> _Rules:
        with self._asking.setdefault(origin, threading.Lock()):
            known = self._known.get(origin)
            if known is None or known.until <= now:
                known = self._known[origin] = _rules(ask(origin), now)
            return known


def _rules(answer: RobotsAnswer, now: float) -> _Rules:
    from protego import Protego

    if answer.status >= 500 or answer.status == 429:
        return _Rules(None, answer.status, now + _KEEP_FAILED_S)
    text = answer.text if 200 <= answer.status < 300 else ""
    return _Rules(Protego.parse(text), answer.status, now + _KEEP_S)
