"""Progress on stderr: only on a terminal, and only for what takes longer than a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nova.cli.terminal import is_terminal

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_PATIENCE_S = 1.0
_STEP_S = 0.1


class Ticker:
    """Is told how far something has come, and shows nothing."""

    def more(self, count: int) -> None:
        """So much more is done."""

    def reached(self, done: int) -> None:
        """So much is done since the beginning."""


class _Bar(Ticker):
    def __init__(self, label: str, total: int | None, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._next = time.monotonic() + _PATIENCE_S
        self._done = 0
        self._shown: tuple[Progress, TaskID] | None = None

    def more(self, count: int) -> None:
        self.reached(self._done + count)

    def reached(self, done: int) -> None:
        self._done = done
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _STEP_S
        shown, task = self._shown or self._show()
        shown.update(task, completed=done)

    def _show(self) -> tuple[Progress, TaskID]:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        figures = TextColumn("{task.completed:,.0f} " + self._unit)
        columns = (TextColumn("{task.description}"), BarColumn(), figures, TimeElapsedColumn())
        bar = Progress(*columns, console=Console(stderr=True), transient=True)
        bar.start()
        self._shown = (bar, bar.add_task(self._label, total=self._total))
        return self._shown

    def close(self) -> None:
        if self._shown is not None:
            self._shown[0].stop()


@contextmanager
def progress(label: str, total: int | None = None, *, unit: str = "") -> Iterator[Ticker]:
    """`total` where it is known. Without a terminal what is yielded shows nothing."""
    if not is_terminal(sys.stderr):
        yield Ticker()
        return
    bar = _Bar(label, total, unit)
    try:
        yield bar
    finally:
        bar.close()


@contextmanager
def spinner(label: str) -> Iterator[None]:
    """For what cannot say how far it is."""
    if not is_terminal(sys.stderr):
        yield
        return
    import threading

    from rich.console import Console

    status = Console(stderr=True).status(label)
    timer = threading.Timer(_PATIENCE_S, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()
