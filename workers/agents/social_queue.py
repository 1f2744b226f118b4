"""What waits to be posted: rows of a CSV or JSONL file, or a text whose posts are parted by lines of ===."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from nova.errors import NovaError, UsageProblem
from platforms.twitter_rules import parts_of, post_id
from workers.agents.row_keeper import digest, is_whole

FIELDS = ("text", "link", "campaign", "media", "alt", "reply_to", "not_before", "not_after", "id")
_LONGEST_ID = 100
_BETWEEN = re.compile(r"^[ \t]*={3,}[ \t]*$", re.MULTILINE)


class QueueProblem(NovaError):
    """The queue cannot be read."""


@dataclass(frozen=True, slots=True)
class Item:
    """One post, or a thread where it has several `parts`. `name` is its id, else follows from what it says."""

    name: str
    parts: tuple[str, ...]
    link: str | None = None
    campaign: str | None = None
    media: str | None = None
    alt: str | None = None
    reply_to: str | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None

    def due(self, now: datetime) -> bool:
        return (self.not_before is None or self.not_before <= now) and not self.missed(now)

    def missed(self, now: datetime) -> bool:
        return self.not_after is not None and now >= self.not_after

    @property
    def content(self) -> str:
        """Changes with what it says, whatever its id is."""
        return digest(json.dumps(asdict(self), default=str, sort_keys=True))[:16]


def items_of(rows: Iterable[Mapping[str, Any]], zone: ZoneInfo) -> Iterator[Item]:
    """In their order. Raises QueueProblem, naming the row."""
    for number, row in enumerate(rows, 1):
        try:
            yield _item(row, zone)
        except NovaError as problem:
            raise QueueProblem(f"row {number} of the queue: {problem.message}", hint=problem.hint) from None


def read_queue(path: Path) -> list[Mapping[str, Any]]:
    """Raises QueueProblem; a queue that is not there yet is empty."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".csv":
                return list(csv.DictReader(file, strict=True))
            if path.suffix.lower() == ".jsonl":
                return [json.loads(line) for line in file if line.strip()]
            return [{"text": part} for part in _BETWEEN.split(file.read().replace("\r\n", "\n")) if part.strip()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError, csv.Error) as problem:
        why = problem.strerror if isinstance(problem, OSError) else str(problem)
        raise QueueProblem(f"{path} cannot be read: {why}", hint="write it as CSV, JSONL or text") from None


def _item(row: Mapping[str, Any], zone: ZoneInfo) -> Item:
    if not isinstance(row, Mapping):
        raise UsageProblem("it is no object with fields")
    strange = [str(name) for name in row if name not in FIELDS]
    if strange:
        raise UsageProblem(f"there is no field {strange[0]!r}", hint=f"the fields are {', '.join(FIELDS)}")
    odd = [str(name) for name, value in row.items() if isinstance(value, (dict, list, bool))]
    if odd:
        raise UsageProblem(f"{odd[0]} is no text")
    said = {name: str(value).strip() for name, value in row.items() if value not in (None, "")}
    broken = [name for name, text in said.items() if not is_whole(text)]
    if broken:
        raise UsageProblem(f"{broken[0]} holds half a character")
    answered = said.get("reply_to")
    if len(said.get("id", "")) > _LONGEST_ID:
        raise UsageProblem(f"an id has {_LONGEST_ID} characters at most")
    name = said.get("id") or digest(*(text for field in sorted(said) for text in (field, said[field])))[:16]
    return Item(
        name=name,
        parts=tuple(parts_of(said.get("text", ""))),
        link=said.get("link"),
        campaign=said.get("campaign"),
        media=said.get("media"),
        alt=said.get("alt"),
        reply_to=post_id(answered) if answered else None,
        not_before=_time(said.get("not_before"), zone),
        not_after=_time(said.get("not_after"), zone),
    )


def _time(text: str | None, zone: ZoneInfo) -> datetime | None:
    """Without an offset it is a clock's in `zone`."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageProblem(f"not a time: {text!r}", hint="write it as 2026-01-31 09:30") from None
    return at if at.tzinfo else at.replace(tzinfo=zone)
