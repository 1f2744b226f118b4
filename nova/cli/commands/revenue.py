"""nova revenue sync|record|import|export|reconcile: money coming in, and whose it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nova.cli import render
from nova.cli.commands.reports import report_document
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
from nova.cli.progress import progress, spinner
from nova.cli.session import session
from nova.cli.slips import tell_slips, tell_unknown_worker
from nova.cli.terminal import note as say
from nova.cli.terminal import printable

_SHOWN = 20


def sync(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PLATFORM]...", help="Such as stripe; all that have a key if left out."),
    ] = None,
    since: Since = None,
    json: AsJson = False,
) -> None:
    """Fetch from the platforms what was sold, refunded and charged.

    It goes on where the last sync ended, looks back a little, and books nothing twice. The manager does it every 15
    minutes by itself. An amount that a platform tells otherwise than before is corrected by a new entry; where none can
    mend it, as with another currency, the exit code is 1.

    Example:
      nova revenue sync stripe
    """
    from nova.revenue.sync import sync as fetch

    with session() as nova, progress("fetching", unit="records") as tick:
        document = fetch(nova, sources or [], since=instant(since), progress=tick.reached)
    if json:
        emit(document)
    elif document["sources"]:
        heads = ("fetched", "new", "attributed", "unattributed", "gross", "fees", "refunds", "disputes", "net")
        columns = (Column("source"), *(Column(head, right=True) for head in heads))
        table(columns, [_source(row, document["currency"]) for row in document["sources"]])
    else:
        say("no platform has a key yet: nova init")
    refused = [f"{row['source']}: {conflict}" for row in document["sources"] for conflict in row["conflicts"]]
    for conflict in refused:
        say(conflict)
    if refused:
        raise typer.Exit(1)


def _source(row: dict[str, Any], currency: str) -> list[str]:
    counts = [f"{row[name]:,}" for name in ("fetched", "new", "attributed", "unattributed")]
    return [
        row["source"],
        *counts,
        *(render.money_text(row[name], currency) for name in ("gross", "fees", "refunds", "disputes", "net")),
    ]


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
    """Book one sale by hand.

    Example:
      nova revenue record mailer 19.90 --id order-17
    """
    from nova.revenue.record import record_revenue

    with session() as nova:
        document = record_revenue(nova, worker, amount, id=id, source=source, at=instant(at), note=note, by=person(by))
        tell_slips(nova, worker, document["currency"], instant(at))
    if json:
        emit(document)
    else:
        say_booked(document)


def say_booked(document: dict[str, Any]) -> None:
    amount = render.money_text(document["amount"], document["currency"])
    words = f"{document['source']}/{document['id']}: {document['kind']} of {amount} for {document['worker']}"
    line(words if document["new"] else f"{words}: booked before, nothing changed")


def import_csv(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV file with a head line.")],
    source: Annotated[
        str, typer.Option("--source", metavar="S", help="Where it comes from; with the id it is the key.")
    ],
    at_column: Annotated[str, typer.Option("--at-column", metavar="C", help="The column with the time or the day.")],
    amount_column: Annotated[str, typer.Option("--amount-column", metavar="C", help="The column with the amount.")],
    id_column: Annotated[
        str | None,
        typer.Option("--id-column", metavar="C", help="The column with the id; else the row's content is its id."),
    ] = None,
    worker: Annotated[str | None, typer.Option("--worker", metavar="NAME", help="Whose all of it is.")] = None,
    worker_column: Annotated[
        str | None, typer.Option("--worker-column", metavar="C", help="The column that says whose.")
    ] = None,
    currency: Annotated[
        str | None, typer.Option("--currency", metavar="C", help="The currency of the amounts.")
    ] = None,
    date_format: Annotated[
        str | None, typer.Option("--date-format", metavar="F", help="As strptime takes it, such as %d.%m.%Y.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Book nothing when one row is wrong.")] = False,
    json: AsJson = False,
) -> None:
    """Book the rows of a CSV file as revenue.

    A wrong row is refused by its line number and the good ones land. The same file again adds nothing. Negative amounts
    are booked as refunds.

    Example:
      nova revenue import sales.csv --source shop --at-column day --amount-column paid --id-column id --worker mailer
    """
    from nova.revenue.importer import import_csv as read

    size = file.stat().st_size if file.exists() else None
    with session() as nova, progress("importing", size, unit="bytes") as tick:
        document = read(
            nova,
            file,
            source=source,
            at_column=at_column,
            amount_column=amount_column,
            id_column=id_column,
            worker=worker,
            worker_column=worker_column,
            currency=currency,
            date_format=date_format,
            strict=strict,
            progress=tick.reached,
        )
        tell_unknown_worker(nova, worker)
    if json:
        emit(document)
    else:
        _show_imported(document)
    if not document["booked"]:
        raise typer.Exit(1)


def _show_imported(document: dict[str, Any]) -> None:
    refused = document["rejections"]
    counts = f"{document['new']:,} new, {document['duplicate']:,} duplicate, {refused:,} refused"
    gross = render.money_text(document["gross"], document["currency"])
    line(f"{render.count(document['rows'], 'row')} read: {counts}; gross {gross}")
    for row in document["rejected"][:_SHOWN]:
        say(f"line {row['line']}: {printable(row['reason'])}")
    if refused > _SHOWN:
        say(f"... and {refused - _SHOWN:,} more; --json names them")
    if not document["booked"]:
        say("nothing was booked, because of --strict")


def export(
    by: ReportBy = "worker",
    since: Since = None,
    until: Until = None,
    format: Annotated[
        str | None, typer.Option("--format", metavar="json|csv", help="What to print; else json.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Print the report's figures as JSON or CSV.

    Every entry by itself comes from `nova ledger export`.

    Example:
      nova revenue export --format csv --by day
    """
    from nova.errors import UsageProblem

    if format not in (None, "json", "csv"):
        raise UsageProblem(f"not a format: {format!r}", hint="it is json or csv")
    if json and format == "csv":
        raise UsageProblem("--json and --format csv do not go together")
    document = report_document(by, since, until)
    if format != "csv":
        emit(document)
    else:
        _write_csv(document)


