"""Reads the rows of a CSV file of sales, each with the number of its line, and refuses what it cannot be sure of.

Streams: memory does not grow with the file, but where rows have no id of their own; then equal rows are counted.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from nova.clock import to_us
from nova.errors import UsageProblem
from nova.money import MAX_MICROS, MICROS

_DELIMITERS = (",", ";", "\t", "|")
_PLAIN = re.compile(r"([+-]?)(\d{1,12})(?:\.(\d{1,6}))?", re.ASCII)
_GROUPED = re.compile(r"([+-]?)(\d{1,3}(?:,\d{3})+)(?:\.(\d{1,6}))?", re.ASCII)
_COMMA = re.compile(r"[+-]?\d{1,3}(?:[.\s]\d{3})*,\d{1,2}|[+-]?\d+,\d{1,2}", re.ASCII)
_CODE = re.compile(r"[A-Z]{3}", re.ASCII)
_SYMBOLS = {
    "$": ("USD", "CAD", "AUD", "NZD", "SGD", "HKD", "MXN"),
    "€": ("EUR",),
    "£": ("GBP",),
    "¥": ("JPY", "CNY"),
}
_DATES_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of columns. `currency` names one too, or is a currency's code."""

    at: str
    amount: str
    id: str | None = None
    worker: str | None = None
    currency: str | None = None
    date_format: str | None = None


@dataclass(frozen=True, slots=True)
class Sale:
    """A row. `micros` is negative for money given back; without an id of its own `id` follows from its content."""

    line: int
    id: str
    at_us: int
    micros: int
    currency: str
    worker: str | None


@dataclass(frozen=True, slots=True)
class Rejected:
    line: int
    reason: str


class BadRow(Exception):
    """Why a row is refused."""


class Lines:
    """The file's lines as text, without a byte order mark. Bytes that are no UTF-8 become half characters.

    `count` lines were given so far.
    """

    def __init__(self, raw: Iterable[bytes], progress: Callable[[int], None] | None = None) -> None:
        self._raw = raw
        self._progress = progress
        self._bytes = 0
        self.count = 0
        self.damaged = False

    def __iter__(self) -> Iterator[str]:
        for raw in self._raw:
            line = raw
            if self.count == 0:
                if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                    raise UsageProblem("the file is UTF-16", hint="save it as UTF-8")
                line = raw.removeprefix(b"\xef\xbb\xbf")
            self.count += 1
            self._bytes += len(raw)
            try:
                yield line.decode()
            except UnicodeDecodeError:
                self.damaged = True
                yield line.decode(errors="surrogateescape")

    def tell(self) -> None:
        if self._progress is not None:
            self._progress(self._bytes)


def read_rows(lines: Lines, columns: Columns, reporting: str, zone: ZoneInfo) -> Iterator[Sale | Rejected]:
    """Raises UsageProblem where the head line lacks what is needed."""
    text = iter(lines)
    head_line = next((line for line in text if line.strip()), None)
    if head_line is None:
        raise UsageProblem("the file is empty", hint="it needs a head line with the names of the columns")
    head, delimiter = _head(head_line, columns)
    parse = _Parser(head, columns, reporting, zone)
    reader = csv.reader(text, delimiter=delimiter, strict=True)  # else a quote left open swallows the rows behind it
    while True:
        line = lines.count + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            goes_on = "expected after" in str(error)
            yield Rejected(line, _unreadable(error, line, lines.count, goes_on=goes_on))
            if goes_on:
                continue
            return
        if cells is None:
            return
        if any(cells):
            yield _row(parse, cells, line, lines)


def _unreadable(error: csv.Error, first: int, last: int, *, goes_on: bool) -> str:
    """Also which lines were lost with it, where an open quote made one row of them."""
    if not goes_on:
        return f"unreadable ({error}), perhaps a quote is not closed; nothing after it was read"
    return f"unreadable ({error})" + (f"; the lines to {last} are lost in its quotes" if last > first else "")


def _row(parse: _Parser, cells: list[str], line: int, lines: Lines) -> Sale | Rejected:
    try:
        if lines.damaged and any("\udc80" <= sign <= "\udcff" for cell in cells for sign in cell):
            raise BadRow("it is not UTF-8; save the file as UTF-8")
        return parse(cells, line)
    except BadRow as bad:
        return Rejected(line, str(bad))


def _head(line: str, columns: Columns) -> tuple[list[str], str]:
    needed = [name for name in (columns.at, columns.amount, columns.id, columns.worker) if name is not None]
    best: list[str] = []
    for delimiter in _DELIMITERS:
        head = [name.strip() for name in next(csv.reader([line], delimiter=delimiter))]
        twice = [name for name in needed if head.count(name) > 1]
        if twice:
            raise UsageProblem(f"the head line has two columns {twice[0]!r}", hint="give one of them another name")
        if all(name in head for name in needed):
            return head, delimiter
        best = max(best, head, key=len)
    missing = [name for name in needed if name not in best]
    raise UsageProblem(
        f"the head line has no column {', '.join(repr(name) for name in missing)}",
        hint=f"its columns are {', '.join(best)}",
    )


