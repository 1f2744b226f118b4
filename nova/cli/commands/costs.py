"""nova costs: money going out."""

from __future__ import annotations

from nova.cli import render
from nova.cli.commands.reports import report_document
from nova.cli.commands.revenue import say_booked
from nova.cli.output import Column, emit, table
from nova.cli.params import (
    Amount,
    AsJson,
    At,
    By,
    ExternalId,
    Note,
    Origin,
    ReportBy,
    Since,
    Until,
    Worker,
    instant,
    person,
)
from nova.cli.session import session
from nova.cli.slips import tell_future, tell_unknown_worker
from nova.cli.terminal import note as say


def record(
    worker: Worker,
    amount: Amount,
    id: ExternalId = None,
    source: Origin = "manual",
    at: At = None,
    note: Note = None,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Book money that was spent.

    It is always booked; where it breaks a budget, the deployment is paused.

    Example:
      nova costs record mailer 60.00 --id invoice-2026-11 --note hosting
    """
    from nova.revenue.record import record_cost

    with session() as nova:
        document = record_cost(nova, worker, amount, id=id, source=source, at=instant(at), note=note, by=person(by))
        tell_unknown_worker(nova, worker)
        tell_future(nova, instant(at))
    if json:
        emit(document)
    else:
        say_booked(document)


def report(
    by: ReportBy = "worker",
    since: Since = None,
    until: Until = None,
    json: AsJson = False,
) -> None:
    """Show what was spent, by worker, source or day.

    Example:
      nova costs report --by department --since 2026-11-01
    """
    from decimal import Decimal

    document = report_document(by, since, until)
    rows = [row for row in document["rows"] if Decimal(row["cost"])]
    if by != "day":
        rows.sort(key=lambda row: (-Decimal(row["cost"]), row["key"]))
    currency, total = document["currency"], document["total"]["cost"]
    if json:
        shown = [{"key": row["key"], "cost": row["cost"]} for row in rows]
        emit(
            {
                "currency": currency,
                "since": document["since"],
                "until": document["until"],
                "rows": shown,
                "total": total,
            }
        )
    elif rows:
        figures = [[row["key"], render.money_text(row["cost"], currency)] for row in rows]
        table((Column(by), Column("cost", right=True)), [*figures, ["total", render.money_text(total, currency)]])
    else:
        say("no cost is booked yet: nova costs record --help")
