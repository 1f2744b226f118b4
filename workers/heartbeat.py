"""A manager's sign of life in the ledger, and the first to learn that it does not count any more."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from math import inf
from typing import TYPE_CHECKING

from nova.errors import NovaError
from nova.ledger.fence import Fenced
from workers.standstill import wake_the_writer
from workers.vigil import BEAT_S, RUN_LEASE_S, TTL_S, Vigil

if TYPE_CHECKING:
    from nova.clock import Clock
    from nova.ledger.ledger import Ledger
    from workers.worker_monitor import ProcessUse

log = logging.getLogger(__name__)

_LOOK_S = 0.25  # while a beat waits to be written, its own record is read so often: reading never waits
_AGAIN_S = 0.5  # after a beat that failed


class Heartbeat:
    """Beats in a thread of its own, which nothing else of the manager holds up. `on_fenced` is called from there."""

    def __init__(
        self,
        ledger: Ledger,
        manager: str,
        clock: Clock,
        vigil: Vigil,
        usage: Callable[[], ProcessUse],
        on_fenced: Callable[[], object],
    ) -> None:
        self._managers = ledger.instances.managers
        self._path = ledger.store.path
        self._manager = manager
        self._clock = clock
        self._vigil = vigil
        self._usage = usage
        self._on_fenced = on_fenced
        self._ok_at = clock.monotonic()
        self._looked_at = clock.monotonic()
        self._stuck_at = clock.monotonic()
        self._fenced = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="heartbeat", daemon=True)

    @property
    def fenced(self) -> bool:
        return self._fenced.is_set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(_LOOK_S * 2)

    def lease_until(self) -> float:
        """Until then (monotonic) nobody else can have taken over: what begins by then is this manager's to run."""
        return -inf if self.fenced else self._ok_at + RUN_LEASE_S

    def look(self) -> bool:
        """Whether it is fenced; reads its record where the last word of it is old, as after a SIGSTOP."""
        now = self._clock.monotonic()
        if not self.fenced and now - self._ok_at > BEAT_S + _LOOK_S and now - self._looked_at >= _LOOK_S:
            self._looked_at = now
            try:
                if self._managers.fenced(self._manager):
                    self._fall()
            except NovaError as problem:
                log.warning("fence_unread", extra={"action": "fence_unread", "error": problem.message})
        return self.fenced

    def _serve(self) -> None:
        wait_s = 0.0
        while not self._stop.wait(wait_s) and not self.fenced:
            began = self._clock.monotonic()
            wait_s = max(0.0, BEAT_S - self._beat(began))

    def _beat(self, began: float) -> float:
        """How long it took; after one that failed the next comes sooner."""
        try:
            used = self._usage()
            beat = self._managers.beat(
                self._manager, self._clock.now(), used.cpu_percent, used.memory_bytes, used.threads
            )
            written = self._wait(beat)
        except Fenced:
            written = False
        except NovaError as problem:
            log.warning("beat_failed", extra={"action": "beat_failed", "error": problem.message})
            self.look()
            return BEAT_S - _AGAIN_S
        except Exception:
            log.exception("beat_failed", extra={"action": "beat_failed"})
            return BEAT_S - _AGAIN_S
        if written is False:
            self._fall()
        elif written:
            self._ok_at = began
            self._vigil.beat(self._clock.monotonic())
        return self._clock.monotonic() - began

    def _wait(self, beat: Future[bool]) -> bool | None:
        """None when it was stopped or fenced before the beat was written."""
        while not self._stop.is_set():
            try:
                return beat.result(_LOOK_S)
            except NotYet:
                if self.look():
                    return None
                self._unstick()
        return None

    def _unstick(self) -> None:
        """Nobody can take over from who was stopped while it wrote: its lock keeps all others from writing too."""
        now = self._clock.monotonic()
        if now - max(self._ok_at, self._stuck_at) >= TTL_S:
            self._stuck_at = now
            if (pid := wake_the_writer(self._path)) is not None:
                log.warning("writer_woken", extra={"action": "writer_woken", "pid": pid})

    def _fall(self) -> None:
        if not self.fenced:
            self._fenced.set()
            log.error("manager_fenced", extra={"action": "manager_fenced", "manager": self._manager})
            self._on_fenced()
