"""Reading logs, of a deployment or of the manager itself: the last lines, and what comes after them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from nova.errors import NotFound
from workers.log_lines import LogLine, Wanted, joined, parse, parse_event
from workers.logfile import PIECES, piece
from workers.parts import Parts

MANAGER_LOG = "manager.log"
EVERYTHING = Wanted()
_LOOK_S = 0.25
_BLOCK = 65_536
_LONGEST = 4_000_000  # bytes of a line that is read as one

Wait = Callable[[float], object]


@dataclass(frozen=True, slots=True)
class Log:
    """A log in its pieces. A line for which `parse` finds nothing goes on with the event before it."""

    path: Path
    parse: Callable[[bytes], LogLine | None]

    def tail(self, wanted: Wanted = EVERYTHING, n: int | None = None, end: int | None = None) -> list[LogLine]:
        """The last `n` of the wanted lines, oldest first; null: all. `end`: only up to there in the newest piece."""
        found = (part for line in self._newest_first(end) if wanted.has(line) for part in reversed(line.parts()))
        return list(islice(found, n))[::-1]

    def follow(self, wanted: Wanted = EVERYTHING, n: int | None = 0, wait: Wait = time.sleep) -> Iterator[LogLine]:
        """The last `n` lines and then every further one, for ever, also through rotations.

        `wait` is called when there is nothing more; what it raises ends the following.
        """
        reader = _Reader(self.path)
        try:
            yield from self.tail(wanted, n, reader.end)
            last: LogLine | None = None
            for raw in reader.lines(wait):
                parsed = self.parse(raw)
                more = LogLine(joined([raw])) if last is None else replace(last, message=joined([raw]), fields={})
                line = more if parsed is None else parsed
                last = last if parsed is None else parsed
                if wanted.has(line):
                    yield from line.parts()
        finally:
            reader.close()

    def _newest_first(self, end: int | None) -> Iterator[LogLine]:
        rest: list[bytes] = []  # of an event, its last line first
        for raw in self._raw_newest_first(end):
            line = self.parse(raw)
            if line is None:
                rest.append(raw)
                continue
            yield line if not rest else replace(line, message=f"{line.message}\n{joined(rest[::-1])}")
            rest.clear()
        yield from (LogLine(joined([raw])) for raw in rest)

    def _raw_newest_first(self, end: int | None) -> Iterator[bytes]:
        """All pieces are opened first, so that a rotation meanwhile shows nothing twice."""
        with ExitStack() as stack:
            files: dict[tuple[int, int], BinaryIO] = {}
            for number in range(PIECES):
                file = _opened(piece(self.path, number))
                if file is not None:
                    files.setdefault(_identity(os.fstat(stack.enter_context(file).fileno())), file)
            for file in files.values():
                yield from _backwards(file, end)
                end = None


def worker_log(nova: Parts, name: str) -> Log:
    """Raises NotFound for a name that never was."""
    path = nova.settings.logs_dir / "workers" / f"{name}.log"
    if "/" in name or "\0" in name or (not path.exists() and name not in nova.fleet.snapshot().deployments):
        raise NotFound(f"no deployment is called {name!r}", hint="nova workers status lists them")
    return Log(path, parse)


def manager_log(nova: Parts) -> Log:
    """What managers in the background write of themselves; one in the foreground writes to standard error instead."""
    return Log(nova.settings.logs_dir / MANAGER_LOG, parse_event)


class _Reader:
    """Whole lines as they are appended to a file, and to those that take its place when it is rotated."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _opened(path)
        self.end = self._file.seek(0, os.SEEK_END) if self._file is not None else None

    def lines(self, wait: Wait) -> Iterator[bytes]:
        rest = b""
        while True:
            replaced = self._was_replaced()  # looked at first: nothing of the old is missed
            data = self._file.read(_BLOCK) if self._file is not None else b""
            if data:
                *whole, rest = (rest + data).split(b"\n")
                yield from whole
                if len(rest) > _LONGEST:
                    yield rest
                    rest = b""
            elif not replaced or not self._next():
                wait(_LOOK_S)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _was_replaced(self) -> bool:
        return self._file is None or not _is_at(self._path, self._file)

    def _next(self) -> bool:
        """The piece that was begun after this one, also where several were since the last look."""
        pieces = [piece(self._path, number) for number in range(PIECES - 1, -1, -1)]
        at = next((i for i, one in enumerate(pieces) if self._file is not None and _is_at(one, self._file)), -1)
        for newer in pieces[at + 1 :] if self._file is not None else [self._path]:
            file = _opened(newer)
            if file is not None:
                self.close()
                self._file = file
                return True
        return False


def _backwards(file: BinaryIO, end: int | None) -> Iterator[bytes]:
    """The lines of a file, the last one first, read from its end, so that a long log costs no more than a short one."""
    last = at = file.seek(0, os.SEEK_END) if end is None else end
    rest: list[bytes] = []  # of a line whose beginning is not read yet, its last part first
    while at > 0:
        size = min(_BLOCK, at)
        at = file.seek(at - size)
        block = file.read(size)
        if at + size == last:
            block = block.removesuffix(b"\n")
        head, *whole = block.split(b"\n")
        if whole:
            yield b"".join([whole.pop(), *reversed(rest)])
            yield from reversed(whole)
            rest = []
        rest.append(head)
    if last:
        yield b"".join(reversed(rest))


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return _identity(path.stat()) == _identity(os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def texts(lines: Iterable[LogLine]) -> list[str]:
    return [text for line in lines for text in line.text()]
