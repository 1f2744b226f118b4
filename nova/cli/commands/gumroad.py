"""nova platforms gumroad …: products, coupons, sales, subscribers, licenses, refunds and pings, by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli import render
from nova.cli.output import Column, emit, line, plain, table
from nova.cli.params import AsJson, By, Since, Until, Yes, instant, person
from nova.cli.session import session
from nova.cli.terminal import confirm
from nova.cli.terminal import note as say

if TYPE_CHECKING:
    from nova.bootstrap import Nova
    from platforms.gumroad_integration import Gumroad
    from platforms.gumroad_objects import Product, Sale

ProductId = Annotated[str, typer.Argument(metavar="PRODUCT", help="Its id, or the name at the end of its address.")]
SaleId = Annotated[str, typer.Argument(metavar="SALE", help="The sale's id.")]
Most = Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most so many, the newest first.")]


def products(json: AsJson = False) -> None:
    """Show the products with their prices and what they sold.

    Example:
      nova platforms gumroad products
    """
    with _account() as (_, gumroad):
        found = list(gumroad.products())
    if json:
        emit({"products": [_product(one) for one in found]})
        return
    columns = (
        Column("id"), Column("name", wrap=True), Column("price", right=True), Column("published", state=True),
        Column("sold", right=True), Column("taken", right=True), Column("address", wrap=True),
    )  # fmt: skip
    table(columns, [_product_row(one) for one in found])


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

    with _account() as (nova, gumroad):
        before = gumroad.product(product)
        changed = gumroad.update_product(before.id, price=Money.parse(amount, before.price.currency))
        _note_down(nova, by, "gumroad_price", changed.id, {"from": _exact(before.price), "to": _exact(changed.price)})
    if json:
        emit(_product(changed))
    else:
        line(f"{changed.name}: {render.money(changed.price)}, before {render.money(before.price)}")


def publish(product: ProductId, by: By = None, json: AsJson = False) -> None:
    """Put a product into the shop.

    Example:
      nova platforms gumroad publish guide
    """
    _show(product, by, json, published=True)


def unpublish(product: ProductId, by: By = None, json: AsJson = False) -> None:
    """Take a product out of the shop; who bought it keeps it.

    Example:
      nova platforms gumroad unpublish guide
    """
    _show(product, by, json, published=False)


def codes(
    product: ProductId,
    add: Annotated[str | None, typer.Option("--add", metavar="NAME", help="Make a code of this name.")] = None,
    off: Annotated[str | None, typer.Option("--off", metavar="X", help="What it takes off: 20% or 5.00.")] = None,
    most: Annotated[int | None, typer.Option("--most", min=1, metavar="N", help="For so many purchases.")] = None,
    remove: Annotated[str | None, typer.Option("--remove", metavar="NAME", help="Take the code back.")] = None,
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
    with _account() as (_, gumroad):
        if add is not None and off is not None:
            _add_code(gumroad, product, add, off, most)
        if remove is not None:
            there = next((one for one in gumroad.offer_codes(product) if one.name == remove), None)
            if there is None:
                raise NotFound(f"that product has no offer code {remove}")
            gumroad.delete_offer_code(product, there.id)
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
    table(columns, rows)


def sales(
    since: Since = None,
    until: Until = None,
    product: Annotated[str | None, typer.Option("--product", metavar="ID", help="Only of this product.")] = None,
    email: Annotated[str | None, typer.Option("--email", metavar="ADDRESS", help="Only to this person.")] = None,
    limit: Most = 50,
    json: AsJson = False,
) -> None:
    """Show sales, the newest first.

    Amounts are in dollars, as Gumroad settles them; in brackets what the customer saw.

    Example:
      nova platforms gumroad sales --since 2026-05-01 --limit 20
    """
    first, last = _days(since, until)
    start, end = instant(since), instant(until)
    with _account() as (_, gumroad):
        told = gumroad.sales(first, last, product=product, email=email)
        wanted = (one for one in told if (start is None or one.at >= start) and (end is None or one.at < end))
        found = list(islice(wanted, limit))
    if json:
        emit({"sales": [_sale(one) for one in found]})
        return
    columns = (
        Column("at"), Column("sale"), Column("product", wrap=True), Column("price", right=True),
        Column("fee", right=True), Column("refunded", right=True), Column("state", wrap=True), Column("worker"),
    )  # fmt: skip
    table(columns, [_sale_row(one) for one in found])


def revenue(since: Since = None, until: Until = None, json: AsJson = False) -> None:
    """Sum up the sales of a period by product, as Gumroad tells them now.

    The refunds are those of the sales of the period, whenever they were made. In dollars.

    Example:
      nova platforms gumroad revenue --since 2026-05-01 --until 2026-06-01
    """
    from platforms.gumroad_figures import by_product

    first, last = _days(since, until)
    start, end = instant(since), instant(until)
    with _account() as (_, gumroad):
        told = gumroad.sales(first, last)
        found = by_product(one for one in told if (start is None or one.at >= start) and (end is None or one.at < end))
    if json:
        emit({"currency": "USD", "products": [{**plain(one), "net": one.net} for one in found]})
        return
    heads = ("gross", "fees", "refunds", "disputes", "net")
    columns = (Column("product", wrap=True), *(Column(head, right=True) for head in ("sold", *heads)))
    rows = [(one.name, f"{one.sold:,}", *(render.money(getattr(one, head)) for head in heads)) for one in found]
    table(columns, rows)


def subscribers(
    product: ProductId,
    email: Annotated[str | None, typer.Option("--email", metavar="ADDRESS", help="Only this person.")] = None,
    json: AsJson = False,
) -> None:
    """Show who subscribes to a product now.

    Example:
      nova platforms gumroad subscribers club
    """
    with _account() as (_, gumroad):
        found = list(gumroad.subscribers(product, email=email))
    if json:
        emit({"subscribers": found})
        return
    columns = (
        Column("id"), Column("person", wrap=True), Column("status"), Column("paid"), Column("since"), Column("until"),
    )  # fmt: skip
    rows = [
        (
            one.id, one.email or render.NOTHING, one.status, one.recurrence or render.NOTHING, render.when(one.since),
            render.NOTHING if one.cancelled is None else render.when(one.cancelled),
        )
        for one in found
    ]  # fmt: skip
    table(columns, rows)


def license_key(
    product: ProductId,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The license key.")],
    count: Annotated[bool, typer.Option("--count", help="Count this as a use.")] = False,
    uncount: Annotated[bool, typer.Option("--uncount", help="Take a use back.")] = False,
    enable: Annotated[bool, typer.Option("--enable", help="Let it be good again.")] = False,
    disable: Annotated[bool, typer.Option("--disable", help="Let it be good no more.")] = False,
    json: AsJson = False,
) -> None:
    """Verify a license key, without counting a use.

    The exit code is 0 for a key that is good, 3 for one that Gumroad does not know for the product or that is
    disabled, and 4 for one whose sale was given back or whose subscription has ended.

    Example:
      nova platforms gumroad license guide 83DB262A-C19D3B06-A5235A6B-8C079166
    """
    from nova.errors import UsageProblem

    if count + uncount + enable + disable > 1:
        raise UsageProblem("only one of --count, --uncount, --enable and --disable")
    with _account() as (nova, gumroad):
        id = gumroad.product(product).id
        if disable:
            found = gumroad.disable_license(id, key)
        else:
            change = {(True, False): gumroad.uncount_license_use, (False, True): gumroad.enable_license}
            act = change.get((uncount, enable))
            found = act(id, key) if act is not None else gumroad.verify_license(id, key, count_use=count)
        good = found.good(nova.clock.now()) and not disable
    if json:
        emit({"good": good, **{name: getattr(found, name) for name in ("key", "product", "uses", "sale", "email")}})
    else:
        state = "disabled" if disable else "good" if good else "not good: refunded, disputed or ended"
        line(f"{state}; used {render.count(found.uses, 'time')}; sale {found.sale or render.NOTHING}")
    if not good and not disable:
        raise typer.Exit(4)


def refund(
    sale: SaleId,
    amount: Annotated[
        str | None, typer.Option("--amount", metavar="AMOUNT", help="A part of it, in the product's currency.")
    ] = None,
    yes: Yes = False,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Give a customer the money back, all of it or an amount.

    Example:
      nova platforms gumroad refund 'B28UKN-dvxYabdavG97Y-Q==' --amount 5.00 --yes
    """
    from nova.money import Money

    with _account() as (nova, gumroad):
        known = gumroad.sale(sale)
        part = None if amount is None else Money.parse(amount, known.listed.currency)
        asked = render.money(known.refundable if part is None else part)
        confirm(f"Give {asked} of {known.product_name} back to {known.email or 'the customer'}?", yes=yes)
        done = gumroad.refund(sale, part)
        _note_down(nova, by, "gumroad_refund", sale, {"amount": None if part is None else _exact(part)})
    if json:
        emit(_sale(done))
    else:
        line(f"{asked} given back; {render.money(done.refundable)} left to give")
        say("`nova revenue sync gumroad` books it")


