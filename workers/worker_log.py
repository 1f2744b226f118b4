"""The log a run writes to: an ordinary logger whose events go to the worker's own file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from workers.log_lines import LONGEST, json_fields, level_of

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

Write = Callable[[str, str, Mapping[str, Any]], None]  # level, message, fields


class _ToFile(logging.Handler):
    def __init__(self, write: Write) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields = {name: value for name, value in vars(record).items() if name not in _PLAIN}
            self._write(level_of(record.levelno), self.format(record)[:LONGEST], json_fields(fields))
        except Exception:  # noqa: BLE001 - as the logging module does: a log never hurts its run
            self.handleError(record)


class WorkerLogger(logging.Logger):
    """Not registered with the logging module, so that it goes with its run. What `extra` holds is kept as fields."""

    def __init__(self, name: str, write: Write) -> None:
        super().__init__(name, logging.INFO)
        self.addHandler(_ToFile(write))
