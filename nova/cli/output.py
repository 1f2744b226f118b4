"""What stdout carries: exactly one JSON document, or tables that fit a terminal and can be cut in a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from nova.cli.terminal import colourful, is_terminal, printable
from nova.clock import iso
from nova.money import Money

STATE_COLOURS = {
    **dict.fromkeys(("active", "running", "executed", "approved", "succeeded", "ok", "yes"), "green"),
    **dict.fromkeys(("paused", "cooling_down", "pending", "deferred", "hung", "backing_off", "warning"), "yellow"),
    **dict.fromkeys(("parked", "killed", "failed", "rejected", "no", "wrong"), "red"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """`right` for figures; `state` colours the words of STATE_COLOURS; `wrap` may be folded on a narrow terminal."""

    head: str
    right: bool = False
    state: bool = False
    wrap: bool = False


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


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Aligned columns in a pipe, nothing cut; on a terminal fitted to its width."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if is_terminal(sys.stdout):
        _rich_table(columns, cells)
    else:
        sys.stdout.writelines(_aligned(columns, cells))


def _aligned(columns: Sequence[Column], rows: list[list[str]]) -> Iterable[str]:
    everything = [[column.head for column in columns], *rows]
    widths = [max(len(row[i]) for row in everything) for i in range(len(columns))]
    for row in everything:
        cells = (
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        )
        yield "  ".join(cells).rstrip() + "\n"


def _rich_table(columns: Sequence[Column], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, header_style="bold" if colourful() else "", padding=(0, 2, 0, 0))
    for column in columns:
        shown.add_column(
            column.head,
            justify="right" if column.right else "left",
            no_wrap=not column.wrap,
            overflow="fold" if column.wrap else "ellipsis",
        )
    for row in rows:
        styled = [
            Text(cell, style=STATE_COLOURS.get(cell.split(" ")[0], "") if column.state else "")
            for cell, column in zip(row, columns, strict=True)
        ]
        shown.add_row(*styled)
    Console(no_color=not colourful(), highlight=False, soft_wrap=False).print(shown)


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """Names and values, one a line."""
    rows = [(name, printable(value)) for name, value in pairs]
    width = max((len(name) for name, _ in rows), default=0)
    sys.stdout.writelines(f"{name.ljust(width)}  {value}".rstrip() + "\n" for name, value in rows)
