"""Tells the guardians of processes that their manager lives, so that a manager which stands still loses them in time:
another one may have taken over by then.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

BEAT_S = 1.0
SILENCE_S = 5.0  # from here on a guardian may have ended what it guards; they wait for six seconds


class Keepalive:
    """A thread of its own, as nothing else that a manager does may hold it up."""

    def __init__(self, beats: Sequence[Callable[[], None]]) -> None:
        self._beats = beats
        self._stop = threading.Event()
        self._last = time.monotonic()
        self._silences: deque[float] = deque(maxlen=100)  # when each one ended
        self._thread = threading.Thread(target=self._serve, name="keepalive", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(BEAT_S)

    def was_silent(self, since: float) -> bool:
        """Whether what began at `since` (monotonic) may have been ended because nothing was heard of the manager."""
        return time.monotonic() - self._last > SILENCE_S or any(end >= since for end in tuple(self._silences))

    def _serve(self) -> None:
        while not self._stop.wait(BEAT_S):
            now = time.monotonic()
            if now - self._last > SILENCE_S:
                self._silences.append(now)
            self._last = now
            for beat in self._beats:
                beat()
