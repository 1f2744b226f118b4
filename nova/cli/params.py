"""Options that many commands share, and how their values are read."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from nova.cli.complete import worker_names

if TYPE_CHECKING:
    from collections.abc import Iterable

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Worker = Annotated[str, typer.Argument(metavar="NAME", help="Name of the deployment.", autocompletion=worker_names)]
SomeWorker = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="Name of the deployment.", autocompletion=worker_names)
]
Since = Annotated[str | None, typer.Option("--since", metavar="TIME", help="From this instant on (ISO 8601).")]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before this instant (ISO 8601).")]
Now = Annotated[str | None, typer.Option("--now", metavar="TIME", help="The instant to take as now, for replays.")]
At = Annotated[str | None, typer.Option("--at", metavar="TIME", help="When it happened (ISO 8601); now if left out.")]
By = Annotated[
    str | None, typer.Option("--by", metavar="NAME", help="Who decides; the user of this machine if left out.")
]
Amount = Annotated[str, typer.Argument(metavar="AMOUNT", help="12.34 or 12.34 EUR.")]
ExternalId = Annotated[str | None, typer.Option("--id", metavar="EXT", help="Its own id: the same id counts once.")]
Origin = Annotated[str, typer.Option("--source", metavar="S", help="Where it comes from.")]
ReportBy = Annotated[str, typer.Option("--by", metavar="KEY", help="worker, department, agent, source or day.")]
Limit = Annotated[int, typer.Option("-n", "--limit", min=1, metavar="N", help="At most so many, the newest first.")]
Note = Annotated[str | None, typer.Option("--note", metavar="TEXT", help="Why, for the record.")]


def instant(text: str | None) -> datetime | None:
    from nova.clock import parse_time

    return None if text is None else parse_time(text)


def pairs(texts: Iterable[str]) -> dict[str, str]:
    """Reads `KEY=VALUE` arguments; a later one wins."""
    from nova.errors import UsageProblem

    result = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageProblem(f"not a setting: {text!r}", hint="write it as KEY=VALUE")
        result[key.strip()] = value
    return result


def person(by: str | None) -> str:
    """Who acts, for the audit trail: the name given, else the user of this machine."""
    import getpass

    if by:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        import os

        return f"uid {os.getuid()}"
