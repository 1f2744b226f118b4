"""nova platforms: the outside world, and whether it answers."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli import render
from nova.cli.output import Column, emit, table
from nova.cli.params import AsJson
from nova.cli.session import session
from nova.cli.terminal import note
from nova.clock import HOUR_US, from_us

if TYPE_CHECKING:
    from nova.bootstrap import Nova
    from nova.ledger.platform_calls import CallSums

_FIGURES = (
    Column("calls", right=True),
    Column("errors", right=True),
    Column("limited", right=True),
    Column("mean", right=True),
    Column("longest", right=True),
)


def list_platforms(json: AsJson = False) -> None:
    """Show the platforms, which have a key, and how they answered lately.

    A platform without its key is not configured, which is no error. The figures are of the last 24 hours.

    Example:
      nova platforms list
    """
    from platforms.registry import known_platforms

    with session() as nova:
        states = known_platforms(nova.settings)
        sums = _sums(nova, 24)
    if json:
        rows = [
            {"name": s.name, "does": s.does, "configured": s.configured, "key": s.key, "base": s.base}
            | {"last_24h": _plain(sums.get(s.name))}
            for s in states
        ]
        emit({"platforms": rows})
        return
    columns = (
        Column("platform"), Column("for"), Column("configured", state=True), Column("key"), *_FIGURES,
        Column("address", wrap=True),
    )  # fmt: skip
    table(
        columns,
        [(s.name, s.does, "yes" if s.configured else "-", s.key, *_figures(sums.get(s.name)), s.base) for s in states],
    )


def health(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="This one, hour by hour.")] = None,
    hours: Annotated[int, typer.Option("--hours", min=1, max=2160, metavar="N", help="How far back.")] = 24,
    json: AsJson = False,
) -> None:
    """Show how the platforms have answered, and how fast.

    Of every call that agents, the sync and your own commands made: how many, how many failed, how often the platform
    asked for patience, and how long they took. A card declined or a thing not found is an answer, no failure. What a
    manager counts is written once a minute and kept for 90 days.

    Example:
      nova platforms health stripe --hours 48
    """
    with session() as nova:
        sums = list(_sums(nova, hours).values()) if name is None else _of_one(nova, name, hours)
    if json:
        rows = [_plain(one) for one in sums]
        emit({"hours": hours, "platforms": rows} if name is None else {"hours": hours, "name": name, "by_hour": rows})
        return
    if not sums:
        note(f"no call was made in the last {hours} hours")
        return
    head = Column("platform" if name is None else "hour")
    columns = (head, *_FIGURES, Column("last error", wrap=True))
    shown = []
    for one in sums:
        first = one.platform if name is None else render.when(from_us(one.hour * HOUR_US))
        shown.append((first, *_figures(one), one.last_error or render.NOTHING))
    table(columns, shown)


def _sums(nova: Nova, hours: int) -> dict[str, CallSums]:
    if not nova.settings.ledger_path.exists():
        return {}
    now = nova.clock.now()
    return nova.ledger.platform_calls.sums(now - timedelta(hours=hours), now + timedelta(microseconds=1))


def _of_one(nova: Nova, name: str, hours: int) -> list[CallSums]:
    from nova.errors import NotFound
    from platforms.registry import PLATFORMS

    now = nova.clock.now()
    ledger = nova.ledger if nova.settings.ledger_path.exists() else None
    found = ledger.platform_calls.by_hour(name, now - timedelta(hours=hours), now) if ledger is not None else []
    if not found and name not in PLATFORMS:
        raise NotFound(f"there is no platform {name!r}", hint=f"nova knows {', '.join(PLATFORMS)}")
    return found


def _plain(sums: CallSums | None) -> dict[str, Any] | None:
    if sums is None:
        return None
    return {
        "platform": sums.platform, "hour": from_us(sums.hour * HOUR_US), "calls": sums.calls, "errors": sums.errors,
        "limited": sums.limited, "error_rate": round(sums.error_rate, 4), "mean_s": round(sums.mean_s, 4),
        "longest_s": round(sums.longest_s, 4), "last_error": sums.last_error,
    }  # fmt: skip


def _figures(sums: CallSums | None) -> tuple[str, ...]:
    if sums is None:
        return (render.NOTHING,) * len(_FIGURES)
    errors = f"{sums.errors:,} ({sums.error_rate:.0%})" if sums.errors else "0"
    return f"{sums.calls:,}", errors, f"{sums.limited:,}", _time(sums.mean_s), _time(sums.longest_s)


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else render.duration(seconds)


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
        rows = [_checked(nova, one, required=name is not None) for one in names]
    if json:
        emit({"platforms": [{key: row[key] for key in ("name", "ok", "answer")} for row in rows]})
    elif rows:
        columns = (Column("platform"), Column("ok", state=True), Column("answer", wrap=True))
        table(columns, [(row["name"], "yes" if row["ok"] else "no", row["answer"]) for row in rows])
    else:
        note("no platform has a key yet: nova init")
    failed = [row["code"] for row in rows if not row["ok"]]
    if failed:
        raise typer.Exit(failed[0])


def _checked(nova: Nova, name: str, *, required: bool) -> dict[str, Any]:
    from nova.errors import NotFound, NovaError, PlatformNotConfigured
    from platforms.registry import check as call

    try:
        return {"name": name, "ok": True, "answer": call(nova.settings, name, nova.exchange.alone), "code": 0}
    except NovaError as problem:
        if required and isinstance(problem, (NotFound, PlatformNotConfigured)):
            raise
        words = f"{problem.message} ({problem.hint})" if problem.hint else problem.message
        return {"name": name, "ok": False, "answer": words, "code": problem.exit_code}