def hooks(
    add: Annotated[str | None, typer.Option("--add", metavar="URL", help="Let Gumroad post to this address.")] = None,
    on: Annotated[
        list[str] | None, typer.Option("--on", metavar="RESOURCE", help="When this happens; each that there is.")
    ] = None,
    remove: Annotated[str | None, typer.Option("--remove", metavar="ID", help="Post there no more.")] = None,
    json: AsJson = False,
) -> None:
    """Show where Gumroad posts what happens, add an address or take one back.

    The address holds the secret of `nova serve`, as Gumroad signs nothing: see `nova webhooks list`.

    Example:
      nova platforms gumroad hooks --add https://nova.example/webhooks/gumroad/SECRET --on sale --on refund
    """
    from dataclasses import replace

    from nova.config import secret_values
    from nova.secrecy import Scrubber
    from platforms.gumroad_integration import RESOURCES

    with _account() as (nova, gumroad):
        if remove is not None:
            gumroad.delete_hook(remove)
        for resource in (on or RESOURCES) if add is not None else ():
            gumroad.create_hook(resource, str(add))
        hidden = Scrubber(secret_values(nova.settings))
        found = [replace(one, url=hidden.text(one.url)) for one in gumroad.hooks()]
    if json:
        emit({"hooks": found})
        return
    rows = [(one.id, one.resource, one.url) for one in found]
    table((Column("id"), Column("when"), Column("address", wrap=True)), rows)


