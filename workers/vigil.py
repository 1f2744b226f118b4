"""Which managers are silent: pure, and by this process's own monotonic clock, because wall clocks jump."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

BEAT_S = 2.0
TTL_S = 8.0  # a manager silent for so long has lost its leases
RUN_LEASE_S = 6.0  # after its own last beat a manager begins nothing more: earlier than others may take over
_GAP_S = 2 * BEAT_S


class _Heard(NamedTuple):
    beats: int
    since: float


class Vigil:
    """Silence counts only while this manager's own beats come through: where the ledger is locked, all are silent."""

    def __init__(self) -> None:
        self._heard: dict[str, _Heard] = {}
        self._own_at = float("-inf")
        self._well_since = float("inf")

    def beat(self, now: float) -> None:
        """This manager's own beat was written."""
        if now - self._own_at > _GAP_S:
            self._well_since = now
        self._own_at = now

    def silent(self, now: float, beats: Mapping[str, int]) -> set[str]:
        """Of the managers, given with how often each has beaten, those that have not for as long as they may."""
        if now - self._own_at > _GAP_S:
            self._well_since = float("inf")
        heard = {}
        for manager, count in beats.items():
            before = self._heard.get(manager)
            heard[manager] = before if before is not None and before.beats == count else _Heard(count, now)
        self._heard = heard
        return {manager for manager, one in heard.items() if now - max(one.since, self._well_since) >= TTL_S}
