"""Progress on stderr: only on a terminal, and only for what takes longer than a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nova.cli.terminal import is_terminal

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_PATIENCE_S = 1.0
_STEP_S = 0.1

Tick = Callable[[int], None]


@contextmanager
def progress(label: str, total: int | None = None, *, unit: str = "") -> Iterator[Tick]:
    """Yields a function that is told how much more is done, of `total` where that is known."""
    if not is_terminal(sys.stderr):
        yield lambda more: None
        return
    bar = _Bar(label, total, unit)
    try:
        yield bar
    finally:
        bar.close()


class _Bar:
    def __init__(self, label: str, total: int | None, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._next = time.monotonic() + _PATIENCE_S
        self._done = 0
        self._shown: tuple[Progress, TaskID] | None = None

    def __call__(self, more: int) -> None:
        self._done += more
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _STEP_S
        shown, task = self._shown or self._show()
        shown.update(task, completed=self._done)

    def _show(self) -> tuple[Progress, TaskID]:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        figures = TextColumn("{task.completed:,.0f} " + self._unit)
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), figures, TimeElapsedColumn())
        bar = Progress(*columns, console=console, transient=True)
        bar.start()
        self._shown = (bar, bar.add_task(self._label, total=self._total))
        return self._shown

    def close(self) -> None:
        if self._shown is not None:
            self._shown[0].stop()
