"""A CSV or JSONL file that only grows, a whole row at a time, also where the process dies while it writes."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nova.errors import NovaError

_TAIL_BYTES = 1_000_000
SUFFIXES = (".csv", ".jsonl", ".ndjson")


class RowFileProblem(NovaError):
    """The rows cannot be written."""


class RowFile:
    """`columns` are the CSV's; values must have no line breaks. One process writes it."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self._columns = tuple(columns)
        self._is_csv = path.suffix.lower() == ".csv"

    def begin(self) -> int:
        """Where the next row will stand; makes the file, with its head where it is CSV. Raises RowFileProblem."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            size = self.path.stat().st_size if self.path.exists() else 0
            if self._is_csv:
                return self._begin_csv(size)
            if size and not self._ends_whole(size):
                self.append(b"\n")
                size += 1
            return size
        except OSError as problem:
            raise self._failed(problem) from problem

    def _begin_csv(self, size: int) -> int:
        head = self._csv_line(self._columns)
        with self.path.open("ab+") as file:
            file.seek(0)
            first = file.read(len(head) + 1)
        if len(first) < len(head) and head.startswith(first):  # empty, or its making was cut short
            os.truncate(self.path, 0)
            self.append(head)
            return len(head)
        if first[: len(head)].replace(b"\r", b"").rstrip(b"\n") != head.rstrip(b"\n"):
            raise RowFileProblem(f"{self.path} has other columns", hint="set another output, or move the file away")
        if not self._ends_whole(size):
            self.append(b"\n")
            size += 1
        return size

    def line(self, row: Mapping[str, Any]) -> bytes:
        if self._is_csv:
            return self._csv_line([row.get(name) for name in self._columns])
        return json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n"

    def append(self, content: bytes) -> None:
        """Durable when it returns. On an error a part of it may be there: see `recover`."""
        fresh = not self.path.exists()
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                left = memoryview(content)
                while left:
                    left = left[os.write(fd, left) :]
                os.fsync(fd)
            finally:
                os.close(fd)
            if fresh:
                _sync_folder(self.path.parent)
        except OSError as problem:
            raise self._failed(problem) from problem

    def recover(self, offset: int) -> int:
        """How many whole rows stand behind `offset`; what is left of a half one is cut off."""
        try:
            with self.path.open("rb+") as file:
                file.seek(offset)
                written = file.read()
                whole = written.rfind(b"\n") + 1
                if whole < len(written):
                    file.truncate(offset + whole)
                    os.fsync(file.fileno())
                return written[:whole].count(b"\n")
        except FileNotFoundError:
            return 0
        except OSError as problem:
            raise self._failed(problem) from problem

    def tail(self, count: int) -> list[dict[str, str]]:
        """The last rows that were written whole, the newest first; none where there is no file."""
        try:
            with self.path.open("rb") as file:
                file.seek(0, os.SEEK_END)
                start = max(0, file.tell() - _TAIL_BYTES)
                file.seek(start)
                lines = file.read().decode("utf-8", "replace").split("\n")[1 if start else 0 : -1]
        except FileNotFoundError:
            return []
        except OSError as problem:
            raise self._failed(problem, "read") from problem
        if not self._is_csv:
            return [json.loads(line) for line in reversed(lines[-count:])]
        rows = [dict(zip(self._columns, row, strict=False)) for row in csv.reader(lines[0 if start else 1 :])]
        return rows[-count:][::-1]

    def _ends_whole(self, size: int) -> bool:
        with self.path.open("rb") as file:
            file.seek(size - 1)
            return file.read(1) == b"\n"

    def _csv_line(self, values: Sequence[Any]) -> bytes:
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerow([cell(value) for value in values])
        return out.getvalue().encode("utf-8", "replace")

    def _failed(self, problem: OSError, done: str = "written") -> RowFileProblem:
        return RowFileProblem(f"{self.path} cannot be {done}: {problem.strerror or problem}")


def cell(value: Any) -> str:
    """A value as CSV has it."""
    if isinstance(value, list):
        return "; ".join(value)
    return "" if value is None else str(value)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
