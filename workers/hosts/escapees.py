"""What commands leave behind outside their process group, as a daemon does: told by the run in its environment."""

from __future__ import annotations

import logging
import threading

from workers.strays import end_runs

log = logging.getLogger(__name__)


class Escapees:
    """Told of commands that ended. `sweep`, called every second, ends what is left of them, in one look for all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended: set[str] = set()

    def of(self, run: str) -> None:
        with self._lock:
            self._ended.add(run)

    def sweep(self) -> None:
        with self._lock:
            runs, self._ended = self._ended, set()
        ended = end_runs(runs) if runs else 0
        if ended:
            log.info("escapees_ended", extra={"action": "escapees_ended", "processes": ended})
