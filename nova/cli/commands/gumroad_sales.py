"""nova platforms gumroad sales|revenue|refund: what was sold, what it brought, and giving it back."""

from __future__ import annotations

from datetime import UTC, date, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli import render
from nova.cli.commands.gumroad_account import account, exact
from nova.cli.output import Column, emit, line, plain, table
from nova.cli.params import AsJson, By, Limit, Since, Until, Yes, instant
from nova.cli.session import noted
from nova.cli.terminal import confirm, note

if TYPE_CHECKING:
    from platforms.gumroad_objects import Sale

SaleId = Annotated[str, typer.Argument(metavar="SALE", help="The sale's id.")]


def sales(
    since: Since = None,
    until: Until = None,
    product: Annotated[str | None, typer.Option("--product", metavar="ID", help="Only of this product.")] = None,
    email: Annotated[str | None, typer.Option("--email", metavar="ADDRESS", help="Only to this person.")] = None,
    limit: Limit = 50,
    json: AsJson = False,
) -> None:
    """Show sales, the newest first.

    Amounts are in dollars, as Gumroad settles them; `listed` is what the customer saw, where that was another currency.

    Example:
      nova platforms gumroad sales --since 2026-05-01 --limit 20
    """
    first, last = _days(since, until)
    start, end = instant(since), instant(until)
    with account() as (_, gumroad):
        told = gumroad.sales(first, last, product=product, email=email)
        wanted = (one for one in told if (start is None or one.at >= start) and (end is None or one.at < end))
        found = list(islice(wanted, limit))
    if json:
        emit({"sales": [_sale(one) for one in found]})
        return
    columns = (
        Column("at"), Column("sale", whole=True), Column("product", wrap=True), Column("price", right=True),
        Column("listed", wrap=True), Column("fee", right=True), Column("refunded", right=True),
        Column("state", wrap=True), Column("worker"),
    )  # fmt: skip
    table(columns, [_sale_row(one) for one in found], empty="no such sale")


def revenue(since: Since = None, until: Until = None, json: AsJson = False) -> None:
    """Sum up the sales of a period by product, as Gumroad tells them now.

    The refunds are those of the sales of the period, whenever they were made. In dollars.

    Example:
      nova platforms gumroad revenue --since 2026-05-01 --until 2026-06-01
    """
    from platforms.gumroad_figures import by_product

    first, last = _days(since, until)
    start, end = instant(since), instant(until)
    with account() as (_, gumroad):
        told = gumroad.sales(first, last)
        found = by_product(one for one in told if (start is None or one.at >= start) and (end is None or one.at < end))
    if json:
        emit({"currency": "USD", "products": [{**plain(one), "net": one.net} for one in found]})
        return
    heads = ("gross", "fees", "refunds", "disputes", "net")
    columns = (Column("product", wrap=True), *(Column(head, right=True) for head in ("sold", *heads)))
    rows = [(one.name, f"{one.sold:,}", *(render.money(getattr(one, head)) for head in heads)) for one in found]
    table(columns, rows, empty="nothing was sold in this time")


def refund(
    sale: SaleId,
    amount: Annotated[
        str | None, typer.Argument(metavar="[AMOUNT]", help="12.34, in the product's currency; all of it if left out.")
    ] = None,
    yes: Yes = False,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Give a customer the money back, all of it or an amount.

    Example:
      nova platforms gumroad refund 'B28UKN-dvxYabdavG97Y-Q==' 5.00 --yes
    """
    from nova.money import Money

    with account() as (nova, gumroad):
        known = gumroad.sale(sale)
        part = None if amount is None else Money.parse(amount, known.listed.currency)
        asked = render.money(known.refundable if part is None else part)
        confirm(f"Give {asked} of {known.product_name} back to {known.email or 'the customer'}?", yes=yes)
        done = gumroad.refund(sale, part)
        noted(nova, by, "gumroad_refund", sale, {"amount": None if part is None else exact(part)})
    if json:
        emit(_sale(done))
    else:
        line(f"{asked} given back; {render.money(done.refundable)} left to give")
        note("`nova revenue sync gumroad` books it")


def _days(since: str | None, until: str | None) -> tuple[date | None, date | None]:
    """Whole days of UTC that hold the period."""
    start, end = instant(since), instant(until)
    first = None if start is None else start.astimezone(UTC).date()
    return first, None if end is None else end.astimezone(UTC).date() + timedelta(days=1)


def _sale(one: Sale) -> dict[str, Any]:
    listed = exact(one.listed)
    return {
        "id": one.id, "order": one.order, "at": one.at, "product": one.product, "product_name": one.product_name,
        "currency": one.price.currency, "price": one.price, "fee": one.fee, "refunded": one.refunded, "listed": listed,
        "refundable": exact(one.refundable), "disputed": one.disputed, "dispute_won": one.dispute_won,
        "charged": one.charged, "email": one.email, "quantity": one.quantity, "subscription": one.subscription,
        "recurring": one.recurring, "offer_code": one.offer_code, "license_key": one.license_key,
        "worker": None if one.tag is None else one.tag.worker,
    }  # fmt: skip


def _sale_row(one: Sale) -> tuple[str, ...]:
    listed = "" if one.rate is None else render.money(one.listed)
    refunded = render.money(one.refunded) if one.refunded else render.NOTHING
    worker = render.NOTHING if one.tag is None else one.tag.worker
    return (
        render.when(one.at), one.id, one.product_name, render.money(one.price), listed, render.money(one.fee),
        refunded, _state(one), worker,
    )  # fmt: skip


def _state(one: Sale) -> str:
    if one.disputed:
        return "dispute won" if one.dispute_won else "disputed"
    if one.whole or one.partial:
        return "refunded" if one.whole else "partly refunded"
    return "paid" if one.charged else "free"
