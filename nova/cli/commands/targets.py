"""nova revenue target set|list|remove: what is to be earned, and how far it has come."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nova.cli import render
from nova.cli.commands.reports import say_unconverted
from nova.cli.output import Column, emit, line, table
from nova.cli.params import AsJson, By, Now, instant, person
from nova.cli.session import session
from nova.cli.terminal import note

OfWorker = Annotated[str | None, typer.Option("--worker", metavar="NAME", help="Of this deployment alone.")]
OfDepartment = Annotated[str | None, typer.Option("--department", metavar="D", help="Of this department alone.")]


def set_target(
    target: Annotated[str, typer.Argument(metavar="AMOUNT/PER", help="5000/month; per day, week, month or year.")],
    worker: OfWorker = None,
    department: OfDepartment = None,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Say how much revenue a period is to bring.

    It is net revenue of the fleet, or of one deployment or department. Another target for the same period takes the
    place of the one before.

    Example:
      nova revenue target set 5000/month
    """
    from nova.revenue.analytics.targets import set_target as declare

    with session() as nova:
        declared = declare(nova, target, scope=_scope(worker, department), by=person(by))
    if json:
        emit(declared.to_document())
    else:
        line(f"{declared.scope}: {render.money(declared.amount)} a {declared.per}")


def _scope(worker: str | None, department: str | None) -> str:
    from nova.errors import UsageProblem

    if worker is not None and department is not None:
        raise UsageProblem("--worker and --department do not go together")
    if worker is not None:
        return f"worker:{worker}"
    return "fleet" if department is None else f"department:{department}"


def list_targets(now: Now = None, json: AsJson = False) -> None:
    """Show each target, how far it has come and how likely it is met.

    `by now` is what a steady pace had brought, `a day` what each of the `days` left
    must bring. The likelihood is an estimate, from `nova revenue forecast`'s model.

    Example:
      nova revenue target list
    """
    from nova.revenue.analytics.targets import target_list

    with session() as nova:
        document = target_list(nova, now=instant(now))
    if json:
        emit(document)
        return
    if not document["targets"]:
        note("no target is set: nova revenue target set 5000/month")
        return
    heads = ("target", "so far", "share", "by now", "days", "a day", "may end at", "likely")
    columns = (Column("of", wrap=True), *(Column(head, right=True) for head in heads))
    table(columns, [_row(row, document["currency"]) for row in document["targets"]])
    for why in dict.fromkeys(row["why_no_forecast"] for row in document["targets"] if row["why_no_forecast"]):
        note(why)
    say_unconverted(document["unconverted"])


def _row(row: dict[str, Any], currency: str) -> list[str]:
    ahead = row["forecast"]
    return [
        row["scope"],
        f"{render.money_text(row['amount'], currency)}/{row['per']}",
        render.money_text(row["so_far"], currency),
        render.percent(row["share_percent"]),
        render.money_text(row["expected_by_now"], currency),
        f"{row['days_left']}",
        "reached" if row["reached"] else render.money_text(row["needed_per_day"], currency),
        render.NOTHING if ahead is None else render.money_text(ahead["expected"], currency),
        render.NOTHING if ahead is None else _likely(ahead["probability_percent"]),
    ]


def _likely(percent: int) -> str:
    """No future is certain."""
    return ">99%" if percent > 99 else "<1%" if percent < 1 else f"{percent}%"


def remove(
    per: Annotated[str, typer.Argument(metavar="PER", help="day, week, month or year.")],
    worker: OfWorker = None,
    department: OfDepartment = None,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Take a target back.

    Example:
      nova revenue target remove month --worker mailer
    """
    from nova.revenue.analytics.targets import remove_target

    scope = _scope(worker, department)
    with session() as nova:
        remove_target(nova, scope, per, by=person(by))
    if json:
        emit({"scope": scope, "per": per, "removed": True})
    else:
        line(f"{scope} has no target a {per} any more")