def _write_csv(document: dict[str, Any]) -> None:
    import csv
    import sys

    names = ("key", "revenue", "cost", "profit", "roi_percent", "entries")
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow((*names, "currency"))
    for row in document["rows"]:
        out.writerow((*(row[name] for name in names), document["currency"]))
    rest = document["unattributed"]
    if rest["entries"]:
        out.writerow(("(unattributed)", rest["revenue"], "", "", "", rest["entries"], document["currency"]))


def reconcile(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PLATFORM]...", help="Such as stripe; all that have a key if left out."),
    ] = None,
    since: Since = None,
    until: Until = None,
    json: AsJson = False,
) -> None:
    """Prove the ledger against what the platforms say, and name each difference.

    What a platform tells of a period is held against the entries of it, one by one: missing here, missing there, amount
    differs, or not converted for want of a rate. The balance is held against it too: what it is now or, for a period,
    what it changed by. The exit code is 1 when anything differs.

    Example:
      nova revenue reconcile stripe --since 2026-05-01 --until 2026-06-01
    """
    from nova.revenue.reconcile import reconcile as compare

    with session() as nova, spinner("comparing"):
        document = compare(nova, sources or [], since=instant(since), until=instant(until))
    if json:
        emit(document)
    else:
        _show_reconciled(document)
    if not document["ok"]:
        raise typer.Exit(1)


def _show_reconciled(document: dict[str, Any]) -> None:
    if not document["sources"]:
        say("no platform has a key yet: nova init")
        return
    figures = ("ledger", "platform", "difference", "opening", "paid_out", "closing")
    columns = (Column("source"), *(Column(name.replace("_", " "), right=True) for name in figures))
    rows = (
        [row["source"], *(render.money_text(row[n], row["currency"]) for n in figures)] for row in document["sources"]
    )
    table(columns, rows)
    named = [(row["source"], one) for row in document["sources"] for one in row["differences"]]
    for source, one in named[:_SHOWN]:
        here, there = (render.money_text(one[side], one["currency"]) for side in ("ledger", "platform"))
        say(f"{source}/{printable(one['id'])}: {one['problem']} (ledger {here}, platform {there})")
    if len(named) > _SHOWN:
        say(f"... and {len(named) - _SHOWN:,} more; --json names them")
