"""nova revenue report|top|timeline|reinvest: money, looked at from several sides."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli import render
from nova.cli.output import Column, emit, line, table
from nova.cli.params import AsJson, Now, ReportBy, Since, Until, instant
from nova.cli.session import session
from nova.cli.terminal import colourful, note

if TYPE_CHECKING:
    from nova.money import Money

_FIGURES = tuple(Column(head, right=True) for head in ("revenue", "cost", "profit", "ROI", "entries"))
_EMPTY = "nothing is booked yet: `nova revenue import --help`, `nova revenue record --help`, `nova platforms list`"


def report(
    by: ReportBy = "worker", since: Since = None, until: Until = None, now: Now = None, json: AsJson = False
) -> None:
    """Show revenue, cost, profit and ROI by worker, source or day.

    Revenue is net: sales less refunds, disputes and fees. What no worker can be named for is shown as unattributed.

    Example:
      nova revenue report --by day --since 2026-11-01
    """
    document = report_document(by, since, until, now)
    if json:
        emit(document)
    else:
        show_report(document, by)


def report_document(by: str, since: str | None, until: str | None, now: str | None = None) -> dict[str, Any]:
    from nova.revenue.reports import report as make

    with session() as nova:
        document: dict[str, Any] = make(nova, by=by, since=instant(since), until=instant(until), now=instant(now))
        return document


def show_report(document: dict[str, Any], by: str) -> None:
    currency, rest = document["currency"], document["unattributed"]
    if not document["total"]["entries"]:
        note(_EMPTY)
        return
    rows = [[row["key"], *_figures(row, currency)] for row in document["rows"]]
    if rest["entries"] and by not in ("source", "day"):
        revenue, cost = render.money_text(rest["revenue"], currency), render.money(cost_of_nobody(document))
        rows.append(["(unattributed)", revenue, cost, "", "", f"{rest['entries']:,}"])
    table((Column(by), *_FIGURES), [*rows, ["total", *_figures(document["total"], currency)]])
    say_unconverted(document["unconverted"])


def cost_of_nobody(document: dict[str, Any]) -> Money:
    """What of the total is in no row."""
    from nova.money import Money

    costs = [Money.parse(row["cost"], document["currency"]) for row in (document["total"], *document["rows"])]
    return costs[0] - Money.total(costs[1:], document["currency"])


def _figures(sums: dict[str, Any], currency: str) -> list[str]:
    amounts = [render.money_text(sums[name], currency) for name in ("revenue", "cost", "profit")]
    return [*amounts, render.percent(sums["roi_percent"]), f"{sums['entries']:,}"]


def say_unconverted(waiting: list[dict[str, Any]]) -> None:
    for row in waiting:
        note(f"{row['amount']} {row['currency']} waits for a rate: nova revenue rates set {row['currency']}=RATE")


def top(
    n: Annotated[int, typer.Option("-n", min=1, help="So many.")] = 10,
    since: Since = None,
    until: Until = None,
    json: AsJson = False,
) -> None:
    """Show the deployments with the most profit.

    Example:
      nova revenue top -n 5 --since 2026-11-01
    """
    document = report_document("worker", since, until)
    best = document["rows"][:n]
    if json:
        emit({"currency": document["currency"], "since": document["since"], "until": document["until"], "rows": best})
    elif best:
        table((Column("worker"), *_FIGURES), [[row["key"], *_figures(row, document["currency"])] for row in best])
    else:
        note(_EMPTY)


def timeline(
    days: Annotated[int, typer.Option("--days", min=1, max=3660, help="So many days, today included.")] = 30,
    plot: Annotated[bool, typer.Option("--plot", help="Draw it.")] = False,
    json: AsJson = False,
) -> None:
    """Show revenue and cost day by day.

    Example:
      nova revenue timeline --days 14 --plot
    """
    from nova.revenue.reports import timeline as make

    with session() as nova:
        document = make(nova, days=days)
    if json:
        emit(document)
    elif plot:
        _plot(document)
    else:
        currency = document["currency"]
        table((Column("day"), *_FIGURES), [[row["key"], *_figures(row, currency)] for row in document["rows"]])


def _plot(document: dict[str, Any]) -> None:
    """Two lines, told apart by colour, or by their marks where there is none."""
    import plotext

    colours = colourful()
    rows, figure = document["rows"], plotext.figure
    places = list(range(len(rows)))
    figure.clear()
    figure.theme("simple" if colours else "colorless")
    for name, mark in (("revenue", "*"), ("cost", ".")):
        amounts = [float(row[name]) for row in rows]
        drawn = figure.signal(places, amounts, marker="braille" if colours else mark)
        drawn.lines()
        drawn.label(name)
        figure.draw(drawn)
    step = max(1, len(rows) // 6)
    figure.ruler("x").ticks(places[::step], [row["key"] for row in rows][::step])
    figure.title(f"{document['currency']} a day")
    figure.plot_size(*_size())
    picture = str(figure.build())
    drawn_lines = (picture if colours else plotext.uncolorize(picture)).splitlines()
    sys.stdout.write("\n".join(text.rstrip() for text in drawn_lines).rstrip() + "\n")


def _size() -> tuple[int, int]:
    import shutil

    found = shutil.get_terminal_size((100, 22))
    return min(found.columns, 120), max(10, min(found.lines - 2, 20))


def reinvest(json: AsJson = False) -> None:
    """Say how much of the profit to put back, and where.

    It proposes and changes nothing.

    Example:
      nova revenue reinvest
    """
    from nova.revenue.reinvest import reinvest as propose

    with session() as nova:
        document = propose(nova)
    if json:
        emit(document)
        return
    currency = document["currency"]
    rows = [
        [
            row["worker"],
            render.money_text(row["profit"], currency),
            render.percent(row["roi_percent"]),
            render.money_text(row["amount"], currency),
            row["reason"],
        ]
        for row in document["rows"]
    ]
    if rows:
        columns = (
            Column("worker"),
            Column("profit", right=True),
            Column("ROI", right=True),
            Column("put back", right=True),
        )
        table((*columns, Column("why", wrap=True)), rows)
    else:
        note("no deployment has earned enough to put money back")
    line(f"to put back: {render.money_text(document['total'], currency)}")
