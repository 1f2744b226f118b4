"""nova platforms: the outside world, and whether it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli.output import Column, emit, table
from nova.cli.params import AsJson
from nova.cli.session import session

if TYPE_CHECKING:
    from nova.config import Settings


def list_platforms(json: AsJson = False) -> None:
    """Show the platforms and which have a key.

    A platform without its key is not configured, which is no error.

    Example:
      nova platforms list
    """
    from platforms.registry import known_platforms

    with session() as nova:
        states = known_platforms(nova.settings)
    if json:
        rows = [
            {"name": s.name, "does": s.does, "configured": s.configured, "key": s.key, "base": s.base} for s in states
        ]
        emit({"platforms": rows})
        return
    columns = (
        Column("platform"),
        Column("for"),
        Column("configured", state=True),
        Column("key"),
        Column("address", wrap=True),
    )
    table(columns, [(s.name, s.does, "yes" if s.configured else "-", s.key, s.base) for s in states])


def check(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this one.")] = None,
    json: AsJson = False,
) -> None:
    """Call each configured platform and say whether it answers.

    The call is harmless. The exit code is that of the first platform that fails: 5 when it refuses the key, 69 when it
    cannot be reached; a platform named here must be configured.

    Example:
      nova platforms check stripe
    """
    from platforms.registry import known_platforms

    with session() as nova:
        names = [name] if name else [state.name for state in known_platforms(nova.settings) if state.configured]
        rows = [_checked(nova.settings, one, required=name is not None) for one in names]
    if json:
        emit({"platforms": [{key: row[key] for key in ("name", "ok", "answer")} for row in rows]})
    elif rows:
        columns = (Column("platform"), Column("ok", state=True), Column("answer", wrap=True))
        table(columns, [(row["name"], "yes" if row["ok"] else "no", row["answer"]) for row in rows])
    else:
        from nova.cli.terminal import note

        note("no platform has a key yet: nova init")
    failed = [row["code"] for row in rows if not row["ok"]]
    if failed:
        raise typer.Exit(failed[0])


def _checked(settings: Settings, name: str, *, required: bool) -> dict[str, Any]:
    from nova.errors import NotFound, NovaError, PlatformNotConfigured
    from platforms.registry import check as call

    try:
        return {"name": name, "ok": True, "answer": call(settings, name), "code": 0}
    except NovaError as problem:
        if required and isinstance(problem, (NotFound, PlatformNotConfigured)):
            raise
        words = f"{problem.message} ({problem.hint})" if problem.hint else problem.message
        return {"name": name, "ok": False, "answer": words, "code": problem.exit_code}
