"""nova revenue rates: what other currencies are worth."""

from __future__ import annotations

from typing import Annotated

import typer

from nova.cli.output import Column, emit, line, table
from nova.cli.params import AsJson, By, pairs, person
from nova.cli.render import count, when
from nova.cli.session import session
from nova.cli.terminal import note


def set_rates(
    rates: Annotated[list[str], typer.Argument(metavar="CURRENCY=RATE...", help="Such as EUR=1.08.")],
    by: By = None,
    json: AsJson = False,
) -> None:
    """Say what a currency is worth in the reporting currency.

    It converts what has waited for a rate and what comes from now on; what was converted before keeps its rate.

    Example:
      nova revenue rates set EUR=1.08 GBP=1.27
    """
    from decimal import Decimal, InvalidOperation

    from nova.errors import UsageProblem

    said = {}
    for code, text in pairs(rates).items():
        try:
            said[code.upper()] = Decimal(text.strip())
        except InvalidOperation:
            raise UsageProblem(f"not a rate: {text!r}", hint="write it as EUR=1.08") from None
    with session() as nova:
        converted = {code: nova.ledger.rates.set(code, rate, by=person(by)) for code, rate in said.items()}
    if json:
        emit({"rates": [{"currency": code, "rate": rate, "converted": converted[code]} for code, rate in said.items()]})
        return
    for code, rate in said.items():
        line(f"1 {code} = {rate}: {count(converted[code], 'entry', 'entries')} converted")


def list_rates(json: AsJson = False) -> None:
    """Show the rates in use and what still lacks one.

    Example:
      nova revenue rates list
    """
    with session() as nova:
        currency = nova.settings.nova_currency
        known = nova.ledger.rates.all()
        lacking = sorted({waiting.amount.currency for waiting in nova.ledger.reports.unconverted()})
    if json:
        rows = [{"currency": rate.currency, "rate": rate.rate, "at": rate.at, "by": rate.by} for rate in known]
        emit({"currency": currency, "rates": rows, "lacking": lacking})
        return
    if known:
        columns = (Column("currency"), Column(f"in {currency}", right=True), Column("since"), Column("by"))
        table(columns, [(rate.currency, str(rate.rate), when(rate.at), rate.by) for rate in known])
    else:
        note("no rates yet: nova revenue rates set EUR=1.08")
    for code in lacking:
        note(f"entries in {code} wait for a rate: nova revenue rates set {code}=RATE")
