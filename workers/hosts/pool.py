"""Threads that grow with the work and go when idle, so that waiting instances cost none."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class ThreadPool:
    """Every job gets a thread at once. They are daemons: a hung one cannot hold the process."""

    def __init__(self, name: str, idle_s: float = 10.0) -> None:
        self._name = name
        self._idle_s = idle_s
        self._jobs: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._size = 0
        self._made = 0

    @property
    def size(self) -> int:
        return self._size

    def submit(self, job: Callable[[], object]) -> None:
        """Raises RuntimeError when the system gives no more threads."""
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
                self._jobs.put(job)
                return
            self._made += 1
            thread = threading.Thread(target=self._work, args=(job,), name=f"{self._name}-{self._made}", daemon=True)
            thread.start()
            self._size += 1

    def _work(self, job: Callable[[], object] | None) -> None:
        while job is not None:
            try:
                job()
            except Exception:
                log.exception("job_failed", extra={"action": "job_failed"})
            job = self._next()

    def _next(self) -> Callable[[], object] | None:
        with self._lock:
            self._idle += 1
        try:
            return self._jobs.get(timeout=self._idle_s)
        except queue.Empty:
            pass
        with self._lock:
            if self._idle == 0 or not self._jobs.empty():  # a job was handed over in this very moment
                return self._jobs.get()
            self._idle -= 1
            self._size -= 1
            return None
