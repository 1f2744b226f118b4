"""Tables as lines of a given width. Words are folded, or go below their row; figures are never cut. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from nova.words import NOTHING

_GAP = 2
_INDENT = 4
_READABLE = 24  # words in a narrower column are easier to read below the row
_NAME = 8  # a name is cut to this at the least


@dataclass(frozen=True, slots=True)
class Column:
    """`right` for figures; `state` colours the words of STATE_COLOURS; `wrap` may be folded on a narrow terminal.

    `whole` is an id to be copied: like a figure, it is never cut.
    """

    head: str
    right: bool = False
    state: bool = False
    wrap: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a line. `column` is None for gaps and for what stands below a row."""

    text: str
    column: Column | None = None


Line = list[Piece]


def lines(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> Iterator[Line]:
    """The head's line and those of the rows. Without a `width` every row is one line and nothing is cut."""
    everything = [[column.head for column in columns], *rows]
    natural = [max(cells(row[i]) for row in everything) for i in range(len(columns))]
    plan = _Plan(columns, natural, [], _GAP) if width is None else _fit(columns, natural, width)
    for number, row in enumerate(everything):
        yield from plan.row(row)
        if number:
            yield from plan.below_row(row, width or 0)


@dataclass(frozen=True, slots=True)
class _Plan:
    columns: Sequence[Column]
    widths: list[int]
    below: list[int]  # the columns whose words stand below the row
    gap: int

    def row(self, row: Sequence[str]) -> Iterator[Line]:
        shown = [i for i in range(len(self.columns)) if i not in self.below]
        folded = [self._cell(i, row[i]) for i in shown]
        for level in range(max(len(cell) for cell in folded)):
            line: Line = []
            for i, cell in zip(shown, folded, strict=True):
                text = cell[level] if level < len(cell) else ""
                blank = " " * (self.widths[i] - cells(text))
                line += [Piece(blank), Piece(text, self.columns[i])] if self.columns[i].right else []
                line += [] if self.columns[i].right else [Piece(text, self.columns[i]), Piece(blank)]
                line.append(Piece(" " * self.gap))
            yield line

    def below_row(self, row: Sequence[str], width: int) -> Iterator[Line]:
        words = "  ".join(row[i] for i in self.below if row[i] not in ("", NOTHING))
        for text in folded_text(words, width - _INDENT) if words else ():
            yield [Piece(" " * _INDENT + text)]

    def _cell(self, i: int, text: str) -> list[str]:
        if cells(text) <= self.widths[i]:
            return [text]
        return folded_text(text, self.widths[i]) if self.columns[i].wrap else [_cut(text, self.widths[i])]


def _fit(columns: Sequence[Column], natural: list[int], width: int) -> _Plan:
    """As it is; else with words folded; else with words below; else narrower gaps; else names cut."""
    if sum(natural) + _GAP * (len(columns) - 1) <= width:
        return _Plan(columns, natural, [], _GAP)
    words = [i for i, column in enumerate(columns) if column.wrap]
    rest = width - _GAP * (len(columns) - 1) - sum(natural[i] for i in range(len(columns)) if i not in words)
    if words and rest >= sum(min(natural[i], _READABLE) for i in words):
        return _Plan(columns, _shared(natural, words, rest), [], _GAP)
    shown = [i for i in range(len(columns)) if i not in words]
    if not shown:  # nothing but words
        return _Plan(columns, _shared(natural, words, max(rest, len(words))), [], _GAP)
    gap = _GAP if sum(natural[i] for i in shown) + _GAP * (len(shown) - 1) <= width else 1
    room = width - gap * (len(shown) - 1)
    return _Plan(columns, _names_cut(columns, natural, shown, room), words, gap)


def _shared(natural: list[int], words: list[int], rest: int) -> list[int]:
    """The narrow ones get what they need, the wide ones an equal part of the rest."""
    widths = list(natural)
    left = list(words)
    while left:
        part = rest // len(left)
        narrow = [i for i in left if natural[i] <= part]
        if not narrow:
            widths = [part if i in left else one for i, one in enumerate(widths)]
            break
        rest -= sum(natural[i] for i in narrow)
        left = [i for i in left if i not in narrow]
    return [max(1, one) for one in widths]


def _names_cut(columns: Sequence[Column], natural: list[int], shown: list[int], room: int) -> list[int]:
    """The widest name first. What is too wide even so runs over the edge: a figure that is cut is a wrong figure."""
    widths = list(natural)
    while sum(widths[i] for i in shown) > room:
        names = [
            i
            for i in shown
            if not (columns[i].right or columns[i].whole) and widths[i] > max(_NAME, cells(columns[i].head))
        ]
        if not names:
            break
        widths[max(names, key=lambda i: widths[i])] -= 1
    return widths


def folded_text(text: str, width: int) -> list[str]:
    """Between words, and inside one that is longer than a whole line."""
    width = max(1, width)
    found = [""]
    for word in text.split(" "):
        joined = f"{found[-1]} {word}" if found[-1] else word
        if cells(joined) <= width:
            found[-1] = joined
            continue
        parts = list(_chunks(word, width))
        found = [*found, *parts] if found[-1] else parts
    return found


def _chunks(word: str, width: int) -> Iterable[str]:
    part = ""
    for char in word:
        if part and cells(part + char) > width:
            yield part
            part = ""
        part += char
    yield part


def _cut(text: str, width: int) -> str:
    while text and cells(text) >= width:
        text = text[:-1]
    return f"{text}…"


def cells(text: str) -> int:
    """How many places it takes on a terminal."""
    return len(text) if text.isascii() else sum(_places(char) for char in text)


def _places(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
