"""What agents print: the log of the run whose thread prints it, so that it is found, and bounded, where logs are."""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

log = logging.getLogger(__name__)

_LONGEST = 65_536  # characters kept for a line that does not end

Write = Callable[[Sequence[str]], None]


class _Thread(threading.local):
    write: Write | None = None
    rest: str = ""


_thread = _Thread()


@contextmanager
def printing_to(write: Write) -> Iterator[None]:
    """What this thread prints within the block goes to `write`, line by line."""
    _thread.write, _thread.rest = write, ""
    try:
        yield
    finally:
        rest, _thread.write, _thread.rest = _thread.rest, None, ""
        if rest:
            write([rest])


class Printed(io.TextIOBase):
    """In the place of sys.stdout and sys.stderr. What no run prints is an event of the manager's log."""

    encoding = "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        *lines, rest = (_thread.rest + text).split("\n")
        if len(rest) > _LONGEST:
            lines, rest = [*lines, rest], ""
        _thread.rest = rest
        if lines and _thread.write is not None:
            _thread.write(lines)
        else:
            for line in filter(str.strip, lines):
                log.info("printed", extra={"action": "printed", "text": line})
        return len(text)


@contextmanager
def captured() -> Iterator[None]:
    """Within the block, in the whole process. Only entry points use this, after logging was set up."""
    before = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = Printed()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
