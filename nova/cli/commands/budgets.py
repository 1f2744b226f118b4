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
    from nova.ledger.budgets import Usage
    from nova.money import Money

Scope = Annotated[str, typer.Argument(metavar="SCOPE", help="fleet, department:D or worker:NAME.")]


def list_budgets(json: AsJson = False) -> None:
    """Show every budget and how much of it is used.

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
        *(Column(head, right=True) for head in ("limit", "spent", "reserved", "used")),
    )
    table(columns, [_row(row, currency) for row in document["budgets"]])


def _document(nova: Nova) -> dict[str, Any]:
    snapshot = nova.fleet.snapshot()
    limits = [("fleet", "day", nova.policy(snapshot).max_daily_budget)]
    limits += [(one.scope, one.per, one.limit) for one in snapshot.budgets]
    for deployment in snapshot.deployments.values():
        limits += [(f"worker:{deployment.name}", one.per, one.limit) for one in deployment.budget]
    counted = [(scope, per) for scope, per, _ in limits if per != "run"]
    usages = nova.ledger.budgets.usages(counted, nova.clock.now())
    rows = [_usage(scope, per, limit, usages.get((scope, per))) for scope, per, limit in limits]
    return {"currency": snapshot.currency, "budgets": rows}


def _usage(scope: str, per: str, limit: Money, used: Usage | None) -> dict[str, Any]:
    """A limit per run bounds each run by itself: there is no sum to show."""
    spent, reserved = (str(used.spent), str(used.reserved)) if used else (None, None)
    return {"scope": scope, "per": per, "limit": str(limit), "spent": spent, "reserved": reserved}


def _row(row: dict[str, Any], currency: str) -> list[str]:
    amounts = [render.money_text(row[name], currency) for name in ("limit", "spent", "reserved")]
    return [row["scope"], row["per"], *amounts, _used(row)]


def _used(row: dict[str, Any]) -> str:
    from decimal import Decimal

    if row["spent"] is None or not Decimal(row["limit"]):
        return render.NOTHING
    return render.percent(100 * (Decimal(row["spent"]) + Decimal(row["reserved"])) / Decimal(row["limit"]))


def set_budget(
    scope: Scope,
    limit: Annotated[str, typer.Argument(metavar="AMOUNT/PER", help="Such as 20/day; per run, day or month.")],
    by: By = None,
    json: AsJson = False,
) -> None:
    """Limit what a scope may spend per run, day or month.

    A spending that would break it is refused before the money goes, and the deployment pauses until the window turns.

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
        line(f"{done.scope}: {render.money(done.limit)} per {done.per}")


def remove(
    scope: Scope,
    per: Annotated[
        str | None, typer.Argument(metavar="[PER]", help="run, day or month; all of them if left out.")
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
