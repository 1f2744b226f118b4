"""What a language model is asked about, row by row: a CSV or JSONL file, or a text with a line each."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from nova.errors import NovaError
from workers.agents.row_keeper import digest, is_whole

Row = Mapping[str, str]
_MOST_CHARS = 4_000_000


class InputProblem(NovaError):
    """The inputs cannot be read."""


def rows_of(path: Path) -> Iterator[Row]:
    """Raises InputProblem, naming the line where it can."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".csv":
                yield from _csv(file)  # csv bounds its fields itself
            elif path.suffix.lower() in (".jsonl", ".ndjson"):
                yield from _jsonl(path, _lines(path, file))
            else:
                yield from ({"line": line.strip()} for line in _lines(path, file) if line.strip())
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        why = problem.strerror if isinstance(problem, OSError) else str(problem)
        raise InputProblem(f"{path} cannot be read: {why}", hint="set inputs to a CSV, JSONL or text file") from None


def name_of(row: Row, key: Sequence[str]) -> str:
    """What tells rows apart: the fields of `key`, else all of them. Raises InputProblem."""
    missing = [name for name in key if name not in row]
    if missing:
        raise InputProblem(f"a row has no {', '.join(missing)}", hint=f"it has {', '.join(row)}")
    chosen = key or sorted(row)
    return digest(*(text for name in chosen for text in (name, row[name])))[:24]


def _lines(path: Path, file: TextIO) -> Iterator[str]:
    """None of them is read whole where it is longer than any row can be."""
    number = 0
    while line := file.readline(_MOST_CHARS + 1):
        number += 1
        if len(line) > _MOST_CHARS:
            raise InputProblem(f"line {number} of {path} has more than {_MOST_CHARS} characters")
        yield line


def _csv(file: Any) -> Iterator[Row]:
    for row in csv.DictReader(file):
        yield {
            name: value or "" for name, value in row.items() if isinstance(name, str) and not isinstance(value, list)
        }


def _jsonl(path: Path, file: Any) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise InputProblem(f"line {number} of {path} is no JSON object")
        read = {name: value if isinstance(value, str) else json.dumps(value) for name, value in row.items()}
        if not is_whole("".join((*read, *read.values()))):
            raise InputProblem(f"line {number} of {path} holds half a character")
        yield read
