"""The bounded log of a deployment: NOVA_HOME/logs/workers/NAME.log, and two older pieces beside it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path

from nova.clock import Clock, iso

MAX_BYTES = 10_000_000
PIECES = 3
_SLOTS = 64  # logs kept open at once
_BLOCK = 65_536
_SEARCHED = 10_000  # lines, for those of one instance


class WorkerLog:
    """One file, appended to by all instances of a deployment. When full it becomes NAME.log.1, and so on."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, pieces: int = PIECES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._pieces = pieces
        self._lock = threading.Lock()
        self._fd = -1
        self._size = 0

    def write(self, data: bytes) -> None:
        """Appends whole lines; a full disk loses them, and never the run."""
        with self._lock:
            try:
                self._open()
                if self._size + len(data) > self._max_bytes and self._size:
                    self._rotate()
                    self._open()
                self._size += os.write(self._fd, data)
            except OSError:
                self._close()

    def close(self) -> None:
        with self._lock:
            self._close()

    def _open(self) -> None:
        if self._fd < 0:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._size = os.fstat(self._fd).st_size

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _rotate(self) -> None:
        self._close()
        for number in range(self._pieces - 2, -1, -1):
            older = self._path.with_name(f"{self._path.name}.{number}") if number else self._path
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{number + 1}"))


class WorkerLogs:
    """The logs of all deployments of a manager; the least recently used are closed."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[str, WorkerLog] = {}

    def path(self, worker: str) -> Path:
        return self._directory / f"{worker}.log"

    def write(self, worker: str, instance: str, lines: Iterable[str]) -> None:
        """Each line with the time and the instance before it."""
        head = f"{iso(self._clock.now())} {instance} "
        text = "".join(f"{head}{line}\n" for line in lines)
        if text:
            self._of(worker).write(text.encode("utf-8", "replace"))

    def tail(self, worker: str, n: int, instance: str | None = None) -> list[str]:
        """The last `n` lines; of one instance, those among the last few thousand."""
        if instance is None:
            return last_lines(self.path(worker), n)
        lines = [line for line in last_lines(self.path(worker), _SEARCHED) if line.split(" ", 2)[1:2] == [instance]]
        return lines[-n:] if n > 0 else []

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


def last_lines(path: Path, n: int, end: int | None = None) -> list[str]:
    """The last `n` lines, oldest first, also out of older pieces. `end`: only up to there in the newest piece."""
    lines: list[bytes] = []
    for number in range(PIECES):
        if len(lines) < n:
            piece = path.with_name(f"{path.name}.{number}") if number else path
            lines = _end_of(piece, n - len(lines), None if number else end) + lines
    return [line.decode("utf-8", "replace") for line in lines]


def _end_of(path: Path, n: int, end: int | None) -> list[bytes]:
    """Read from the end, so that a long log costs no more than a short one."""
    found: list[bytes] = []
    breaks = 0
    try:
        with path.open("rb") as file:
            at = file.seek(0, os.SEEK_END) if end is None else end
            while at > 0 and breaks <= n:
                size = min(_BLOCK, at)
                at = file.seek(at - size)
                found.append(file.read(size))
                breaks += found[-1].count(b"\n")
    except FileNotFoundError:
        return []
    text = b"".join(reversed(found))
    return text.removesuffix(b"\n").split(b"\n")[-n:] if text and n > 0 else []
