"""The log a run writes to: an ordinary logger whose lines go to the worker's own file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence


class _ToFile(logging.Handler):
    def __init__(self, write: Callable[[Sequence[str]], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(self.format(record).splitlines())
        except Exception:  # noqa: BLE001 - as the logging module does: a log never hurts its run
            self.handleError(record)


class WorkerLogger(logging.Logger):
    """Not registered with the logging module, so that it goes with its run."""

    def __init__(self, name: str, write: Callable[[Sequence[str]], None]) -> None:
        super().__init__(name, logging.INFO)
        handler = _ToFile(write)
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        self.addHandler(handler)
