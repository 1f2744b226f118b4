"""Taking over from managers that are dead: fence it, end what is left of it, and only then free its leases."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nova.ledger.leases import Rival
from nova.words import count, money
from workers.recovery import found_here, lives
from workers.strays import end_strays
from workers.vigil import TTL_S, Vigil

if TYPE_CHECKING:
    from nova.clock import Clock
    from nova.ledger.ledger import Ledger

log = logging.getLogger(__name__)

NOTICE_S = 0.75  # in which one that is fenced but alive learns of it, before anybody else runs what was its own


class Takeover:
    """`look` is called again and again, from one thread. Several managers may do the same to the same dead one."""

    def __init__(
        self,
        ledger: Ledger,
        manager: str,
        run_dir: Path,
        clock: Clock,
        vigil: Vigil,
        alert: Callable[[str, str, str], object],
    ) -> None:
        self._ledger = ledger
        self._manager = manager
        self._run_dir = run_dir
        self._clock = clock
        self._vigil = vigil
        self._alert = alert
        self._over: dict[str, float] = {}  # since when it is known that one is over and still has leases
        self.pending = False  # whether leases are about to be freed

    def look(self) -> bool:
        """Whether leases became free. Raises NovaError where the ledger cannot be reached."""
        rivals = self._ledger.leases.rivals(self._manager)
        now = self._clock.monotonic()
        silent = self._vigil.silent(now, {one.id: one.beats for one in rivals if not one.over})
        here = found_here(self._run_dir)
        self._over = {one.id: self._over.get(one.id, now) for one in rivals if one.over}
        self.pending = any(one.fenced for one in rivals)
        freed = [self._settle(one, here, now, is_silent=one.id in silent) for one in rivals]
        return any(freed)

    def _settle(self, one: Rival, here: dict[str, bool], now: float, *, is_silent: bool) -> bool:
        gone = is_gone(one, here)
        if one.over:
            # One that stopped keeps the leases of what it could not end until its process is gone.
            told = one.fenced and now - self._over[one.id] >= NOTICE_S
            return (gone or told) and self._free(one)
        if gone:
            return self._fence(one, "its process is gone") and self._free(one)
        if is_silent and one.holds:
            self.pending = self._fence(one, f"it gave no sign of life for {TTL_S:g} s", one.beats) or self.pending
        return False

    def _fence(self, one: Rival, why: str, beats: int | None = None) -> bool:
        done = self._ledger.leases.fence(one.id, self._manager, why, beats)
        if done is None:
            return False
        told = {"manager": one.id, "pid": one.pid, "why": why, "interrupted": len(done.runs)}
        log.warning("manager_taken_over", extra={"action": "manager_taken_over", **told})
        if one.holds:
            self._alert(
                "manager_taken_over",
                f"the manager with process id {one.pid} on {one.host} is taken over",
                f"{why}. {count(len(done.runs), 'run')} interrupted, {money(done.charged)} of open "
                "reservations charged. What it ran goes on under another manager.",
            )
        return True

    def _free(self, one: Rival) -> bool:
        killed = end_strays({one.id})
        freed = self._ledger.leases.free(one.id)
        log.info("leases_freed", extra={"action": "leases_freed", "manager": one.id, "leases": freed, "killed": killed})
        return freed > 0


def is_gone(one: Rival, here: dict[str, bool]) -> bool:
    """Whether its process has certainly ended: by its lock, or on this machine by its process id.

    Of one that is over, another process may have the number by now.
    """
    if one.id in here:
        return not here[one.id]
    return one.host == socket.gethostname() and not lives(one.pid, one.started_at if one.over else None)
