"""nova workers status and health: what an operator looks at most."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli import render
from nova.cli.output import Column, emit, line, table
from nova.cli.params import AsJson
from nova.cli.session import session
from nova.cli.terminal import is_terminal, note

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from nova.bootstrap import Nova

_REFRESH_S = 1.0
_ERROR_WIDTH = 48
_LONG = timedelta(minutes=15)
_WEEK_DAYS = 7
_DONE = "done"  # of a single run
_COLUMNS = (
    Column("name"),
    Column("state", state=True),
    Column("running", right=True),
    Column("runs", right=True),
    Column("ok", right=True),
    Column("revenue", right=True),
    Column("cost", right=True),
    Column("profit", right=True),
    Column("ROI", right=True),
    Column("last error", wrap=True),
)


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again every second until Ctrl-C.")] = False,
    json: AsJson = False,
) -> None:
    """Show every deployment: its state, its runs and what it earns.

    `running` counts live instances of the replicas declared. The figures are lifetime ones; `-` is unknown, which is
    not zero. `done` is a single run (`nova deploy --once`) that was made.

    Example:
      nova workers status --watch
    """
    from nova.errors import UsageProblem

    if watch and json:
        raise UsageProblem("--watch and --json do not go together", hint="poll `nova workers status --json` instead")
    with session() as nova:
        if watch and is_terminal(sys.stdout):
            _watch(nova)
        elif json:
            emit(_document(nova))
        else:
            _show(_document(nova), nova.settings.tz)


def _document(nova: Nova) -> dict[str, Any]:
    from workers.status import status_document

    document: dict[str, Any] = status_document(nova)
    return document


def _watch(nova: Nova) -> None:
    import time

    while True:
        document = _document(nova)
        sys.stdout.write("\x1b[H\x1b[2J")
        _show(document, nova.settings.tz)
        sys.stdout.flush()
        time.sleep(_REFRESH_S)


def _show(document: dict[str, Any], zone: ZoneInfo) -> None:
    currency = document["currency"]
    if document["workers"]:
        rows = [_row(worker, currency, _next_run(worker, document["at"], zone)) for worker in document["workers"]]
        table(_COLUMNS, [*rows, _totals(document)])
    else:
        note("nothing is deployed yet: nova deploy --help")
    several = document.get("managers")
    for manager in several or [document["manager"]]:
        line(_manager(manager) + (_share(manager) if several else ""))


def _row(worker: dict[str, Any], currency: str, next_run: str) -> list[str]:
    rate, state = worker["success_rate"], _state(worker)
    return [
        worker["name"],
        state + (f" ({next_run})" if next_run else ""),
        f"{worker['running']}/{worker['replicas']}" if state != _DONE else "0",
        f"{worker['runs']:,}",
        render.percent(rate),
        *_money(worker, currency),
        render.short(worker["last_error"], _ERROR_WIDTH),
    ]


def _next_run(worker: dict[str, Any], now: str, zone: ZoneInfo) -> str:
    """Of one that waits for long: `next 09:00`, in the operator's time zone."""
    from nova.clock import parse_time

    if worker["next_run_at"] is None or worker["state"] != "active":
        return ""
    at, today = parse_time(worker["next_run_at"]).astimezone(zone), parse_time(now).astimezone(zone)
    if at - today < _LONG:
        return ""
    days = (at.date() - today.date()).days
    return f"next {at:%H:%M}" if days == 0 else f"next {at:%a %H:%M}" if days < _WEEK_DAYS else f"next {at:%Y-%m-%d}"


def _state(worker: dict[str, Any]) -> str:
    if worker["finished"] and worker["state"] == "active":
        return _DONE
    reason = worker.get("pause_reason")
    return f"{worker['state']} ({reason})" if worker["state"] == "paused" and reason else str(worker["state"])


def _money(sums: dict[str, Any], currency: str) -> list[str]:
    amounts = [render.money_text(sums[name], currency) for name in ("revenue", "cost", "profit")]
    return [*amounts, render.percent(sums["roi_percent"])]


def _totals(document: dict[str, Any]) -> list[str]:
    totals = document["totals"]
    runs = sum(worker["runs"] for worker in document["workers"])
    live = f"{sum(worker['running'] for worker in document['workers'])}/{totals['instances']}"
    name = render.count(totals["deployments"], "deployment")
    return [name, "", live, f"{runs:,}", "", *_money(totals, document["currency"]), ""]


def _manager(manager: dict[str, Any]) -> str:
    if not manager["running"]:
        return "manager: not running (nova workers start)"
    of = "" if manager["department"] in (None, "all") else f" for {manager['department']}"
    return f"manager: running{of}, process id {manager['pid']}, up {render.duration(manager['uptime_s'])}"


def _share(manager: dict[str, Any]) -> str:
    """What of the fleet is its own, where there are several."""
    if manager["fenced"]:
        return ", stands still: another one has taken over"
    return f", {render.count(manager['leases'], 'deployment')}" if manager["leases"] else ", stands by"


def health(json: AsJson = False) -> None:
    """Say what is not well; exit code 1 when something is not.

    Example:
      nova workers health
    """
    from workers.health import health_document

    with session() as nova:
        document = health_document(nova)
    if json:
        emit(document)
    elif document["healthy"]:
        line("healthy")
    else:
        columns = (Column("worker"), Column("problem", wrap=True), Column("what to do", wrap=True))
        table(columns, [[row["worker"] or "-", row["problem"], row["advice"]] for row in document["problems"]])
    if not document["healthy"]:
        raise typer.Exit(1)
