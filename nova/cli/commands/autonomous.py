"""nova autonomous enable|disable|status|run: the switch and the cycle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli import render
from nova.cli.output import Column, emit, facts, line, table
from nova.cli.params import AsJson, By, Now, instant, person
from nova.cli.session import session
from nova.cli.terminal import note

if TYPE_CHECKING:
    from datetime import datetime

DECISIONS = (
    Column("id"),
    Column("worker"),
    Column("decision"),
    Column("state", state=True),
    Column("replicas"),
    Column("ROI", right=True),
    Column("bounds"),
    Column("a day", right=True),
    Column("why", wrap=True),
)


def decision_rows(decisions: list[dict[str, Any]], currency: str) -> list[list[str]]:
    return [
        [
            row["id"],
            row["worker"],
            row["kind"],
            row["state"],
            replicas(row),
            render.percent(row["roi_percent"]),
            bounds(row),
            render.money_text(row["daily_cost_impact"], currency),
            row["reason"],
        ]
        for row in decisions
    ]


def replicas(row: dict[str, Any]) -> str:
    """Empty where they stay, and for enforcement, which has no figures."""
    return "" if row["from_replicas"] == row["to_replicas"] else f"{row['from_replicas']} -> {row['to_replicas']}"


def bounds(row: dict[str, Any]) -> str:
    low, high = row["roi_low"], row["roi_high"]
    return "" if low is None and high is None else f"{render.percent(low)} .. {render.percent(high)}"


def enable(by: By = None, json: AsJson = False) -> None:
    """Let the engine act on what it decides.

    Within the budget, and never above the approval limit without you.

    Example:
      nova autonomous enable
    """
    _switch(True, by, json)


def disable(by: By = None, json: AsJson = False) -> None:
    """Let the engine advise only.

    Budgets, crash limits and timeouts are enforced all the same.

    Example:
      nova autonomous disable
    """
    _switch(False, by, json)


def _switch(enabled: bool, by: str | None, json: bool) -> None:
    from nova.autonomous.controls import switch

    with session() as nova:
        switch(nova, enabled, person(by))
    if json:
        emit({"enabled": enabled})
    else:
        line(f"autonomy is {'on' if enabled else 'off'}")
        if enabled:
            note("each cycle is yours to start: nova autonomous run")
            note("or let the manager do it: nova workers restart --with-autonomous 15m")


def status(json: AsJson = False) -> None:
    """Show the switch, the policy, the budget and what waits.

    Example:
      nova autonomous status
    """
    from nova.autonomous.explain import status as describe

    with session() as nova:
        document = describe(nova)
        now = nova.clock.now()
    if json:
        emit(document)
        return
    facts(
        [
            ("autonomy", "on" if document["enabled"] else "off (it advises only)"),
            ("budget today", budget_words(document["budget"], document["currency"])),
            ("waiting", _waiting(document["pending"])),
            ("last cycle", _last(document["last_cycle"], now)),
            ("policy", f"version {document['policy_version']} (nova autonomous policy show)"),
        ]
    )


def budget_words(budget: dict[str, Any], currency: str) -> str:
    names = ("spent", "limit", "committed", "remaining")
    spent, limit, committed, left = (render.money_text(budget[name], currency) for name in names)
    return f"{spent} of {limit} spent, {committed} committed, {left} left"


def _waiting(pending: int) -> str:
    return f"{render.count(pending, 'decision')} (nova autonomous approvals)" if pending else "nothing"


def _last(cycle: dict[str, Any] | None, now: datetime) -> str:
    from nova.clock import parse_time

    return render.age(parse_time(cycle["at"]), now) if cycle else "never (nova autonomous run)"


def run(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would do, and change nothing.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="List the holds too, with their reasons.")] = False,
    now: Now = None,
    json: AsJson = False,
) -> None:
    """Analyse the fleet once, and act where that is allowed.

    With the switch off it only advises. While another one runs it ends with exit code 75 and changes nothing.

    Example:
      nova autonomous run --dry-run --all
    """
    from nova.autonomous.cycle import run_cycle

    with session() as nova:
        document = run_cycle(nova, now=instant(now), dry_run=dry_run, include_holds=everything).to_json()
    if json:
        emit(document)
        return
    mode = "dry run" if document["dry_run"] else "on" if document["enabled"] else "off: advice only"
    if document["decisions"]:
        table(DECISIONS, decision_rows(document["decisions"], document["currency"]))
    else:
        note("nothing to do" if document["evaluated"] else "nothing is deployed yet: nova deploy --help")
    looked = render.count(document["evaluated"], "deployment")
    line(f"{looked} looked at ({mode})")
    line(f"budget today: {budget_words(document['budget'], document['currency'])}")
