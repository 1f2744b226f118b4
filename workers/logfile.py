"""The bounded log of a deployment: NOVA_HOME/logs/workers/NAME.log, and two older pieces beside it."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nova.clock import Clock, iso
from nova.secrecy import Scrubber
from workers.log_lines import LONGEST, encode

MAX_BYTES = 10_000_000
PIECES = 3
_SLOTS = 64  # logs kept open at once


class WorkerLog:
    """A file of whole lines that several processes may append to. When full it becomes NAME.log.1, and so on."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, pieces: int = PIECES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._pieces = pieces
        self._lock = threading.Lock()
        self._fd = -1
        self._torn = False  # the last line of the file is a half one
        self._kept_open = True

    def write(self, data: bytes) -> None:
        """Appends whole lines; a full disk loses them, and never the run."""
        with self._lock:
            try:
                self._append(data)
            except OSError:
                self._close()
            if not self._kept_open:
                self._close()

    def close(self) -> None:
        """What is still written opens it for that one time."""
        with self._lock:
            self._kept_open = False
            self._close()

    def _append(self, data: bytes) -> None:
        size = self._open()
        if size and size + len(data) > self._max_bytes:
            self._rotate()
            self._open()
        if self._torn:
            data = b"\n" + data
        self._torn = True
        self._torn = os.write(self._fd, data) < len(data)

    def _open(self) -> int:
        """The file's size. Another process may have put a new file in its place since."""
        found = _stat(self._path)
        if self._fd >= 0:
            mine = os.fstat(self._fd)
            if found is not None and (found.st_ino, found.st_dev) == (mine.st_ino, mine.st_dev):
                return mine.st_size
            self._close()
        if found is None:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = os.fstat(self._fd).st_size
        self._torn = size > 0 and os.pread(self._fd, 1, size - 1) != b"\n"
        return size

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _rotate(self) -> None:
        """Of several processes that see it full, one does it; whoever comes second finds another file in its place."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            found, mine = _stat(self._path), os.fstat(self._fd)
            if found is not None and found.st_ino == mine.st_ino:
                for number in range(self._pieces - 2, -1, -1):
                    older = piece(self._path, number)
                    if older.exists():
                        older.replace(piece(self._path, number + 1))
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)  # closing is not enough: what an agent forked has it open too
        self._close()


class WorkerLogs:
    """The logs of all deployments of a manager; the least recently used are closed. No secret is written."""

    def __init__(self, directory: Path, clock: Clock, scrubber: Scrubber | None = None) -> None:
        self._directory = directory
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[str, WorkerLog] = {}
        self.scrubber = scrubber or Scrubber()

    def path(self, worker: str) -> Path:
        return self._directory / f"{worker}.log"

    def write(
        self,
        worker: str,
        instance: str,
        lines: Sequence[str],
        *,
        run: str | None = None,
        level: str = "INFO",
        stream: str | None = "stdout",
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """With the time, the instance and the rest. `stream`: null for what was not printed, and is one message."""
        shown = self.scrubber.fields(fields) if fields else {}
        at = iso(self._clock.now())
        for message in _messages(lines):
            text = encode(at, level, instance, run, stream, self.scrubber.text(message), shown)
            self._of(worker).write(text.encode("utf-8", "replace"))

    def close(self) -> None:
        with self._lock:
            for log in self._open.values():
                log.close()
            self._open.clear()

    def _of(self, worker: str) -> WorkerLog:
        with self._lock:
            log = self._open.pop(worker, None) or WorkerLog(self.path(worker))
            self._open[worker] = log
            if len(self._open) > _SLOTS:
                oldest = next(iter(self._open))
                self._open.pop(oldest).close()
            return log


def _messages(lines: Sequence[str]) -> Iterator[str]:
    """All of it in one, as far as that is not too long."""
    if sum(map(len, lines)) <= LONGEST or len(lines) == 1:
        yield from ["\n".join(lines)[: 2 * LONGEST]] if lines else []
        return
    half = len(lines) // 2
    yield from _messages(lines[:half])
    yield from _messages(lines[half:])


def piece(path: Path, number: int) -> Path:
    """The file itself, or an older one: the higher the number, the older."""
    return path.with_name(f"{path.name}.{number}") if number else path


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
