"""A listing watched over time: what is new in it, what changed and what is gone, each change told once."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.agents.row_file import RowFile
from workers.agents.row_keeper import Row, RowKeeper, StateOf, digest

NEW, CHANGED, GONE = "new", "changed", "gone"
_BUCKET = 2
_VERSION, _HERE, _VALUES = "n", "here", "row"


@dataclass(frozen=True, slots=True)
class Change:
    """`fields` names what is different in a changed row. A new row has no `before`, one that is gone no `after`."""

    kind: str
    id: str
    at: str
    before: Row | None
    after: Row | None
    fields: tuple[str, ...] = ()

    def row(self) -> dict[str, Any]:
        return {
            "change": self.kind, "id": self.id, "at": self.at, "fields": ",".join(self.fields),
            "before": _json(self.before), "after": _json(self.after),
        }  # fmt: skip


COLUMNS = ("change", "id", "at", "fields", "before", "after")


class RowWatcher:
    """`key` names the fields that make a row the same over time. Changes are appended to the file at `path`.

    A change is written before the state knows it and is remembered by its number, so that a death in between neither
    loses it nor tells it twice.
    """

    def __init__(self, state: MutableMapping[str, Any], path: Path, *, name: str, key: Sequence[str]) -> None:
        self._key = tuple(key)
        self._known = StateOf(state, f"watch.{digest(name, *self._key)[:8]}.")
        self._file = RowFile(path, COLUMNS)
        self._keeper = RowKeeper(StateOf(state, "changes."), path, name=name, fields=COLUMNS, key=("id",))

    def recover(self) -> None:
        """To be called before the first `look`."""
        self._keeper.recover()

    def look(self, rows: Sequence[Row], at: str, *, complete: bool) -> list[Change]:
        """What is different from the last look. Only a `complete` listing tells what is gone."""
        now = {digest(*(_text(row.get(name)) for name in self._key))[:16]: row for row in rows}
        buckets = self._buckets(now, complete=complete)
        changes = [change for bucket in buckets for change in self._compared(bucket, now, at, complete=complete)]
        for first in range(0, len(changes), 500):
            self._keeper.add([change.row() for change in changes[first : first + 500]], at)
        self._remember(buckets, now, complete=complete)
        return changes

    def latest(self, count: int) -> list[dict[str, str]]:
        """The newest changes first, as the file has them."""
        return self._file.tail(count)

    def newer_than(self, path: Path) -> bool:
        """Whether a change was written since that file was, which may not be there."""
        try:
            return self._file.path.stat().st_mtime_ns >= path.stat().st_mtime_ns
        except FileNotFoundError:
            return True

    def rows(self) -> list[Row]:
        """The listing as it was seen last, in the order of its keys."""
        found = [known[_VALUES] for bucket in self._known for known in self._known[bucket].values() if known[_HERE]]
        return sorted(found, key=lambda row: [_text(row.get(name)) or "" for name in self._key])

    def _buckets(self, now: Mapping[str, Row], *, complete: bool) -> list[str]:
        seen = {mark[:_BUCKET] for mark in now}
        return sorted(seen | set(self._known) if complete else seen)

    def _compared(self, bucket: str, now: Mapping[str, Row], at: str, *, complete: bool) -> list[Change]:
        known = self._known.get(bucket, {})
        changes = []
        for mark in [mark for mark in now if mark.startswith(bucket)]:
            change = self._difference(mark, known.get(mark), now[mark], at)
            changes += [change] if change else []
        if complete:
            gone = [mark for mark, one in known.items() if one[_HERE] and mark not in now]
            changes += [Change(GONE, _id(mark, known[mark], None), at, known[mark][_VALUES], None) for mark in gone]
        return changes

    def _difference(self, mark: str, known: Any, row: Row, at: str) -> Change | None:
        if known is None or not known[_HERE]:
            return Change(NEW, _id(mark, known, row), at, None, row)
        before = known[_VALUES]
        fields = tuple(name for name in {**before, **row} if before.get(name) != row.get(name))
        return Change(CHANGED, _id(mark, known, row), at, before, row, fields) if fields else None

    def _remember(self, buckets: Sequence[str], now: Mapping[str, Row], *, complete: bool) -> None:
        here: dict[str, dict[str, Row]] = defaultdict(dict)
        for mark, row in now.items():
            here[mark[:_BUCKET]][mark] = row
        for bucket in buckets:
            known = self._known.get(bucket, {})
            told = dict(known)
            for mark, row in here[bucket].items():
                told[mark] = _next(known.get(mark), row)
            if complete:
                told |= {mark: _left(one) for mark, one in known.items() if mark not in now}
            if told != known:
                self._known[bucket] = told


def _next(known: Any, row: Row) -> dict[str, Any]:
    if known is not None and known[_HERE] and known[_VALUES] == row:
        return dict(known)
    return {_VERSION: (known[_VERSION] if known else 0) + 1, _HERE: True, _VALUES: dict(row)}


def _left(known: Any) -> dict[str, Any]:
    return {**known, _VERSION: known[_VERSION] + known[_HERE], _HERE: False}


def _id(mark: str, known: Any, after: Row | None) -> str:
    """Each change of a row has a number of its own; what came of it tells apart two tries at the same number."""
    return f"{mark}-{(known[_VERSION] if known else 0) + 1}-{digest(after)[:6]}"


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _json(row: Row | None) -> str | None:
    return None if row is None else json.dumps(row, ensure_ascii=False)
