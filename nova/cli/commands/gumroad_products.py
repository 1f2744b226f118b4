"""nova platforms gumroad products|price|publish|unpublish|codes: what is in the shop, and for how much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli import render
from nova.cli.commands.gumroad_account import ProductId, account, exact
from nova.cli.output import Column, emit, line, table
from nova.cli.params import AsJson, By
from nova.cli.session import noted

if TYPE_CHECKING:
    from platforms.gumroad_integration import Gumroad
    from platforms.gumroad_objects import Product


def products(json: AsJson = False) -> None:
    """Show the products with their prices and what they sold.

    Example:
      nova platforms gumroad products
    """
    with account() as (_, gumroad):
        found = list(gumroad.products())
    if json:
        emit({"products": [_product(one) for one in found]})
        return
    columns = (
        Column("id", whole=True), Column("name", wrap=True), Column("price", right=True),
        Column("published", state=True), Column("sold", right=True), Column("taken", right=True),
        Column("address", wrap=True),
    )  # fmt: skip
    table(columns, [_product_row(one) for one in found], empty="the shop has no product yet")


def price(
    product: ProductId,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="12.34, in the product's currency, or 12.34 EUR.")],
    by: By = None,
    json: AsJson = False,
) -> None:
    """Change what a product costs.

    The prices of a membership are those of its tiers: they are changed on Gumroad's own page.

    Example:
      nova platforms gumroad price guide 14.90
    """
    from nova.money import Money

    with account() as (nova, gumroad):
        before = gumroad.product(product)
        changed = gumroad.update_product(before.id, price=Money.parse(amount, before.price.currency))
        noted(nova, by, "gumroad_price", changed.id, {"from": exact(before.price), "to": exact(changed.price)})
    if json:
        emit(_product(changed))
    else:
        line(f"{changed.name}: {render.money(changed.price)}, before {render.money(before.price)}")


def publish(product: ProductId, by: By = None, json: AsJson = False) -> None:
    """Put a product into the shop.

    Example:
      nova platforms gumroad publish guide
    """
    _put(product, by, json, published=True)


def unpublish(product: ProductId, by: By = None, json: AsJson = False) -> None:
    """Take a product out of the shop; who bought it keeps it.

    Example:
      nova platforms gumroad unpublish guide
    """
    _put(product, by, json, published=False)


def codes(
    product: ProductId,
    add: Annotated[str | None, typer.Option("--add", metavar="NAME", help="Make a code of this name.")] = None,
    off: Annotated[str | None, typer.Option("--off", metavar="X", help="What it takes off: 20% or 5.00.")] = None,
    most: Annotated[int | None, typer.Option("--most", min=1, metavar="N", help="For so many purchases.")] = None,
    remove: Annotated[str | None, typer.Option("--remove", metavar="NAME", help="Take the code back.")] = None,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Show the offer codes of a product, add one or take one back.

    `nova revenue map` gives the sales made with a code to a worker.

    Example:
      nova platforms gumroad codes guide --add SPRING --off 20%
    """
    from nova.errors import NotFound, UsageProblem

    if add is not None and off is None:
        raise UsageProblem("what does the code take off?", hint="add --off 20% or --off 5.00")
    with account() as (nova, gumroad):
        if add is not None and off is not None:
            _add_code(gumroad, product, add, off, most)
            noted(nova, by, "gumroad_code_added", product, {"code": add, "off": off})
        if remove is not None:
            there = next((one for one in gumroad.offer_codes(product) if one.name == remove), None)
            if there is None:
                raise NotFound(f"that product has no offer code {remove}")
            gumroad.delete_offer_code(product, there.id)
            noted(nova, by, "gumroad_code_removed", product, {"code": remove})
        found = gumroad.offer_codes(product)
    if json:
        emit({"offer_codes": found})
        return
    columns = (Column("code"), Column("off", right=True), Column("used", right=True), Column("of", right=True))
    rows = [
        (
            one.name,
            f"{one.percent}%" if one.amount is None else render.money(one.amount),
            str(one.used),
            render.NOTHING if one.most is None else str(one.most),
        )
        for one in found
    ]
    table(columns, rows, empty="that product has no offer code")


def _put(product: str, by: str | None, json: bool, *, published: bool) -> None:
    with account() as (nova, gumroad):
        done = gumroad.enable(product) if published else gumroad.disable(product)
        noted(nova, by, "gumroad_published" if published else "gumroad_unpublished", done.id, {})
    if json:
        emit(_product(done))
    else:
        line(f"{done.name} is {'' if done.published else 'not '}published: {done.url}")


def _add_code(gumroad: Gumroad, product: str, name: str, off: str, most: int | None) -> None:
    from nova.errors import UsageProblem
    from nova.money import Money

    if off.endswith("%"):
        if not off[:-1].isdecimal():
            raise UsageProblem(f"not a share: {off}", hint="write it as 20%")
        gumroad.create_offer_code(product, name, percent=int(off[:-1]), most=most)
    else:
        currency = gumroad.product(product).price.currency
        gumroad.create_offer_code(product, name, amount=Money.parse(off, currency), most=most)


def _product(one: Product) -> dict[str, Any]:
    taken = None if one.taken is None else exact(one.taken)
    return {
        "id": one.id, "name": one.name, "price": str(one.price), "currency": one.price.currency, "url": one.url,
        "published": one.published, "recurring": one.recurring, "tiered": one.tiered, "sold": one.sold, "taken": taken,
    }  # fmt: skip


def _product_row(one: Product) -> tuple[str, ...]:
    sold = render.NOTHING if one.sold is None else f"{one.sold:,}"
    taken = render.NOTHING if one.taken is None else render.money(one.taken)
    return one.id, one.name, render.money(one.price), "yes" if one.published else "no", sold, taken, one.url
