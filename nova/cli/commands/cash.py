"""nova revenue cashflow|runway|refunds|forecast: what comes and goes, how long it lasts, and what may come."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli import charts, render
from nova.cli.charts import ChartFile, Plot
from nova.cli.commands.reports import EMPTY, say_unconverted
from nova.cli.output import Column, emit, facts, table
from nova.cli.params import AsJson, By, Now, Since, Until, instant, person
from nova.cli.session import session
from nova.cli.slips import tell_unknown_worker
from nova.cli.terminal import note

if TYPE_CHECKING:
    from collections.abc import Iterable

_FLOWS = ("sales", "refunds", "disputes", "fees", "adjustments", "costs")


def cashflow(
    since: Since = None,
    until: Until = None,
    now: Now = None,
    opening: Annotated[
        str | None,
        typer.Option("--opening", metavar="AMOUNT", help="Keep this as what was there before the first entry."),
    ] = None,
    by: By = None,
    plot: Plot = False,
    chart: ChartFile = None,
    json: AsJson = False,
) -> None:
    """Show what came in and went out day by day, with opening and closing balance.

    The balance is all that was ever booked and has a rate, and what --opening said once. Payouts do not count: they
    only move what is there to the bank. Days are local ones; without --since it shows the last 30.

    Example:
      nova revenue cashflow --since 2026-11-01 --opening 2500
    """
    from nova.revenue.analytics.cash import cashflow as make
    from nova.revenue.analytics.cash import declare_opening

    charts.checked(chart)
    with session() as nova:
        if opening is not None:
            declare_opening(nova, opening, person(by))
        document = make(nova, since=instant(since), until=instant(until), now=instant(now))
    if json:
        emit(document)
        return
    if not document["entries"] and opening is None:
        note(EMPTY)
        return
    if not charts.draw(_cash_chart(document), plot=plot, file=chart):
        _show_cash(document)
    say_unconverted(document["unconverted"])


def _show_cash(document: dict[str, Any]) -> None:
    """Without the columns in which nothing ever stands."""
    currency, total = document["currency"], document["total"]
    used = [name for name in _FLOWS if any(Decimal(row[name]) for row in document["rows"])] or ["sales", "costs"]
    names = ("opening", *used, "net", "closing")
    ends = {"opening": document["opening"], "closing": document["closing"]}
    rows = [[row["day"], *_amounts(row, names, currency)] for row in document["rows"]]
    columns = (Column("day"), *(Column(name, right=True) for name in names))
    table(columns, [*rows, ["total", *_amounts({**total, **ends}, names, currency)]])


def _amounts(row: dict[str, Any], names: Iterable[str], currency: str) -> list[str]:
    return [render.money_text(row[name], currency) for name in names]


def _cash_chart(document: dict[str, Any]) -> charts.Chart:
    rows, currency = document["rows"], document["currency"]
    came = [float(row["sales"]) + max(0.0, float(row["adjustments"])) for row in rows]
    went = [float(row["net"]) - came[n] for n, row in enumerate(rows)]
    return charts.Chart(
        "Cash flow by day",
        [row["day"] for row in rows],
        "day",
        (
            charts.Panel(currency, [charts.Series("closing balance", [float(row["closing"]) for row in rows])]),
            charts.Panel(currency, bars=[charts.Series("in", came), charts.Series("out", went)]),
        ),
    )


def runway(
    days: Annotated[int, typer.Option("--days", min=1, max=3660, help="Over so many whole days before today.")] = 30,
    now: Now = None,
    json: AsJson = False,
) -> None:
    """Say how long the money lasts at the present pace.

    It is the balance divided by what a day lost in the mean. `nova revenue cashflow --opening` says what was there
    before the first entry.

    Example:
      nova revenue runway --days 90
    """
    from nova.revenue.analytics.cash import runway_of

    with session() as nova:
        document = runway_of(nova, days=days, now=instant(now))
    if json:
        emit(document)
        return
    if not document["entries"]:
        note(EMPTY)
        return
    currency, burning = document["currency"], document["burning"]
    burn = document["daily_burn"]
    pace = (
        f"loses {render.money_text(burn, currency)}" if burning else f"gains {render.money_text(_less(burn), currency)}"
    )
    over = f"over {render.count(document['days'], 'whole day')}"
    facts(
        [
            ("balance", render.money_text(document["balance"], currency)),
            ("pace", f"a day {pace} in the mean, {over}" if document["days"] else "no whole day has passed yet"),
            ("runway", _runway(document)),
        ]
    )
    say_unconverted(document["unconverted"])


def _less(amount: str) -> str:
    return amount.removeprefix("-")


def _runway(document: dict[str, Any]) -> str:
    if not document["burning"]:
        return "not burning: at this pace it does not end"
    left = document["days_left"]
    if not left:
        return "none: the balance does not last a day"
    until = f", until {document['empty_on']}" if document["empty_on"] else ""
    return f"{render.count(left, 'day')}{until}"


def refunds(
    by: Annotated[str, typer.Option("--by", metavar="KEY", help="worker or source.")] = "worker",
    since: Since = None,
    until: Until = None,
    now: Now = None,
    json: AsJson = False,
) -> None:
    """Show how much of what was sold was given back.

    `rate` divides the refunds that were booked by the sales that were booked, whenever the refunded ones were made.
    `of these` looks at the sales of the time alone and counts their refunds up to now. Without --since it is the last
    30 days.

    Example:
      nova revenue refunds --by source --since 2026-10-01 --until 2026-11-01
    """
    from nova.revenue.analytics.refunds import refunds as make

    with session() as nova:
        document = make(nova, by=by, since=instant(since), until=instant(until), now=instant(now))
    if json:
        emit(document)
        return
    if not document["rows"]:
        note("nothing was sold or refunded in this time: `nova revenue timeline` shows the days")
        say_unconverted(document["unconverted"])
        return
    heads = ("sales", "amount", "refunds", "refunded", "rate", "by amount", "of these", "disputes")
    columns = (Column(by), *(Column(head, right=True) for head in heads))
    currency = document["currency"]
    rows = [[row["key"], *_given(row, currency)] for row in document["rows"]]
    table(columns, [*rows, ["total", *_given(document["total"], currency)]])
    say_unconverted(document["unconverted"])


def _given(row: dict[str, Any], currency: str) -> list[str]:
    sales, back = row["sales"], row["refunds"]
    return [
        f"{sales['count']:,}",
        render.money_text(sales["amount"], currency),
        f"{back['count']:,}",
        render.money_text(back["amount"], currency),
        render.percent(row["rate"]["count_percent"]),
        render.percent(row["rate"]["amount_percent"]),
        render.percent(row["of_these_sales"]["amount_percent"]),
        f"{row['disputes']['count']:,}",
    ]


def forecast(
    days: Annotated[int, typer.Option("--days", min=1, max=366, help="So many days from today on.")] = 30,
    of: Annotated[str, typer.Option("--of", metavar="FIGURE", help="revenue, cost or profit.")] = "revenue",
    worker: Annotated[str | None, typer.Option("--worker", metavar="NAME", help="Of this deployment alone.")] = None,
    level: Annotated[
        float, typer.Option("--level", min=50, max=99, help="How many percent of the futures the bounds hold.")
    ] = 90,
    now: Now = None,
    plot: Plot = False,
    chart: ChartFile = None,
    json: AsJson = False,
) -> None:
    """Estimate what the days to come bring, with bounds.

    Exponential smoothing over the whole days of the history, with a weekly season from five weeks on. It needs at
    least 14 days. The bounds of a month are those of its sum, not sums of bounds.

    Example:
      nova revenue forecast --days 60 --plot
    """
    from nova.revenue.analytics.forecast import forecast as make

    charts.checked(chart)
    with session() as nova:
        tell_unknown_worker(nova, worker)
        workers = None if worker is None else frozenset({worker})
        document = make(nova, of=of, days=days, level=level / 100, workers=workers, now=instant(now))
    if json:
        emit(document)
        return
    if not charts.draw(_forecast_chart(document), plot=plot, file=chart):
        _show_forecast(document)
    note(
        f"estimates: {document['model']}, from {render.count(document['history_days'], 'day')};"
        f" {document['level_percent']:g}% of the futures lie between the bounds"
    )
    say_unconverted(document["unconverted"])


def _show_forecast(document: dict[str, Any]) -> None:
    currency, names = document["currency"], ("expected", "low", "high")
    columns = (
        Column("day"),
        Column("expected", right=True),
        Column("at least", right=True),
        Column("at most", right=True),
    )
    rows = [[row["day"], *_amounts(row, names, currency)] for row in document["days"]]
    for row in document["months"]:
        name = row["month"] if row["whole"] else f"{row['month']} until {document['days'][-1]['day']}"
        rows.append([name, *_amounts(row, names, currency)])
    table(columns, rows)


def _forecast_chart(document: dict[str, Any]) -> charts.Chart:
    """After as much of the history as there are days to come, and at least four weeks."""
    ahead = document["days"]
    past = document["history"][-max(28, len(ahead)) :]
    before: list[float | None] = [None] * len(past)
    known = [float(row["amount"]) for row in past]
    to_come, low, high = ([*before, *(float(row[name]) for row in ahead)] for name in ("expected", "low", "high"))
    return charts.Chart(
        f"Forecast of {document['of']} by day",
        [row["day"] for row in (*past, *ahead)],
        "day",
        (
            charts.Panel(
                document["currency"],
                [charts.Series("so far", [*known, *([None] * len(ahead))]), charts.Series("expected", to_come)],
                band=charts.Band(f"{document['level_percent']:g}% of the futures", low, high),
            ),
        ),
    )
