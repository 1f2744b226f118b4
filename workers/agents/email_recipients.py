"""Lists of recipients: files that are read through for some shards at a time."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from nova.errors import UsageProblem
from nova.people import subject_of_email
from workers.agents.email_plan import MARK_CHARS, shard_of

SUFFIXES = (".csv", ".json", ".jsonl")

Row = Mapping[str, Any]


def mark_of(email: str) -> str:
    """What stands for an address where progress is kept."""
    return subject_of_email(email)[-MARK_CHARS:]


def rows(path: Path, email_field: str) -> Iterator[Row]:
    """Those that have something in the field of the address. Raises UsageProblem."""
    try:
        for row in _of_csv(path, email_field) if path.suffix.lower() == ".csv" else _of_json(path):
            email = row.get(email_field)
            if isinstance(email, str) and email.strip():
                yield row
    except OSError as error:
        raise UsageProblem(f"{path} cannot be read: {error.strerror}", hint="a list stands in NOVA_HOME/data") from None
    except UnicodeDecodeError:
        raise UsageProblem(f"{path} is not UTF-8 text") from None


def count(path: Path, email_field: str) -> int:
    return sum(1 for _ in rows(path, email_field))


def of_shards(path: Path, email_field: str, wanted: Collection[int], shards: int) -> dict[int, dict[str, Row]]:
    """By shard and mark; an address that comes twice counts as it comes last."""
    found: dict[int, dict[str, Row]] = {shard: {} for shard in wanted}
    for row in rows(path, email_field):
        mark = mark_of(row[email_field])
        shard = shard_of(mark, shards)
        if shard in found:
            found[shard][mark] = row
    return found


def _of_csv(path: Path, email_field: str) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        try:
            if email_field not in (reader.fieldnames or ()):
                raise UsageProblem(f"{path} has no column {email_field!r}", hint="its first line names the columns")
            for row in reader:
                yield {name: value for name, value in row.items() if name is not None}
        except csv.Error as error:
            raise UsageProblem(f"{path} line {reader.line_num} is no CSV: {error}") from None


def _of_json(path: Path) -> Iterator[Row]:
    """A list of objects, or one object a line."""
    with path.open(encoding="utf-8-sig") as file:
        if path.suffix.lower() == ".json":
            yield from _objects(path, _parsed(path, file.read(), 1), 1)
            return
        for number, line in enumerate(file, 1):
            if line.strip():
                yield from _objects(path, [_parsed(path, line, number)], number)


def _parsed(path: Path, text: str, line: int) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageProblem(f"{path} line {line} is no JSON: {error}") from None


def _objects(path: Path, found: Any, line: int) -> Iterator[Row]:
    if not isinstance(found, list) or any(not isinstance(one, dict) for one in found):
        raise UsageProblem(f"{path} line {line} is no object", hint="a list is objects with an address each")
    yield from found
