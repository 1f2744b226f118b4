"""nova budgets: limits on what may be spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli import render
from nova.cli.output import Column, emit, line, table
from nova.cli.params import AsJson, By, person
from nova.cli.session import session

if TYPE_CHECKING:
    from nova.bootstrap import Nova
    from nova.fleet.documents import ScopeBudget
    from nova.ledger.budgets import Usage

Scope = Annotated[str, typer.Argument(metavar="SCOPE", help="fleet, department:D or worker:NAME.")]


def list_budgets(json: AsJson = False) -> None:
    """Show every budget and how much of it is used.

    In the bar, # is spent and + reserved. `nova budgets tiers` says at how many percent you are warned.

    Example:
      nova budgets list
    """
    with session() as nova:
        document = _document(nova)
    if json:
        emit(document)
        return
    currency = document["currency"]
    columns = (
        Column("scope"),
        Column("per"),
        *(Column(head, right=True) for head in ("limit", "spent", "reserved", "left", "used")),
        Column(""),
    )
    table(columns, [_row(row, currency) for row in document["budgets"]])


def _document(nova: Nova) -> dict[str, Any]:
    snapshot = nova.fleet.snapshot()
    limits = snapshot.all_budgets(nova.policy(snapshot).max_daily_budget)
    counted = [(one.scope, one.per) for one in limits if one.per != "run"]
    usages = nova.ledger.budgets.usages(counted, nova.clock.now())
    rows = [_usage(one, usages.get((one.scope, one.per)), snapshot.tiers) for one in limits]
    return {"currency": snapshot.currency, "tiers": list(snapshot.tiers), "budgets": rows}


def _usage(one: ScopeBudget, used: Usage | None, tiers: tuple[int, ...]) -> dict[str, Any]:
    """A limit per run bounds each run by itself: there is no sum to show."""
    row: dict[str, Any] = {"scope": one.scope, "per": one.per, "limit": str(one.limit)}
    if used is None:
        return {**row, **dict.fromkeys(("spent", "reserved", "left", "tier"))}
    from nova.ledger.limits import Limit

    tier = Limit(one.scope, one.per, one.limit, tiers).reached(used.spent.micros, one.limit.micros)
    left = one.limit - used.spent - used.reserved
    return {**row, "spent": str(used.spent), "reserved": str(used.reserved), "left": str(left), "tier": tier}


def _row(row: dict[str, Any], currency: str) -> list[str]:
    amounts = [render.money_text(row[name], currency) for name in ("limit", "spent", "reserved", "left")]
    return [row["scope"], row["per"], *amounts, *_used(row)]


def _used(row: dict[str, Any]) -> tuple[str, str]:
    """In percent, and as a bar."""
    from decimal import Decimal

    if row["spent"] is None or not Decimal(row["limit"]):
        return render.NOTHING, ""
    spent, reserved = (Decimal(row[name]) / Decimal(row["limit"]) for name in ("spent", "reserved"))
    return render.percent(100 * (spent + reserved)), render.bar(spent, reserved)


def set_budget(
    scope: Scope,
    limit: Annotated[str, typer.Argument(metavar="AMOUNT/PER", help="Such as 20/day; per run, day, month or total.")],
    by: By = None,
    json: AsJson = False,
) -> None:
    """Limit what a scope may spend per run, day or month, or in total.

    A spending that would break it is refused before the money goes, and the deployment pauses until the window turns. A
    total never does: the deployment goes on by itself once you have raised it.

    Example:
      nova budgets set department:sales 50/day
    """
    from nova.fleet.documents import BudgetLimit
    from workers.deployments import set_budget as change

    with session() as nova:
        asked = BudgetLimit.parse(limit, nova.settings.nova_currency)
        done = change(nova, scope, asked.per, asked.limit, by=person(by))
    if json:
        emit({"scope": done.scope, "per": done.per, "limit": done.limit})
    else:
        line(f"{done.scope}: {render.money(done.limit)} {'in total' if done.per == 'total' else f'per {done.per}'}")


def remove(
    scope: Scope,
    per: Annotated[
        str | None, typer.Argument(metavar="[PER]", help="run, day, month or total; all of them if left out.")
    ] = None,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Remove a limit.

    Example:
      nova budgets remove department:sales day
    """
    from workers.deployments import remove_budget

    with session() as nova:
        removed = remove_budget(nova, scope, per, by=person(by))
    if json:
        emit({"scope": scope, "per": per, "removed": removed})
    else:
        line(f"{scope}: {render.count(removed, 'limit')} removed")


def tiers(
    percents: Annotated[
        list[str] | None, typer.Argument(metavar="[PERCENT...|reset]", help="Such as 50 80 95; shown if left out.")
    ] = None,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Show or set at how many percent of a budget you are warned.

    Each is told once a window, by an alert. Without a word of yours it is 80.

    Example:
      nova budgets tiers 50 80 95
    """
    from workers.deployments import set_tiers

    with session() as nova:
        found = set_tiers(nova, percents, by=person(by)) if percents else nova.fleet.snapshot().tiers
    if json:
        emit({"tiers": list(found)})
    else:
        line(f"warned at {', '.join(f'{percent}%' for percent in found)} of a budget")
