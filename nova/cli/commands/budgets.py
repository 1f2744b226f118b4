"""nova budgets: limits on what may be spent."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nova.cli import render
from nova.cli.output import Column, emit, line, table
from nova.cli.params import AsJson, By, person
from nova.cli.session import session

Scope = Annotated[str, typer.Argument(metavar="SCOPE", help="fleet, department:D or worker:NAME.")]


def list_budgets(json: AsJson = False) -> None:
    """Show every budget and how much of it is used.

    Example:
      nova budgets list
    """
    from workers.budgets import budgets_document

    with session() as nova:
        document = budgets_document(nova)
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
    from workers.budgets import set_budget as change

    with session() as nova:
        done = change(nova, scope, limit, by=person(by))
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
    from workers.budgets import remove_budget

    with session() as nova:
        gone = remove_budget(nova, scope, per, by=person(by))
    if json:
        emit({"removed": [{"scope": row.scope, "per": row.per} for row in gone]})
    else:
        for row in gone:
            line(f"{row.scope} has no limit per {row.per} any more")
