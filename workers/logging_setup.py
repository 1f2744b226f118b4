"""How the manager logs: text for people or JSON for log shippers. Only entry points call this."""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

MAX_BYTES = 10_000_000
PIECES = 3
_CHATTY = ("stripe", "httpx", "httpcore", "urllib3")  # a line or more for every request
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "action"}


class EventFormatter(logging.Formatter):
    """One line an event: the time, the level, the action and what is known of it."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        action = getattr(record, "action", None) or record.getMessage()
        known = {name: value for name, value in vars(record).items() if name not in _PLAIN}
        trace = self.formatException(record.exc_info) if record.exc_info else None
        if self._as_json:
            body = {"at": at, "level": record.levelname, "logger": record.name, "action": action, **known}
            return json.dumps(body | ({"traceback": trace} if trace else {}), default=str)
        told = "".join(f" {name}={value!s}" for name, value in known.items())
        line = f"{at} {record.levelname:<7} {record.name} {action}{told}".replace("\n", "\\n")
        return f"{line}\n{trace}" if trace else line


def configure(level: str, style: str, path: Path | None) -> None:
    """To `path`, which rotates, or to standard error. `style` is text or json."""
    handler: logging.Handler
    if path is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handler = logging.handlers.RotatingFileHandler(
            path, maxBytes=MAX_BYTES, backupCount=PIECES - 1, encoding="utf-8"
        )
    handler.setFormatter(EventFormatter(as_json=style == "json"))
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
