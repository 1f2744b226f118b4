"""What stdout carries: exactly one JSON document, or tables that fit a terminal and can be cut in a pipe."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import typer

from nova.cli import layout
from nova.cli.layout import Column as Column
from nova.cli.terminal import colourful, is_terminal, note, printable
from nova.clock import iso
from nova.money import Money

STATE_COLOURS = {
    **dict.fromkeys(("active", "running", "executed", "approved", "succeeded", "done", "ok", "yes"), "green"),
    **dict.fromkeys(("paused", "cooling_down", "pending", "deferred", "hung", "backing_off", "warning"), "yellow"),
    **dict.fromkeys(("parked", "killed", "failed", "rejected", "no", "wrong"), "red"),
}


def emit(document: Any) -> None:
    """One JSON document: decimal strings, ISO times, keys in the order they were given."""
    indent = 2 if is_terminal(sys.stdout) else None
    json.dump(document, sys.stdout, default=plain, ensure_ascii=False, allow_nan=False, indent=indent)
    sys.stdout.write("\n")


def plain(value: Any) -> Any:
    """What JSON lacks: money, decimals, instants, durations in seconds, dataclasses."""
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, (Money, Decimal, Path, date)):
        return str(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def line(text: str = "") -> None:
    """A line of data."""
    sys.stdout.write(printable(text) + "\n")


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]], *, empty: str | None = None) -> None:
    """Aligned columns in a pipe, nothing cut; on a terminal fitted to its width. `empty` is said where nothing is."""
    shown = [[printable(cell) for cell in row] for row in rows]
    if not shown and empty is not None:
        note(empty)
        return
    for number, parts in enumerate(layout.lines(columns, shown, _width())):
        text = "".join(_painted(part, head=not number) for part in _without_end(parts))
        sys.stdout.write(text.rstrip() + "\n")


def _without_end(parts: list[layout.Piece]) -> list[layout.Piece]:
    """No blanks at the end of a line."""
    end = next((i for i in range(len(parts), 0, -1) if parts[i - 1].text.strip()), 0)
    return parts[:end]


def _painted(part: layout.Piece, *, head: bool) -> str:
    if part.column is None or not colourful():
        return part.text
    if head:
        return typer.style(part.text, bold=True)
    colour = STATE_COLOURS.get(part.text.split(" ")[0]) if part.column.state else None
    return typer.style(part.text, fg=colour) if colour else part.text


def _width() -> int | None:
    """The terminal's, where there is one."""
    if not is_terminal(sys.stdout):
        return None
    found = shutil.get_terminal_size((80, 24)).columns
    return found if found > 0 else 80


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """Names and values, one a line; a long value is folded beside its name on a terminal."""
    rows = [(name, printable(value)) for name, value in pairs]
    indent = max((len(name) for name, _ in rows), default=0) + 2
    width = _width()
    for name, value in rows:
        first, *rest = [value] if width is None else layout.folded_text(value, max(width - indent, 20))
        sys.stdout.write(f"{name.ljust(indent)}{first}".rstrip() + "\n")
        sys.stdout.writelines(" " * indent + text + "\n" for text in rest)
