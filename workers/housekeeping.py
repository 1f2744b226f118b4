"""What has to be done now and then beside the reconcile loop, and must never hold it up."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nova.errors import NovaError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """`act` is called every `every_s` seconds, the first time `first_s` after the start. What it raises is logged."""

    name: str
    every_s: float
    act: Callable[[], object]
    first_s: float = 5.0


class Housekeeping:
    """A thread for each task, so that a slow sync delays nothing else. A task never overlaps itself."""

    def __init__(self, tasks: Sequence[PeriodicTask]) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._serve, args=(task,), name=f"task-{task.name}", daemon=True) for task in tasks
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, within_s: float) -> None:
        """Waits for what is under way; a task that takes longer is left behind."""
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(within_s / max(1, len(self._threads)))

    def _serve(self, task: PeriodicTask) -> None:
        wait_s = task.first_s
        while not self._stop.wait(wait_s):
            wait_s = task.every_s
            try:
                task.act()
            except NovaError as problem:
                log.warning("task_failed", extra={"action": "task_failed", "task": task.name, "error": problem.message})
            except Exception:
                log.exception("task_failed", extra={"action": "task_failed", "task": task.name})
