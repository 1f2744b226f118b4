"""Books the rows of a CSV file: a wrong row is refused by its line, the same file again adds nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nova.errors import NotFound, UsageProblem
from nova.ledger.booking import Recorded, record_facts
from nova.ledger.conversion import by_currency, converted
from nova.ledger.dialect import expect_bulk, expect_single_writes
from nova.ledger.facts import Fact, fact_of
from nova.money import Money
from nova.revenue.csv_rows import Columns, Lines, Rejected, Sale, read_rows

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from nova.ledger.store import Store
    from nova.revenue.office import Office

ROWS_A_TRANSACTION = 10_000
MOST_REASONS = 10_000
MODEL = "import"


class _Undone(Exception):
    """Ends the transaction of a strict import that must book nothing."""


@dataclass(frozen=True, slots=True)
class _Rates:
    reporting: str
    known: Mapping[str, str]

    def booked(self, micros: int, currency: str) -> int | None:
        """Each row converted by itself, as the ledger does it. Raises UsageProblem for more than it keeps."""
        if currency == self.reporting:
            return micros
        return converted(micros, currency, self.known.get(currency), self.reporting)


@dataclass(slots=True)
class _Tally:
    rows: int = 0
    new: int = 0
    duplicate: int = 0
    rejections: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    gross: int = 0
    waiting: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def reject(self, line: int, reason: str) -> None:
        self.rejections += 1
        if len(self.rejected) < MOST_REASONS:
            self.rejected.append(Rejected(line, reason))

    def landed(self, batch: Sequence[tuple[int, Fact]], recorded: Recorded, rates: _Rates) -> None:
        refused = {conflict.index for conflict in recorded.conflicts}
        for conflict in recorded.conflicts:
            self.reject(batch[conflict.index][0], conflict.message)
        self.new += recorded.new
        self.duplicate += recorded.duplicate
        for index, (_, fact) in enumerate(batch):
            if fact.kind == "revenue" and index not in refused:
                booked = rates.booked(fact.micros, fact.currency)
                if booked is None:
                    self.waiting[fact.currency] += fact.micros
                else:
                    self.gross += booked


def import_csv(
    nova: Office,
    file: Path,
    *,
    source: str,
    at_column: str,
    amount_column: str,
    id_column: str | None = None,
    worker: str | None = None,
    worker_column: str | None = None,
    currency: str | None = None,
    date_format: str | None = None,
    strict: bool = False,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Amounts above zero become revenue, below zero refunds. `progress` is told how many bytes were read so far.

    A row without a worker of its own is `worker`'s, else unattributed; `currency` is a code or a column. `strict`: one
    wrong row, and none is booked. `gross` are the sales of the rows that the ledger holds now, booked now or before.
    Raises NotFound without the file, and UsageProblem where its head line or an option is wrong.
    """
    columns = Columns(at_column, amount_column, id_column, worker_column, currency, date_format)
    store = nova.ledger.store
    with store.read() as conn:
        rates = _Rates(store.currency, by_currency(conn))
    make = _Facts(source, worker, None if worker_column is None else f"column {worker_column}", rates)

    def rows() -> Iterator[tuple[int, Fact | str]]:
        with _opened(file) as raw:
            lines = Lines(raw, progress)
            for number, found in enumerate(read_rows(lines, columns, store.currency, store.zone), 1):
                yield make(found)
                if number % ROWS_A_TRANSACTION == 0:
                    lines.tell()
            lines.tell()

    tally = _strictly(store, rows, rates) if strict else _loosely(store, rows(), rates)
    return _document(source, store.currency, tally, strict=strict)


def _loosely(store: Store, rows: Iterable[tuple[int, Fact | str]], rates: _Rates) -> _Tally:
    """A transaction for every few thousand rows."""
    tally = _Tally()
    try:
        for batch in _batches(rows, tally):
            tally.landed(batch, store.apply(partial(_record, store, batch)), rates)
    finally:
        store.apply(expect_single_writes)
    return tally


def _strictly(store: Store, rows: Callable[[], Iterable[tuple[int, Fact | str]]], rates: _Rates) -> _Tally:
    """Reads everything first and then books it in one transaction, or nothing."""
    checked = _Tally()
    for _ in _batches(rows(), checked):
        pass
    if checked.rejected:
        return checked
    tally = _Tally()

    def work(conn: Connection) -> None:
        for batch in _batches(rows(), tally):
            tally.landed(batch, _record(store, batch, conn), rates)
        if tally.rejected:
            raise _Undone

    try:
        store.apply(work)
    except _Undone:
        return _Tally(rows=tally.rows, rejections=tally.rejections, rejected=tally.rejected)
    finally:
        store.apply(expect_single_writes)
    return tally


def _batches(rows: Iterable[tuple[int, Fact | str]], tally: _Tally) -> Iterator[list[tuple[int, Fact]]]:
    batch: list[tuple[int, Fact]] = []
    for line, found in rows:
        tally.rows += 1
        if isinstance(found, str):
            tally.reject(line, found)
            continue
        batch.append((line, found))
        if len(batch) >= ROWS_A_TRANSACTION:
            yield batch
            batch = []
    if batch:
        yield batch


def _record(store: Store, batch: Sequence[tuple[int, Fact]], conn: Connection) -> Recorded:
    if len(batch) == ROWS_A_TRANSACTION:
        expect_bulk(conn)
    return record_facts(conn, store, [fact for _, fact in batch])


class _Facts:
    """Makes a fact of a row, or says why it is none."""

    def __init__(self, source: str, worker: str | None, column: str | None, rates: _Rates) -> None:
        self._source, self._worker, self._column, self._rates = source, worker, column, rates

    def __call__(self, row: Sale | Rejected) -> tuple[int, Fact | str]:
        if isinstance(row, Rejected):
            return row.line, row.reason
        worker = row.worker or self._worker
        evidence = None if worker is None else self._column if row.worker is not None else "option worker"
        kind, micros = ("revenue", row.micros) if row.micros > 0 else ("refund", -row.micros)
        try:
            self._rates.booked(micros, row.currency)
            return row.line, fact_of(
                self._source, row.id, kind, worker, None, micros, row.currency, None, row.at_us,
                None if worker is None else MODEL, evidence, None, None, None, self._rates.reporting,
            )  # fmt: skip
        except UsageProblem as problem:
            return row.line, problem.message


def _opened(file: Path) -> Any:
    try:
        return file.open("rb")
    except FileNotFoundError:
        raise NotFound(f"there is no file {file}") from None
    except OSError as error:
        raise UsageProblem(f"{file} cannot be read: {error.strerror}") from None


def _document(source: str, currency: str, tally: _Tally, *, strict: bool) -> dict[str, Any]:
    waiting = [Money(micros, code) for code, micros in sorted(tally.waiting.items())]
    return {
        "source": source,
        "currency": currency,
        "rows": tally.rows,
        "new": tally.new,
        "duplicate": tally.duplicate,
        "rejected": [
            {"line": one.line, "reason": one.reason} for one in sorted(tally.rejected, key=lambda one: one.line)
        ],
        "rejections": tally.rejections,
        "gross": str(Money(tally.gross, currency)),
        "unconverted": [{"currency": money.currency, "amount": str(money)} for money in waiting],
        "booked": not (strict and tally.rejected),
    }