class _Parser:
    """Makes a sale of the cells of a row."""

    def __init__(self, head: list[str], columns: Columns, reporting: str, zone: ZoneInfo) -> None:
        self._width = len(head)
        self._at, self._amount = head.index(columns.at), head.index(columns.amount)
        self._id = None if columns.id is None else head.index(columns.id)
        self._worker = None if columns.worker is None else head.index(columns.worker)
        self._currency, self._code = _currency_of(columns.currency, head, reporting)
        self._instant = _instants(columns.date_format, zone)
        self._seen: dict[bytes, int] = {}

    def __call__(self, cells: list[str], line: int) -> Sale:
        if len(cells) != self._width:
            cells = self._trimmed(cells)
        code = self._code if self._currency is None else _code(cells[self._currency])
        micros, currency = amount_of(cells[self._amount], code)
        worker = None if self._worker is None else cells[self._worker].strip() or None
        return Sale(line, self._key(cells), self._instant(cells[self._at].strip()), micros, currency, worker)

    def _trimmed(self, cells: list[str]) -> list[str]:
        if len(cells) > self._width and not any(cells[self._width :]):
            return cells[: self._width]
        raise BadRow(f"it has {len(cells)} cells, the head line {self._width}; a cell with a comma needs quotes")

    def _key(self, cells: Sequence[str]) -> str:
        """The row's own id; else what it says, and which of the rows that say the same it is."""
        if self._id is not None:
            id = cells[self._id].strip()
            if not id:
                raise BadRow("its id is empty")
            return id
        digest = hashlib.sha256("\x1f".join(cells).encode()).digest()[:16]
        count = self._seen[digest] = self._seen.get(digest, 0) + 1
        return f"row:{digest.hex()}:{count}"


def amount_of(text: str, code: str) -> tuple[int, str]:
    """Millionths and the currency. Raises BadRow for zero, and for what could be read in two ways."""
    text = text.strip()
    match = _PLAIN.fullmatch(text)
    if match is None:
        text, code = _without_currency(text, code)
        match = _PLAIN.fullmatch(text) or _GROUPED.fullmatch(text)
    if match is None:
        raise BadRow(_not_an_amount(text))
    sign, whole, fraction = match.groups()
    micros = int(whole.replace(",", "")) * MICROS + (int(fraction.ljust(6, "0")) if fraction else 0)
    if micros == 0:
        raise BadRow("its amount is zero")
    if micros > MAX_MICROS:
        raise BadRow("its amount is larger than nova keeps (100 billion)")
    return -micros if sign == "-" else micros, code


def _without_currency(text: str, code: str) -> tuple[str, str]:
    """Takes away brackets that mean minus, a currency sign that fits, or a code; another code takes its place."""
    if text.startswith("(") and text.endswith(")"):
        text = f"-{text[1:-1].strip()}"
    minus, text = ("-", text[1:].strip()) if text.startswith("-") else ("", text)
    sign = text[:1]
    if sign in _SYMBOLS:
        if code not in _SYMBOLS[sign]:
            raise BadRow(f"its amount is in {sign}, but the currency is {code}")
        text = text[1:].strip()
    first, _, rest = text.partition(" ")
    if _CODE.fullmatch(first) and rest:
        code, text = first, rest.strip()
    elif _CODE.fullmatch(text[-3:]) and text[:-3].strip():
        code, text = text[-3:], text[:-3].strip()
    return (text if text.startswith("-") and not minus else minus + text), code


def _not_an_amount(text: str) -> str:
    if not text:
        return "its amount is empty"
    said = f"not an amount of money: {text[:60]!r}"
    return f"{said}; write decimals with a point" if _COMMA.fullmatch(text) else said


def _currency_of(said: str | None, head: list[str], reporting: str) -> tuple[int | None, str]:
    if said is None:
        return None, reporting
    if said in head:
        return head.index(said), reporting
    code = said.strip().upper()
    if not _CODE.fullmatch(code):
        raise UsageProblem(f"{said!r} is neither a currency nor a column", hint="write it as --currency EUR")
    return None, code


def _code(text: str) -> str:
    code = text.strip().upper()
    if not _CODE.fullmatch(code):
        raise BadRow(f"not a currency: {text[:20]!r}")
    return code


def _instants(date_format: str | None, zone: ZoneInfo) -> Callable[[str], int]:
    """Reads times as microseconds. One without an offset is in the operator's time zone, so that its day is its day."""

    @lru_cache(_DATES_REMEMBERED)
    def instant(text: str) -> int:
        try:
            at = datetime.fromisoformat(text) if date_format is None else datetime.strptime(text, date_format)  # noqa: DTZ007
            return to_us((at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC))
        except (ValueError, OverflowError):
            wanted = "2026-01-31 or 2026-01-31T09:30:00Z" if date_format is None else date_format
            raise BadRow(f"not a time: {text[:60]!r}, expected {wanted}" + _advice(text, date_format)) from None

    return instant


def _advice(text: str, date_format: str | None) -> str:
    return "; say how with --date-format" if date_format is None and text else ""