@contextmanager
def _account() -> Iterator[tuple[Nova, Gumroad]]:
    from platforms.registry import gumroad_of

    with session() as nova:
        gumroad = gumroad_of(nova.settings, nova.exchange.alone)
        try:
            yield nova, gumroad
        finally:
            gumroad.close()


def _show(product: str, by: str | None, json: bool, *, published: bool) -> None:
    with _account() as (nova, gumroad):
        done = gumroad.enable(product) if published else gumroad.disable(product)
        _note_down(nova, by, "gumroad_published" if published else "gumroad_unpublished", done.id, {})
    if json:
        emit(_product(done))
    else:
        line(f"{done.name} is {'' if done.published else 'not '}published: {done.url}")


def _note_down(nova: Nova, by: str | None, what: str, object: str, detail: dict[str, Any]) -> None:
    nova.ledger.audit.append(person(by), what, object, detail)


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


def _days(since: str | None, until: str | None) -> tuple[date | None, date | None]:
    """Whole days of UTC that hold the period."""
    start, end = instant(since), instant(until)
    first = None if start is None else start.astimezone(UTC).date()
    return first, None if end is None else end.astimezone(UTC).date() + timedelta(days=1)


def _exact(amount: Any) -> str:
    return f"{amount} {amount.currency}"


def _product(one: Product) -> dict[str, Any]:
    taken = None if one.taken is None else _exact(one.taken)
    return {
        "id": one.id, "name": one.name, "price": str(one.price), "currency": one.price.currency, "url": one.url,
        "published": one.published, "recurring": one.recurring, "tiered": one.tiered, "sold": one.sold, "taken": taken,
    }  # fmt: skip


def _product_row(one: Product) -> tuple[str, ...]:
    sold = render.NOTHING if one.sold is None else f"{one.sold:,}"
    taken = render.NOTHING if one.taken is None else render.money(one.taken)
    return one.id, one.name, render.money(one.price), "yes" if one.published else "no", sold, taken, one.url


def _sale(one: Sale) -> dict[str, Any]:
    listed = _exact(one.listed)
    return {
        "id": one.id, "order": one.order, "at": one.at, "product": one.product, "product_name": one.product_name,
        "currency": one.price.currency, "price": one.price, "fee": one.fee, "refunded": one.refunded, "listed": listed,
        "refundable": _exact(one.refundable), "disputed": one.disputed, "dispute_won": one.dispute_won,
        "charged": one.charged, "email": one.email, "quantity": one.quantity, "subscription": one.subscription,
        "recurring": one.recurring, "offer_code": one.offer_code, "license_key": one.license_key,
        "worker": None if one.tag is None else one.tag.worker,
    }  # fmt: skip


def _sale_row(one: Sale) -> tuple[str, ...]:
    seen = "" if one.rate is None else f" ({render.money(one.listed)})"
    refunded = render.money(one.refunded) if one.refunded else render.NOTHING
    worker = render.NOTHING if one.tag is None else one.tag.worker
    return (
        render.when(one.at), one.id, one.product_name, f"{render.money(one.price)}{seen}", render.money(one.fee),
        refunded, _state(one), worker,
    )  # fmt: skip


def _state(one: Sale) -> str:
    if one.disputed:
        return "dispute won" if one.dispute_won else "disputed"
    if one.whole or one.partial:
        return "refunded" if one.whole else "partly refunded"
    return "paid" if one.charged else "free"
