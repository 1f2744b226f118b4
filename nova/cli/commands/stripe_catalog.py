"""nova platforms stripe products|link: what is sold, and where one pays for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nova.cli import render
from nova.cli.commands.stripe_account import account, show, told
from nova.cli.output import Column, emit, line, table
from nova.cli.params import AsJson, By, Limit
from nova.cli.session import noted
from nova.cli.terminal import note

if TYPE_CHECKING:
    from platforms.stripe_objects import Price

ForWorker = Annotated[str | None, typer.Option("--worker", metavar="NAME", help="Whose what is paid then is.")]
Every = Annotated[
    str | None, typer.Option("--every", metavar="PERIOD", help="day, week, month or year; once if left out.")
]
_PERIODS = ("day", "week", "month", "year")


def products(limit: Limit = 50, json: AsJson = False) -> None:
    """Show the products on sale with their prices.

    Example:
      nova platforms stripe products list
    """
    with account() as (_, stripe):
        found = list(stripe.products.list(active=True, most=limit))
        wanted = {one.id for one in found}
        prices = [one for one in stripe.prices.list(active=True) if one.product in wanted] if found else []
    if json:
        emit({"products": [{**told(one), "prices": [told(p) for p in prices if p.product == one.id]} for one in found]})
        return
    rows: list[tuple[str, ...]] = []
    for one in found:
        own = [price for price in prices if price.product == one.id]
        rows += [(one.id, one.name, price.id, _price(price)) for price in own]
        rows += [] if own else [(one.id, one.name, render.NOTHING, render.NOTHING)]
    columns = (
        Column("product", whole=True), Column("name", wrap=True), Column("price", whole=True),
        Column("amount", right=True),
    )  # fmt: skip
    table(columns, rows, empty="nothing is on sale yet: nova platforms stripe products create --help")


def create_product(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As customers see it.")],
    amount: Annotated[str, typer.Option("--price", metavar="AMOUNT", help="12.34 or 12.34 EUR.")],
    every: Every = None,
    description: Annotated[str | None, typer.Option("--description", metavar="TEXT", help="What it is.")] = None,
    worker: ForWorker = None,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Make a product with a price.

    Example:
      nova platforms stripe products create "Weekly letter" --price 9.00 --every month
    """
    from nova.errors import UsageProblem
    from nova.money import Money

    if every is not None and every not in _PERIODS:
        raise UsageProblem(f"not a period: {every}", hint=f"one of {', '.join(_PERIODS)}")
    with account() as (nova, stripe):
        money = Money.parse(amount, nova.ledger.store.currency)
        done = stripe.products.create(name, money, every=every, description=description, worker=worker)  # type: ignore[arg-type]
        noted(nova, by, "stripe_product", done.id, {"name": name, "price": f"{money} {money.currency}"})
    if json:
        emit(told(done))
    else:
        line(f"{done.id}: {done.name}, {render.money(money)}{'' if every is None else f' a {every}'}")
        note(f"sell it: nova platforms stripe link create --price {done.price} --worker NAME")


def create_link(
    price: Annotated[str, typer.Option("--price", metavar="ID", help="What is sold, price_….")],
    worker: ForWorker = None,
    quantity: Annotated[int, typer.Option("--quantity", min=1, metavar="N", help="How many of it.")] = 1,
    after: Annotated[
        str | None, typer.Option("--after", metavar="URL", help="Where the customer goes when it is paid.")
    ] = None,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Make a payment link whose sales are a worker's.

    The worker's name stands on the link and on every payment or subscription that comes of it.

    Example:
      nova platforms stripe link create --price price_1Nx --worker mailer
    """
    with account() as (nova, stripe):
        done = stripe.links.create(price, worker=worker, quantity=quantity, after_url=after)
        noted(nova, by, "stripe_link", done.id, {"price": price, "worker": worker})
    if json:
        emit(told(done))
    else:
        line(done.url)
        note(f"{done.id}; what is paid there belongs to {worker or 'nobody yet'}")


def links(limit: Limit = 20, json: AsJson = False) -> None:
    """Show the payment links one can pay by.

    Example:
      nova platforms stripe link list
    """
    with account() as (_, stripe):
        found = list(stripe.links.list(active=True, most=limit))
    show("links", found, json, ("link", "worker", "url"), lambda one: (one.id, one.worker or render.NOTHING, one.url))


def close_link(
    id: Annotated[str, typer.Argument(metavar="ID", help="The link, plink_….")], by: By = None, json: AsJson = False
) -> None:
    """Let nobody pay by a link any more.

    Example:
      nova platforms stripe link close plink_1Nx
    """
    with account() as (nova, stripe):
        done = stripe.links.close(id)
        noted(nova, by, "stripe_link_closed", id, {})
    if json:
        emit(told(done))
    else:
        line(f"{done.id} is closed")


def _price(one: Price) -> str:
    if one.amount is None:
        return render.NOTHING
    every = "" if one.every is None else f" a {one.every}" if one.every_n == 1 else f" each {one.every_n} {one.every}s"
    return render.money(one.amount) + every
