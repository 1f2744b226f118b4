"""nova revenue mrr|cohorts: what comes back every month, who stays, and what a customer is worth."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nova.cli import charts, render
from nova.cli.charts import ChartFile, Plot
from nova.cli.output import Column, emit, facts, line, table
from nova.cli.params import AsJson, Now, instant
from nova.cli.session import session
from nova.cli.slips import tell_unknown_worker
from nova.cli.terminal import note

Months = Annotated[int, typer.Option("--months", min=1, max=120, help="So many months, this one included.")]

_NONE = "no subscription is known: `nova revenue sync` reads them from platforms that have some"
_MOVES = ("expansion", "contraction", "churned", "reactivated")
_CHURN = ("gross", "net", "logo")
_MOST_LINES = 8


def mrr(
    months: Months = 12,
    worker: Annotated[
        str | None, typer.Option("--worker", metavar="NAME", help="Of this deployment's subscriptions alone.")
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option("--margin", min=0, max=100, metavar="PERCENT", help="For the lifetime value; else the ledger's."),
    ] = None,
    now: Now = None,
    plot: Plot = False,
    chart: ChartFile = None,
    json: AsJson = False,
) -> None:
    """Show monthly recurring revenue, its movements, churn and lifetime value.

    A yearly plan counts by twelfths, a paused one not until it goes on. Other currencies are brought to the reporting
    one by the rates in force, the same for all months. This month is not over.

    Example:
      nova revenue mrr --months 6 --plot
    """
    from decimal import Decimal

    from nova.revenue.analytics.recurring import recurring

    charts.checked(chart)
    share = None if margin is None else Decimal(str(margin)) / 100
    with session() as nova:
        tell_unknown_worker(nova, worker)
        document = recurring(nova, months=months, worker=worker, margin=share, now=instant(now))
    if json:
        emit(document)
        return
    if not document["months"]:
        note(_NONE)
    elif not charts.draw(_mrr_chart(document), plot=plot, file=chart):
        _show_mrr(document)
    _say_gaps(document)


def _show_mrr(document: dict[str, Any]) -> None:
    """What came and went, without the movements there never were; below it customers and churn."""
    currency, months = document["currency"], document["months"]
    moved = ("new", *(name for name in _MOVES if any(float(row[name]) for row in months)), "end")
    heads = ("start", *moved)
    amounts = [[row["month"], *(render.money_text(row[name], currency) for name in heads)] for row in months]
    table((Column("month"), *(Column(head, right=True) for head in heads)), amounts)
    line()
    columns = (Column("month"), *(Column(head, right=True) for head in ("customers", "came", "lost")))
    columns += tuple(Column(f"{name} churn", right=True) for name in _CHURN)
    people = [
        [
            row["month"], *(f"{row[name]:,}" for name in ("customers", "came", "lost")),
            *(render.percent(row[f"{name}_churn_percent"]) for name in _CHURN),
        ]
        for row in months
    ]  # fmt: skip
    table(columns, people)
    line()
    a_month, a_year, each = (render.money_text(document[name], currency) for name in ("mrr", "arr", "arpa"))
    facts(
        [
            ("MRR", f"{a_month}, {a_year} a year"),
            ("ARPA", f"{each} a customer and month"),
            ("lifetime", _lifetime(document)),
        ]
    )


def _lifetime(document: dict[str, Any]) -> str:
    life, currency = document["lifetime"], document["currency"]
    if document["lifetime_value"] is None:
        if not life["months"]:
            return "not known: no whole month has passed"
        return f"not known: no customer was lost in {render.count(life['months'], 'whole month')}"
    margin = "no margin is known, taken as 100%"
    if life["margin_from"] is not None:
        margin = f"margin {render.percent(life['margin_percent'])}{_from(life['margin_from'])}"
    return (
        f"{render.money_text(document['lifetime_value'], currency)} a customer: ARPA "
        f"{render.money_text(life['arpa'], currency)} × {margin} ÷ churn {render.percent(life['logo_churn_percent'])}"
        f" a month, over {render.count(life['months'], 'whole month')}"
    )


def _from(source: str) -> str:
    return " of the ledger" if source == "ledger" else ""


def _say_gaps(document: dict[str, Any]) -> None:
    for code in document["unconverted"]:
        note(f"subscriptions in {code} are left out: nova revenue rates set {code}=RATE")
    for problem in document.get("problems", ()):
        note(f"{problem['source']} did not tell of its subscriptions: {problem['error']}")


def _mrr_chart(document: dict[str, Any]) -> charts.Chart:
    rows, currency = document["months"], document["currency"]

    def moved(name: str, sign: int) -> charts.Series:
        return charts.Series(name, [sign * float(row[name]) for row in rows])

    movements = [
        *(moved(name, 1) for name in ("new", "expansion", "reactivated")),
        *(moved(name, -1) for name in ("contraction", "churned")),
    ]
    return charts.Chart(
        "Monthly recurring revenue",
        [row["month"] for row in rows],
        "month",
        (
            charts.Panel(currency, [charts.Series("MRR", [float(row["end"]) for row in rows])]),
            charts.Panel(currency, bars=movements),
        ),
    )


def cohorts(
    of: Annotated[
        str | None,
        typer.Option("--of", metavar="KIND", help="payment or subscription; else payments where customers are known."),
    ] = None,
    revenue: Annotated[bool, typer.Option("--revenue", help="Show what they bring instead of how many stay.")] = False,
    months: Months = 12,
    now: Now = None,
    plot: Plot = False,
    chart: ChartFile = None,
    json: AsJson = False,
) -> None:
    """Show customers by the month they came in, and how many stay.

    Of payments: who paid again in the month, and what came in net of refunds and fees. Of subscriptions: whose stand
    at the end of the month, and their MRR. Customers are known by a hash alone.

    Example:
      nova revenue cohorts --of subscription --revenue
    """
    from nova.revenue.analytics.cohorts import cohort_table

    charts.checked(chart)
    with session() as nova:
        document = cohort_table(nova, of=of, months=months, now=instant(now))
    if json:
        emit(document)
        return
    if not document["cohorts"]:
        note(_NONE if document["of"] == "subscription" else "no payment's customer is known yet: nova revenue sync")
    elif not charts.draw(_cohort_chart(document, revenue), plot=plot, file=chart):
        _show_cohorts(document, revenue)
    _say_gaps(document)


def _show_cohorts(document: dict[str, Any], revenue: bool) -> None:
    currency, rows = document["currency"], document["cohorts"]
    longest = max(len(row["retained"]) for row in rows)
    columns = [Column("came in"), Column("customers", right=True)]
    columns += [Column("that month" if not age else f"+{age}", right=True) for age in range(longest)]
    shown = []
    for row in rows:
        if revenue:
            cells = [render.money_text(amount, currency) for amount in row["revenue"]]
        else:
            cells = [render.percent(share) for share in row["retention_percent"]]
        shown.append([row["month"], f"{row['customers']:,}", *cells, *[""] * (longest - len(cells))])
    table(columns, shown)


def _cohort_chart(document: dict[str, Any], revenue: bool) -> charts.Chart:
    rows = document["cohorts"][-_MOST_LINES:]
    longest = max(len(row["retained"]) for row in rows)
    name = "revenue" if revenue else "retention_percent"
    lines = [
        charts.Series(row["month"], [*map(float, row[name]), *([None] * (longest - len(row[name])))]) for row in rows
    ]
    title = (
        "Revenue of customers by the month they came in" if revenue else "Customers that stay, by month they came in"
    )
    unit = document["currency"] if revenue else "percent of the cohort"
    ages = [f"+{age}" for age in range(longest)]
    return charts.Chart(title, ages, "months since they came in", (charts.Panel(unit, lines),))
