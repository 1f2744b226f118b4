"""nova revenue report|top|timeline|reinvest: money, looked at from several sides."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli import charts, render
from nova.cli.charts import ChartFile, Plot
from nova.cli.output import Column, emit, line, table
from nova.cli.params import AsJson, Now, ReportBy, Since, Until, instant
from nova.cli.session import session
from nova.cli.terminal import note

if TYPE_CHECKING:
    from nova.money import Money

_FIGURES = tuple(Column(head, right=True) for head in ("revenue", "cost", "profit", "ROI", "entries"))
EMPTY = "nothing is booked yet: `nova revenue import --help`, `nova revenue record --help`, `nova platforms list`"


def report(
    by: ReportBy = "worker",
    since: Since = None,
    until: Until = None,
    now: Now = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL", help="Compare with an attribution model, or with all; books nothing."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Show revenue, cost, profit and ROI by worker, source or day.

    Revenue is net: sales less refunds, disputes and fees. What no worker can be named for is shown as unattributed.

    Example:
      nova revenue report --by day --since 2026-11-01
    """
    document = report_document(by, since, until, now, model)
    if json:
        emit(document)
    elif model is not None:
        show_models(document)
    else:
        show_report(document, by)


def report_document(
    by: str, since: str | None, until: str | None, now: str | None = None, model: str | None = None
) -> dict[str, Any]:
    from nova.cli.progress import spinner
    from nova.revenue.reports import report as make

    times = {"since": instant(since), "until": instant(until), "now": instant(now)}
    with session() as nova, spinner("comparing") if model else nullcontext():
        document: dict[str, Any] = make(nova, by=by, model=model, **times)
        return document


def show_models(document: dict[str, Any]) -> None:
    """Of one model also what it makes of the ROI; of all their revenue side by side."""
    currency, models = document["currency"], document["models"]
    shown = [("booked", None), *((model, model) for model in models)]
    heads = [name for name, _ in shown] + [f"ROI {name}" for name, _ in shown if len(models) == 1]
    rows = []
    for row in document["rows"]:
        figures = [row if model is None else row["models"][model] for _, model in shown]
        percents = [render.percent(one["roi_percent"]) for one in figures if len(models) == 1]
        rows.append([row["key"], *(render.money_text(one["revenue"], currency) for one in figures), *percents])
    rest = document["unattributed"]
    amounts = [rest["revenue"], *(rest["models"][model]["revenue"] for model in models)]
    if any(amount.strip("-0.") for amount in amounts):
        cells = [render.money_text(amount, currency) for amount in amounts]
        rows.append(["(unattributed)", *cells, *[""] * (len(heads) - len(cells))])
    if not rows:
        note(EMPTY)
        return
    table((Column("worker"), *(Column(head.replace("_", " "), right=True) for head in heads)), rows)
    say_unconverted(document["unconverted"])


def show_report(document: dict[str, Any], by: str) -> None:
    currency, rest = document["currency"], document["unattributed"]
    if not document["total"]["entries"]:
        note(EMPTY)
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
    n: Annotated[int, typer.Option("-n", "--limit", min=1, metavar="N", help="So many.")] = 10,
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
        note(EMPTY)


def timeline(
    days: Annotated[int, typer.Option("--days", min=1, max=3660, help="So many days, today included.")] = 30,
    plot: Plot = False,
    chart: ChartFile = None,
    json: AsJson = False,
) -> None:
    """Show revenue and cost day by day.

    Example:
      nova revenue timeline --days 14 --plot
    """
    from nova.revenue.reports import timeline as make

    charts.checked(chart)
    with session() as nova:
        document = make(nova, days=days)
    if json:
        emit(document)
    elif not charts.draw(_chart(document), plot=plot, file=chart):
        currency = document["currency"]
        table((Column("day"), *_FIGURES), [[row["key"], *_figures(row, currency)] for row in document["rows"]])


def _chart(document: dict[str, Any]) -> charts.Chart:
    rows = document["rows"]
    lines = [charts.Series(name, [float(row[name]) for row in rows]) for name in ("revenue", "cost")]
    panel = charts.Panel(f"{document['currency']} a day", lines)
    return charts.Chart("Revenue and cost", [row["key"] for row in rows], "day", (panel,))


def reinvest(
    share: Annotated[
        float | None,
        typer.Option("--share", min=0, max=100, metavar="PERCENT", help="As if this were the policy's reinvest_share."),
    ] = None,
    now: Now = None,
    json: AsJson = False,
) -> None:
    """Say how much of the profit goes back as budget, and to whom.

    The policy's reinvest_share of the last closed day or month widens the budgets of those whose additional money
    brought most, once. It shows and changes nothing; a cycle does it while the engine is on, and asks you above the
    policy's amount.

    Example:
      nova revenue reinvest --share 20
    """
    from nova.autonomous.reinvesting import proposal

    with session() as nova:
        document = proposal(nova, share=share, now=instant(now))
    if json:
        emit(document)
        return
    currency = document["currency"]
    rows = [_put_back(row, currency) for row in document["rows"]]
    if rows:
        right = (Column(head, right=True) for head in ("budget", "put back", "then"))
        table((Column("worker"), *right, Column("why", wrap=True)), rows)
    else:
        note("no deployment has earned enough to put money back")
    for ending in document["endings"]:
        limit, to = (render.money_text(ending[name], currency) for name in ("limit", "to"))
        line(f"{ending['worker']}: from {limit} back to {to} a {ending['per']}, what was put back before is over")
    profit, given, total = (render.money_text(document[name], currency) for name in ("profit", "given", "total"))
    share_text = render.percent(document["share_percent"])
    line(f"{document['period']}: profit {profit}, share {share_text}, put back before {given}, now {total}")
    if document["problem"]:
        note(document["problem"])
    elif not document["share_percent"]:
        note("nothing goes back: nova autonomous policy set reinvest_share=20% changes that, --share 20 shows how")
    elif not document["enabled"]:
        note("the engine is off: nova autonomous enable lets it act")


def _put_back(row: dict[str, Any], currency: str) -> list[str]:
    limit, amount, to = (render.money_text(row[name], currency) for name in ("limit", "amount", "to"))
    return [row["worker"], f"{limit}/{row['per']}", amount, to, row["reason"]]
