"""Rows written once: the durable state remembers which, and what was being written when a process died."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from workers.agents.row_file import RowFile

_PENDING = "pending"
_MOST_AT_ONCE = 2000
_BUCKET = 2  # of a digest's characters: each bucket is one value of the state

Row = Mapping[str, Any]  # texts, lists of texts, or None


class RowKeeper:
    """`key` names the fields that make two rows the same, none of them meaning all of `fields`. What was written under
    another `name` or by another key is not remembered.

    The order of writing makes it exact: what is about to be appended is noted, then appended, then remembered as
    written, and only then the note goes. So `recover` can tell at any moment which rows are in the file.
    """

    def __init__(
        self,
        state: MutableMapping[str, Any],
        path: Path,
        *,
        name: str,
        fields: Sequence[str],
        key: Sequence[str] = (),
        stamp: str | None = None,
    ) -> None:
        self._state = state
        self._key = tuple(key) or tuple(fields)
        self._fields = tuple(fields)
        self._stamp = stamp
        self._file = RowFile(path, [*fields, *([stamp] if stamp else [])])
        self.name = digest(name, *self._key)[:8]
        self._seen: dict[str, set[str]] = {}

    def recover(self) -> None:
        """To be called before the first `add`: settles what an earlier process left half done."""
        note = self._state.get(_PENDING)
        if note is None:
            return
        written = RowFile(Path(note["file"]), ()).recover(note["offset"])
        self._remember(note["name"], note["rows"][:written])

    def add(self, rows: Iterable[Row], at: str) -> int:
        """Appends the rows that were never written and returns how many. Raises RowFileProblem."""
        fresh: dict[str, Row] = {}
        for row in rows:
            mark = self._mark(row)
            if mark not in fresh and mark[_BUCKET:] not in self._bucket(self.name, mark[:_BUCKET]):
                fresh[mark] = row
        marks = list(fresh)
        for first in range(0, len(marks), _MOST_AT_ONCE):
            some = marks[first : first + _MOST_AT_ONCE]
            self._write(some, [self._stamped(fresh[mark], at) for mark in some])
        return len(marks)

    def has(self, row: Row) -> bool:
        """Whether it is written, told by the fields of its key."""
        mark = self._mark(row)
        return mark[_BUCKET:] in self._bucket(self.name, mark[:_BUCKET])

    def _write(self, marks: list[str], rows: list[Row]) -> None:
        offset = self._file.begin()
        self._state[_PENDING] = {"file": str(self._file.path), "offset": offset, "name": self.name, "rows": marks}
        self._file.append(b"".join(self._file.line(row) for row in rows))
        self._remember(self.name, marks)

    def _remember(self, name: str, marks: Iterable[str]) -> None:
        buckets = defaultdict(list)
        for mark in marks:
            buckets[mark[:_BUCKET]].append(mark[_BUCKET:])
        for bucket, rest in buckets.items():
            known = self._bucket(name, bucket) | set(rest)
            self._state[f"seen.{name}.{bucket}"] = sorted(known)
            self._seen[f"{name}.{bucket}"] = known
        del self._state[_PENDING]

    def _bucket(self, name: str, bucket: str) -> set[str]:
        known = self._seen.get(f"{name}.{bucket}")
        if known is None:
            known = self._seen[f"{name}.{bucket}"] = set(self._state.get(f"seen.{name}.{bucket}", ()))
        return known

    def _mark(self, row: Row) -> str:
        """A row that lacks its whole key is told apart by everything it has."""
        values = [row.get(name) for name in self._key]
        if all(value is None for value in values):
            values = [None, *(row.get(name) for name in self._fields)]
        return digest(*values)[:16]

    def _stamped(self, row: Row, at: str) -> Row:
        return {**row, self._stamp: at} if self._stamp else row


class StateOf(MutableMapping[str, Any]):
    """A part of a durable state: the keys that begin with `prefix`."""

    def __init__(self, state: MutableMapping[str, Any], prefix: str) -> None:
        self._state = state
        self._prefix = prefix

    def __getitem__(self, key: str) -> Any:
        return self._state[self._prefix + key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._state[self._prefix + key] = value

    def __delitem__(self, key: str) -> None:
        del self._state[self._prefix + key]

    def __iter__(self) -> Iterator[str]:
        return (key[len(self._prefix) :] for key in self._state if key.startswith(self._prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def is_whole(text: str) -> bool:
    """Whether it can be written: JSON may hold half a character, which is no text."""
    return text.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in text)


def digest(*values: Any) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
