"""What must not hold up the screen: looking, acting, following a log. Daemon threads, so that leaving never waits for a
locked ledger: whatever was under way is done or not done, as with a command that is killed."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator

from nova.cli.problems import describe
from nova.cli.top.head import Piece
from nova.cli.top.look import Look
from nova.cli.top.source import Act, Source

LOOK_S = 1.0
_SHARE = 15  # a look may take a fifteenth of a core
_FINISH_LOOK_S = 0.02
_BATCH_S = 0.2
_BATCH = 500


class _Left(Exception):
    """Raised in a thread whose screen is gone."""


class Looker:
    """Looks once a second, less often where a look takes long; at once after `again`."""

    def __init__(self, source: Source, seen: Callable[[Look], object], failed: Callable[[str], object]) -> None:
        self._source = source
        self._seen = seen
        self._failed = failed
        self._wake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._serve, name="look", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def again(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        self._stopped = True
        self._wake.set()

    def _serve(self) -> None:
        while not self._stopped:
            began, worked = time.monotonic(), time.thread_time()
            try:
                self._seen(self._source.look())
            except Exception as problem:  # noqa: BLE001 - a view shows what is wrong and goes on looking
                self._failed(describe(problem).message)
            worked = time.thread_time() - worked
            self._wake.wait(max(LOOK_S - (time.monotonic() - began), worked * (_SHARE - 1)))
            self._wake.clear()


class Actor:
    """Does what was asked, one after the other, and tells the outcome in a line."""

    def __init__(self, told: Callable[[str, bool], object]) -> None:
        self._told = told
        self._asked: queue.Queue[Act] = queue.Queue()
        self._thread = threading.Thread(target=self._serve, name="act", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask(self, act: Act) -> None:
        self._asked.put(act)

    def finish(self, within_s: float) -> bool:
        """Waits for what was asked; False where it is not done by then."""
        deadline = time.monotonic() + within_s
        while self._asked.unfinished_tasks:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_FINISH_LOOK_S)
        return True

    def _serve(self) -> None:
        while True:
            act = self._asked.get()
            try:
                self._told(act(), True)
            except Exception as problem:  # noqa: BLE001 - as in a command: every error becomes words
                found = describe(problem)
                self._told(f"{found.message} ({found.hint})" if found.hint else found.message, False)
            finally:
                self._asked.task_done()


class Follower:
    """Gives the lines of a log in batches, as they come, until it is stopped."""

    def __init__(
        self,
        lines: Callable[[Callable[[float], object]], Iterator[Piece]],
        come: Callable[[list[Piece]], object],
        failed: Callable[[str], object],
    ) -> None:
        self._lines = lines
        self._come = come
        self._failed = failed
        self._left = threading.Event()
        self._batch: list[Piece] = []
        self._thread = threading.Thread(target=self._serve, name="follow", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._left.set()

    def _serve(self) -> None:
        try:
            told_s = time.monotonic()
            for line in self._lines(self._wait):
                self._batch.append(line)
                if len(self._batch) >= _BATCH or time.monotonic() - told_s >= _BATCH_S:
                    self._tell()
                    told_s = time.monotonic()
                    if self._left.is_set():
                        return
        except _Left:
            return
        except Exception as problem:  # noqa: BLE001 - as above
            self._failed(describe(problem).message)

    def _wait(self, seconds: float) -> None:
        self._tell()
        if self._left.wait(seconds):
            raise _Left

    def _tell(self) -> None:
        if self._batch:
            batch, self._batch = self._batch, []
            self._come(batch)
