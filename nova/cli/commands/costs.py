"""nova costs: money going out."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nova.cli import render
from nova.cli.commands.reports import cost_of_nobody, report_document, say_unconverted
from nova.cli.commands.revenue import say_booked
from nova.cli.output import Column, emit, line, table
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
from nova.cli.slips import tell_no_rate, tell_slips
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
        tell_slips(nova, worker, document["currency"], instant(at))
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

    document, waiting = _booked_report(by, since, until)
    rows = [row for row in document["rows"] if Decimal(row["cost"])]
    if by != "day":
        rows.sort(key=lambda row: (-Decimal(row["cost"]), row["key"]))
    currency, total, rest = document["currency"], document["total"]["cost"], cost_of_nobody(document)
    if json:
        shown = [{"key": row["key"], "cost": row["cost"]} for row in rows]
        span = {"since": document["since"], "until": document["until"]}
        sums = {"rows": shown, "unattributed": {"cost": str(rest)}, "total": total, "unconverted": waiting}
        emit({"currency": currency, **span, **sums})
        return
    if Decimal(total) or rows:
        figures = [[row["key"], render.money_text(row["cost"], currency)] for row in rows]
        if rest:
            figures.append(["(unattributed)", render.money(rest)])
        table((Column(by), Column("cost", right=True)), [*figures, ["total", render.money_text(total, currency)]])
    elif not waiting:
        say("no cost is booked yet: nova costs record --help")
    say_unconverted(waiting)


def _booked_report(by: str, since: str | None, until: str | None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """With the shared costs that are due booked first, where the ledger can be written; and what waits for a rate."""
    from nova.errors import NovaError
    from nova.revenue.reports import unconverted
    from nova.revenue.shared import book_due

    with session() as nova:
        try:
            book_due(nova)
        except NovaError as problem:
            say(f"what is due of the shared costs is not booked yet: {problem.message}")
        waiting = unconverted(nova, "cost")
    return report_document(by, since, until), waiting


def share(
    bill: Annotated[str, typer.Argument(metavar="AMOUNT/PER", help="Such as 49/month; per day, month or year.")],
    among: Annotated[
        str, typer.Option("--among", metavar="WHOM", help="fleet, department:D, agent:A or worker:NAME,NAME.")
    ],
    by: Annotated[
        str, typer.Option("--by", metavar="BASIS", help="revenue or runs of the day, or even: everyone the same.")
    ] = "even",
    name: Annotated[
        str | None, typer.Option("--name", metavar="N", help="What the bill is called; else after those who share it.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="The first day it is shared; today if left out.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="DATE", help="Up to this day, which no longer counts.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Share a bill among deployments, day by day.

    For what many use and none is billed for: a subscription, a server. Each day that has ended is booked once, by what
    is known then, and the days of a month add up to the bill. Where a day has no revenue or no runs, it is shared
    evenly.

    Example:
      nova costs share 49/month --among department:sales --by revenue --name github
    """
    from decimal import Decimal

    from nova.revenue.shared import share as declare

    with session() as nova:
        row = declare(nova, bill, among=among, basis=by, name=name, since=since, until=until, by=person(None))
        tell_no_rate(nova, row["currency"])
    if json:
        emit(row)
        return
    line(f"{row['name']}: {_bill(row)} is shared among {row['among']} by {row['by']} from {row['since']} on")
    if row["booked_through"]:
        line(f"booked through {row['booked_through']}")
    if Decimal(row["unattributed"]):
        lost = render.money_text(row["unattributed"], row["currency"])
        say(f"{lost} of it is for days on which nothing of {row['among']} was deployed: booked for nobody")
    if not row["members"]:
        say(f"nothing in the fleet is {row['among']} now: until something is, its days are booked for nobody")


def shared(json: AsJson = False) -> None:
    """Show the bills that deployments share.

    Example:
      nova costs shared
    """
    from nova.revenue.shared import shared as listed

    with session() as nova:
        document = listed(nova)
    if json:
        emit(document)
        return
    if not document["shared"]:
        say("no bill is shared: nova costs share --help")
        return
    heads = ("name", "bill", "among", "by", "from", "until", "booked through", "now borne by")
    columns = tuple(Column(head, wrap=head == heads[-1]) for head in heads)
    table(columns, [_shared_row(row) for row in document["shared"]])


def _shared_row(row: dict[str, Any]) -> list[str]:
    days = [row[key] or render.NOTHING for key in ("since", "until", "booked_through")]
    members = ", ".join(row["members"]) or "nobody"
    return [row["name"], _bill(row), row["among"], row["by"], *days, members]


def _bill(row: dict[str, Any]) -> str:
    return f"{render.money_text(row['amount'], row['currency'])}/{row['per']}"


def unshare(
    name: Annotated[str, typer.Argument(metavar="NAME", help="`nova costs shared` shows it.")],
    json: AsJson = False,
) -> None:
    """Share a bill no longer; what is booked of it stays.

    The days before today are booked first.

    Example:
      nova costs unshare github
    """
    from nova.revenue.shared import unshare as end

    with session() as nova:
        end(nova, name, by=person(None))
    if json:
        emit({"name": name, "shared": False})
    else:
        line(f"{name} is shared no longer; what is booked of it stays")
