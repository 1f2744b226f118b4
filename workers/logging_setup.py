"""How the manager logs: text for people or JSON for log shippers. Only entry points call this."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from nova.secrecy import Scrubber
from workers.logfile import MAX_BYTES, WorkerLog

_CHATTY = ("stripe", "httpx", "httpcore", "urllib3")  # a line or more for every request
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "action"}


class EventFormatter(logging.Formatter):
    """One line an event: the time, the level, the action and what is known of it."""

    def __init__(self, *, as_json: bool, scrubber: Scrubber | None = None) -> None:
        super().__init__()
        self._as_json = as_json
        self._scrubber = scrubber or Scrubber()

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        action = self._scrubber.text(str(getattr(record, "action", None) or record.getMessage()))
        known = self._scrubber.fields({name: value for name, value in vars(record).items() if name not in _PLAIN})
        trace = self._scrubber.text(self.formatException(record.exc_info)) if record.exc_info else None
        if self._as_json:
            body = {"at": at, "level": record.levelname, "logger": record.name, "action": action, **known}
            return json.dumps(body | ({"traceback": trace} if trace else {}), default=str)
        told = "".join(f" {name}={value!s}" for name, value in known.items())
        line = f"{at} {record.levelname:<7} {record.name} {action}{told}".replace("\n", "\\n")
        return f"{line}\n{trace}" if trace else line


class _ToFile(logging.Handler):
    """Into a file that rotates, also where several managers write to it."""

    def __init__(self, file: WorkerLog) -> None:
        super().__init__()
        self._file = file

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._file.write(f"{self.format(record)}\n".encode("utf-8", "replace"))
        except Exception:  # noqa: BLE001 - as the logging module does: what cannot be told hurts nothing
            self.handleError(record)

    def close(self) -> None:
        self._file.close()
        super().close()


def configure(level: str, style: str, path: Path | None, scrubber: Scrubber | None = None) -> None:
    """To `path`, which rotates, or to standard error. `style` is text or json."""
    handler = logging.StreamHandler(sys.stderr) if path is None else _ToFile(WorkerLog(path))
    handler.setFormatter(EventFormatter(as_json=style == "json", scrubber=scrubber))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING) if root.level > logging.DEBUG else root.level)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a full disk must not make every event a traceback


def trim(path: Path) -> None:
    """Begins a file anew that grew too large and cannot rotate, because others have it open."""
    if path.exists() and path.stat().st_size > MAX_BYTES:
        os.truncate(path, 0)
