"""Export and import, a line at a time: both stream, so that neither needs memory for the history it moves."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from sqlalchemy import Connection, func, select

from nova.errors import UsageProblem
from nova.ledger.booking import Recorded, record_facts
from nova.ledger.dialect import expect_bulk, expect_single_writes
from nova.ledger.facts import Fact
from nova.ledger.lines import read_line, write_entry, write_run
from nova.ledger.run_records import RunRecord, import_runs, record_of
from nova.ledger.schema import entries, runs

if TYPE_CHECKING:
    from nova.ledger.store import Store

LINES_A_TRANSACTION = 32_000
MOST_REASONS = 1000
_ROWS = 2000

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Imported:
    """`entries` and `runs` were read well; they are `new` or `duplicate`, or refused for what the ledger holds.

    `rejected` are (line, reason), the first thousand of `rejections`.
    """

    lines: int
    entries: int
    runs: int
    new: int
    duplicate: int
    rejections: int
    rejected: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Exported:
    entries: int
    runs: int


@dataclass(slots=True)
class _Tally:
    lines: int = 0
    entries: int = 0
    runs: int = 0
    new: int = 0
    duplicate: int = 0
    rejections: int = 0
    rejected: list[tuple[int, str]] = field(default_factory=list)

    def reject(self, line: int, reason: str) -> None:
        self.rejections += 1
        if len(self.rejected) < MOST_REASONS:
            self.rejected.append((line, reason))

    def outcome(self) -> Imported:
        return Imported(
            self.lines, self.entries, self.runs, self.new, self.duplicate, self.rejections, tuple(sorted(self.rejected))
        )


@dataclass(slots=True)
class _Batch:
    """What was read well, each with the number of its line."""

    facts: list[tuple[int, Fact]] = field(default_factory=list)
    runs: list[tuple[int, RunRecord]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.facts) + len(self.runs)

    def halves(self) -> tuple[_Batch, _Batch]:
        """Both in order, and neither empty: the entries are divided first, then the runs."""
        facts = (len(self.facts) + 1) // 2 if len(self) > 1 else 0
        runs = 0 if self.facts else len(self.runs) // 2
        return _Batch(self.facts[:facts], self.runs[:runs]), _Batch(self.facts[facts:], self.runs[runs:])


class Transfer:
    def __init__(self, store: Store) -> None:
        self._store = store

    def size(self) -> int:
        """How many lines an export would have."""
        with self._store.read() as conn:
            ended = select(func.count()).select_from(runs).where(runs.c.ended_us.is_not(None))
            return (
                conn.execute(select(func.count()).select_from(entries)).scalar_one() + conn.execute(ended).scalar_one()
            )

    def export(self, out: TextIO, progress: Progress | None = None) -> Exported:
        """Writes every entry in the order it was recorded, then every ended run by id, as of one instant.

        `progress` is told how many lines were written since it was told last.
        """
        written = [0, 0]
        with self._store.read() as conn:
            for kind, lines in enumerate((_entry_lines(conn), _run_lines(conn))):
                for part in lines:
                    out.write("".join(part))
                    written[kind] += len(part)
                    if progress is not None:
                        progress(len(part))
        return Exported(*written)

    def import_lines(self, lines: Iterable[str | bytes], progress: Progress | None = None) -> Imported:
        """A bad line is rejected with its number and the others land; what is there already is counted as duplicate.

        Some ten thousand lines are one transaction. `progress` is told how many bytes (or characters) it took since it
        was told last.
        """
        with _uncollected():
            return self._import(lines, progress)

    def _import(self, lines: Iterable[str | bytes], progress: Progress | None) -> Imported:
        tally = _Tally()
        batch, size = _Batch(), 0
        for number, line in enumerate(lines, 1):
            tally.lines = number
            size += len(line)
            self._read(number, line, batch, tally)
            if number % LINES_A_TRANSACTION == 0:
                self._land(batch, tally)
                batch = _Batch()
                if progress is not None:
                    progress(size)
                size = 0
        self._land(batch, tally)
        self._store.apply(expect_single_writes)
        if progress is not None and size:
            progress(size)
        return tally.outcome()

    def _read(self, number: int, line: str | bytes, batch: _Batch, tally: _Tally) -> None:
        try:
            text = (line if isinstance(line, str) else line.decode()).strip()
            if number == 1:
                text = text.removeprefix("\ufeff")
            if not text:
                return
            found = read_line(text, self._store.currency)
        except UnicodeDecodeError:
            tally.reject(number, "not UTF-8")
        except UsageProblem as problem:
            tally.reject(number, problem.message)
        else:
            if isinstance(found, Fact):
                batch.facts.append((number, found))
            else:
                batch.runs.append((number, found))

    def _land(self, batch: _Batch, tally: _Tally) -> None:
        if not len(batch):
            return
        tally.entries += len(batch.facts)
        tally.runs += len(batch.runs)
        try:
            self._write(batch, tally)
        except UsageProblem as problem:
            # Something only the ledger could tell, such as what an amount is in its currency.
            if len(batch) == 1:
                tally.reject(*((batch.facts or batch.runs)[0][0], problem.message))
                tally.entries -= len(batch.facts)
                tally.runs -= len(batch.runs)
                return
            tally.entries -= len(batch.facts)
            tally.runs -= len(batch.runs)
            for half in batch.halves():
                self._land(half, tally)

    def _write(self, batch: _Batch, tally: _Tally) -> None:
        facts, records = [fact for _, fact in batch.facts], [run for _, run in batch.runs]

        def work(conn: Connection) -> tuple[Recorded, tuple[int, int, tuple[tuple[int, str], ...]]]:
            expect_bulk(conn)
            return record_facts(conn, self._store, facts), import_runs(conn, records) if records else (0, 0, ())

        recorded, (new, duplicate, conflicts) = self._store.apply(work)
        tally.new += recorded.new + new
        tally.duplicate += recorded.duplicate + duplicate
        for conflict in recorded.conflicts:
            tally.reject(batch.facts[conflict.index][0], conflict.message)
        for index, message in conflicts:
            tally.reject(batch.runs[index][0], message)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Millions of small values without a cycle among them: looking for cycles would take a tenth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _entry_lines(conn: Connection) -> Iterator[list[str]]:
    rows = conn.execution_options(yield_per=_ROWS).execute(select(entries).order_by(entries.c.seq))
    for part in rows.partitions():
        yield [write_entry(row) + "\n" for row in part]


def _run_lines(conn: Connection) -> Iterator[list[str]]:
    query = select(runs).where(runs.c.ended_us.is_not(None)).order_by(runs.c.id)
    for part in conn.execution_options(yield_per=_ROWS).execute(query).partitions():
        yield [write_run(record_of(row)) + "\n" for row in part]
