"""nova workers logs: what a deployment, one of its instances or the manager has logged."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from nova.cli.complete import worker_names
from nova.cli.output import line
from nova.cli.params import instant
from nova.cli.session import session
from nova.cli.terminal import note, wait_for_reader

if TYPE_CHECKING:
    from datetime import datetime

    from nova.bootstrap import Nova
    from workers.log_lines import LogLine, Wanted
    from workers.logs import Log

_LAST = 100

_Name = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME[#N]]", help="Name of the deployment; with #2 only its second instance.",
        autocompletion=worker_names,
    ),
]  # fmt: skip
_Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="From this instant on (ISO 8601), or so long ago (1h).")
]
_Until = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Before this instant (ISO 8601), or so long ago (10m).")
]
_AtLeast = Annotated[str, typer.Option("--level", metavar="LEVEL", help="Lines of this level and above.")]
_Count = Annotated[
    int | None,
    typer.Option("-n", "--limit", min=0, metavar="N", help="So many of the last lines; 100, or with --since all."),
]


def logs(
    name: _Name = None,
    manager: Annotated[bool, typer.Option("--manager", help="What the manager writes of itself.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing until Ctrl-C.")] = False,
    n: _Count = None,
    since: _Since = None,
    until: _Until = None,
    level: _AtLeast = "DEBUG",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Print the log of a deployment, an instance or the manager.

    Levels are DEBUG, INFO, WARNING, ERROR and CRITICAL. What a worker prints is INFO. With --json every line is an
    object of its own: {"at", "level", "instance", "run", "stream", "message", "fields"}.

    Example:
      nova workers logs mailer --since 1h --level WARNING
    """
    from nova.errors import UsageProblem

    if (name is None) != manager:
        raise UsageProblem("give either a NAME or --manager", hint="`nova workers status` lists the names")
    if follow and until is not None:
        raise UsageProblem("--follow and --until do not go together")
    with session() as nova:
        log, wanted = _asked(nova, name, level, since, until)
        count = n if n is not None else _LAST if since is None else None
        if follow:
            sys.stdout.flush()
            for one in log.follow(wanted, count, wait_for_reader):
                _show(one, json)
                sys.stdout.flush()
        found = log.tail(wanted, count)
        for one in found:
            _show(one, json)
        if not found and n != 0:
            note(_nothing(log, name))


def _asked(nova: Nova, name: str | None, level: str, since: str | None, until: str | None) -> tuple[Log, Wanted]:
    from nova.errors import UsageProblem
    from workers.log_lines import Wanted, level_named
    from workers.logs import manager_log, worker_log

    worker, mark, _ = (name or "").partition("#")
    now = nova.clock.now()
    begin, end = _moment(since, now), _moment(until, now)
    if begin is not None and end is not None and begin > end:
        raise UsageProblem("the log would end before it begins", hint="--since must be before --until")
    wanted = Wanted(name if mark else None, level_named(level), begin, end)
    return (manager_log(nova) if name is None else worker_log(nova, worker)), wanted


def _moment(text: str | None, now: datetime) -> datetime | None:
    """An instant, or a duration before now."""
    from datetime import timedelta

    from nova.clock import parse_duration
    from nova.errors import UsageProblem

    try:
        return None if text is None else now - timedelta(seconds=parse_duration(text))
    except UsageProblem:
        pass
    try:
        return instant(text)
    except UsageProblem as problem:
        raise UsageProblem(problem.message, hint="write it as 2026-01-31T09:30:00Z, or 1h for an hour ago") from None


def _show(one: LogLine, json: bool) -> None:
    if json:
        from json import dumps

        sys.stdout.write(dumps(one.document(), ensure_ascii=False) + "\n")
        return
    for text in one.text():
        line(text)


def _nothing(log: Log, name: str | None) -> str:
    if log.path.exists():
        return "nothing of what was asked for is in the log"
    if name is not None:
        return f"{name} has not logged anything yet"
    return f"there is no {log.path}; a manager in the foreground or under systemd writes to standard error"
