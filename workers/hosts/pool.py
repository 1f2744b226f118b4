"""Threads that grow with the work and go when idle, so that waiting instances cost none."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

log = logging.getLogger(__name__)

Job = Callable[[], object]

_PATIENCE_S = 0.005  # a job that no thread has taken by then gets one of its own
_LONGER_S = 0.02  # the same, while jobs are taken: more threads than it needs slow a busy machine down
_NO_THREAD_S = 1.0  # until it is tried again
_ALWAYS = 4  # so many threads are made without patience
_WAKE_S = 0.002  # from one waking to the next while threads work: one of them takes the next short job sooner


class _Idler:
    """A thread that waits for its next job."""

    __slots__ = ("_lock", "job")

    def __init__(self) -> None:
        self.job: Job | None = None
        self._lock = threading.Lock()
        self._lock.acquire()

    def hand(self, job: Job) -> None:
        self.job = job
        self._lock.release()

    def wait(self, timeout_s: float = -1) -> bool:
        return self._lock.acquire(timeout=timeout_s)


class ThreadPool:
    """Jobs that take long have a thread each within milliseconds; many short ones share a few, because making and
    waking threads costs more than they do. Threads are daemons: a hung one cannot hold the process.
    """

    def __init__(self, name: str, idle_s: float = 10.0) -> None:
        self._name = name
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._idle: list[_Idler] = []  # the last to have worked is the next to work, so that the others may go
        self._jobs: deque[tuple[Job, float]] = deque()  # that wait for a thread, and since when
        self._waking = 0  # threads that were handed a job and have not begun it
        self._woken_at = float("-inf")
        self._taken = 0  # jobs, by threads that looked for one
        self._late = threading.Event()
        self._attendant: threading.Thread | None = None
        self._size = 0
        self._made = 0

    @property
    def size(self) -> int:
        return self._size

    def submit(self, job: Job) -> None:
        """Raises RuntimeError when the system gives not one thread."""
        with self._lock:
            if not self._idle and self._size < _ALWAYS:
                self._grow(job)
                return
            if self._attendant is None:
                self._attendant = self._start(self._attend, f"{self._name}-pool")
            self._jobs.append((job, time.monotonic()))
            self._wake_one()
            if self._jobs:
                self._late.set()

    def _wake_one(self) -> None:
        now, all_idle = time.monotonic(), len(self._idle) == self._size
        if self._jobs and self._idle and (all_idle or now - self._woken_at >= _WAKE_S):
            self._woken_at = now
            self._wake_idle()

    def _wake_idle(self) -> None:
        self._waking += 1
        self._idle.pop().hand(self._jobs.popleft()[0])

    def _attend(self) -> None:
        """Gives threads to jobs that wait: twice as many each time, as long as none is taken otherwise, for then all
        threads are held by long jobs. Unless the machine stood still: then no number of threads would help.
        """
        while self._late.wait():
            self._late.clear()
            taken, more = self._taken, 1
            stood_still = self._slept_in(_PATIENCE_S)
            while self._jobs:
                moving = self._taken > taken or self._waking > 0 or stood_still
                taken, more = self._taken, 1 if moving else 2 * more
                helped = self._help(self._overdue() if moving else more)
                stood_still = self._slept_in(_PATIENCE_S if helped else _NO_THREAD_S)

    def _slept_in(self, seconds: float) -> bool:
        """Sleeps, and tells whether that took far longer than it should."""
        until = time.monotonic() + 2 * seconds
        time.sleep(seconds)
        return time.monotonic() > until

    def _overdue(self) -> int:
        with self._lock:
            return int(bool(self._jobs) and time.monotonic() - self._jobs[0][1] >= _LONGER_S)

    def _help(self, count: int) -> bool:
        """False when the system gives no thread."""
        with self._lock:
            for _ in range(min(count, len(self._jobs))):
                if self._idle:
                    self._wake_idle()
                    continue
                job, since = self._jobs.popleft()
                try:
                    self._grow(job)
                except RuntimeError as problem:  # then it waits for one that becomes free
                    self._jobs.appendleft((job, since))
                    log.warning("no_thread", extra={"action": "no_thread", "error": str(problem)})
                    return False
        return True

    def _grow(self, job: Job) -> None:
        self._made += 1
        self._start(self._work, f"{self._name}-{self._made}", job)
        self._size += 1

    def _start(self, target: Callable[..., None], name: str, *args: Job) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, name=name, daemon=True)
        thread.start()
        return thread

    def _work(self, first: Job) -> None:
        job: Job | None = first
        idler = _Idler()
        while job is not None:
            try:
                job()
            except Exception:
                log.exception("job_failed", extra={"action": "job_failed"})
            job = self._next(idler)

    def _next(self, idler: _Idler) -> Job | None:
        with self._lock:
            if self._jobs:
                self._taken += 1
                return self._jobs.popleft()[0]
            idler.job = None
            self._idle.append(idler)
        if not idler.wait(self._idle_s):
            with self._lock:
                if idler in self._idle:
                    self._idle.remove(idler)
                    self._size -= 1
                    return None
            idler.wait()  # a job was handed over in this very moment
        with self._lock:
            self._waking -= 1
        return idler.job
