"""How often each platform may be called: one account's limits, shared by all that call it from one manager."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrate_limiter import InMemoryBucket

_S, _MIN, _15_MIN, _DAY = 1, 60, 900, 86_400

_MOST_HELD = 1000

# (requests, seconds) by lane, somewhat below what the vendors say, so that others may use the account too.
LIMITS: Mapping[str, Sequence[tuple[int, int]]] = {
    "stripe": ((80, _S),),
    "gumroad": ((5, _S), (200, _MIN)),
    "sendgrid": ((50, _S),),
    "sendgrid/marketing": ((8, _S),),
    "twitter": ((5, _S), (300, _15_MIN)),
    "twitter/write": ((1, _S), (90, _15_MIN), (1500, _DAY)),
    "twitter/delete": ((1, _S), (45, _15_MIN)),
    "twitter/likes": ((1, _S), (45, _15_MIN), (900, _DAY)),
    "twitter/retweets": ((1, _S), (45, _15_MIN)),
    "twitter/me": ((1, _S), (70, _15_MIN)),
}


class Paces:
    """Thread-safe. Lanes that have no limits of their own have those of their platform, and count by themselves."""

    def __init__(
        self,
        limits: Mapping[str, Sequence[tuple[int, int]]] = LIMITS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._buckets: dict[str, InMemoryBucket] = {}
        self._held: dict[str, float] = {}

    def take(self, lane: str, every_s: float = 0.0) -> float:
        """Seconds to wait; 0: it may go now, and was counted, and the next one of the lane `every_s` later."""
        with self._lock:
            now = self._monotonic()
            held_s = max(self._held.get(one, now) for one in (lane, lane.partition("/")[0])) - now
            if held_s > 0:
                return held_s
            wait_s = self._counted(lane, now)
            if wait_s == 0 and every_s > 0:
                self._space(lane, now, every_s)
            return wait_s

    def hold(self, lane: str, seconds: float) -> None:
        with self._lock:
            self._held[lane] = max(self._held.get(lane, 0.0), self._monotonic() + seconds)

    def _counted(self, lane: str, now: float) -> float:
        from pyrate_limiter import RateItem

        bucket = self._bucket(lane)
        if bucket is None:
            return 0.0
        item = RateItem(lane, int(now * 1000))
        bucket.leak(item.timestamp)
        if bucket.put(item):
            return 0.0
        waiting = bucket.waiting(item)
        assert isinstance(waiting, int)
        return max(waiting, 1) / 1000

    def _space(self, lane: str, now: float, every_s: float) -> None:
        self._held[lane] = now + every_s
        if len(self._held) > _MOST_HELD:
            self._held = {name: until for name, until in self._held.items() if until > now}

    def _bucket(self, lane: str) -> InMemoryBucket | None:
        from pyrate_limiter import InMemoryBucket, Rate

        found = self._buckets.get(lane)
        limits = self._limits.get(lane) or self._limits.get(lane.partition("/")[0])
        if found is None and limits:
            found = self._buckets[lane] = InMemoryBucket([Rate(most, seconds * 1000) for most, seconds in limits])
        return found
