"""nova platforms stripe …: what is sold, paid, given back, disputed and paid out, by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli import render
from nova.cli.output import Column, emit, facts, line, table
from nova.cli.params import AsJson, By, Since, Yes, instant, person
from nova.cli.session import session
from nova.cli.terminal import confirm
from nova.cli.terminal import note as say

if TYPE_CHECKING:
    from nova.bootstrap import Nova
    from platforms.stripe_integration import Stripe
    from platforms.stripe_objects import Payment, Price, Subscription

Most = Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most so many, the newest first.")]
CustomerId = Annotated[str | None, typer.Option("--customer", metavar="ID", help="Only of this customer.")]
SubscriptionId = Annotated[str, typer.Argument(metavar="ID", help="The subscription, sub_….")]
DisputeId = Annotated[str, typer.Argument(metavar="ID", help="The dispute, du_… or dp_….")]
ForWorker = Annotated[str | None, typer.Option("--worker", metavar="NAME", help="Whose what is paid then is.")]
Every = Annotated[
    str | None, typer.Option("--every", metavar="PERIOD", help="day, week, month or year; once if left out.")
]
_PERIODS = ("day", "week", "month", "year")


def balance(json: AsJson = False) -> None:
    """Show what Stripe holds: available, and on its way.

    Example:
      nova platforms stripe balance
    """
    from nova.money import Money

    with _account() as (_, stripe):
        held = stripe.balance()
    codes = sorted({money.currency for money in (*held.available, *held.pending)})
    here, coming = (
        {code: Money.total((money for money in part if money.currency == code), code) for code in codes}
        for part in (held.available, held.pending)
    )
    if json:
        emit({"balance": [{"currency": code, "available": here[code], "pending": coming[code]} for code in codes]})
        return
    columns = (Column("currency"), Column("available", right=True), Column("pending", right=True))
    table(columns, [(code, render.money(here[code]), render.money(coming[code])) for code in codes])


def payments(since: Since = None, customer: CustomerId = None, limit: Most = 20, json: AsJson = False) -> None:
    """Show payments, the newest first.

    Example:
      nova platforms stripe payments list --since 2026-05-01
    """
    with _account() as (_, stripe):
        found = list(stripe.payments.list(customer=customer, since=instant(since), most=limit))
    heads = ("at", "payment", "status", "amount", "worker", "for")
    _show("payments", found, json, heads, _payment_row)


def payment(id: Annotated[str, typer.Argument(metavar="ID", help="The payment, pi_….")], json: AsJson = False) -> None:
    """Show one payment, and what was given back of it.

    Example:
      nova platforms stripe payments show pi_3Nx
    """
    with _account() as (_, stripe):
        found = stripe.payments.get(id)
        back = list(stripe.refunds.list(payment=id))
    if json:
        emit({**_told(found), "refunds": [_told(one) for one in back]})
        return
    facts(
        [
            ("payment", found.id), ("status", found.status), ("amount", render.money(found.amount)),
            ("received", render.money(found.received)), ("worker", found.worker or render.NOTHING),
            ("customer", found.customer or render.NOTHING), ("for", found.description or render.NOTHING),
            ("at", render.when(found.at)),
            *((f"refund {one.id}", f"{render.money(one.amount)}, {one.status}") for one in back),
        ]
    )  # fmt: skip


def refund(
    id: Annotated[str, typer.Argument(metavar="ID", help="The payment or charge, pi_… or ch_….")],
    amount: Annotated[
        str | None, typer.Argument(metavar="[AMOUNT]", help="12.34, in the payment's currency; all of it if left out.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="R", help="duplicate, fraudulent or requested_by_customer.")
    ] = None,
    yes: Yes = False,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Give a customer the money back, all of it or an amount.

    Example:
      nova platforms stripe refund pi_3Nx 5.00 --yes
    """
    from nova.errors import Refused
    from nova.money import Money

    with _account() as (nova, stripe):
        left = stripe.refunds.refundable(id)
        part = None if amount is None else Money.parse(amount, left.currency)
        if part is not None and part.currency == left.currency and part > left:
            raise Refused(f"only {render.money(left)} of {id} is left to give back")
        if not left:
            raise Refused(f"nothing of {id} is left to give back")
        asked = render.money(left if part is None else part)
        confirm(f"Give {asked} of {id} back?", yes=yes)
        done = stripe.refunds.create(id, part, reason=reason)
        _note_down(
            nova, by, "stripe_refund", id, {"refund": done.id, "amount": f"{done.amount} {done.amount.currency}"}
        )
    if json:
        emit(_told(done))
    else:
        line(f"{done.id}: {asked} given back, {done.status}")
        say("`nova revenue sync stripe` books it")


def customers(
    email: Annotated[str | None, typer.Option("--email", metavar="ADDRESS", help="Only this person.")] = None,
    limit: Most = 20,
    json: AsJson = False,
) -> None:
    """Show customers, the newest first.

    Example:
      nova platforms stripe customers --email ada@example.com
    """
    with _account() as (_, stripe):
        found = list(stripe.customers.list(email=email, most=limit))
    _show(
        "customers", found, json, ("at", "customer", "email", "name"),
        lambda one: (render.when(one.at), one.id, one.email or render.NOTHING, one.name or render.NOTHING),
    )  # fmt: skip


def products(limit: Most = 50, json: AsJson = False) -> None:
    """Show the products on sale with their prices.

    Example:
      nova platforms stripe products list
    """
    with _account() as (_, stripe):
        found = list(stripe.products.list(active=True, most=limit))
        wanted = {one.id for one in found}
        prices = [one for one in stripe.prices.list(active=True) if one.product in wanted] if found else []
    if json:
        emit(
            {"products": [{**_told(one), "prices": [_told(p) for p in prices if p.product == one.id]} for one in found]}
        )
        return
    rows: list[tuple[str, ...]] = []
    for one in found:
        own = [price for price in prices if price.product == one.id]
        rows += [(one.id, one.name, price.id, _price(price)) for price in own]
        rows += [] if own else [(one.id, one.name, render.NOTHING, render.NOTHING)]
    table((Column("product"), Column("name", wrap=True), Column("price"), Column("amount", right=True)), rows)


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
    with _account() as (nova, stripe):
        money = Money.parse(amount, nova.ledger.store.currency)
        done = stripe.products.create(name, money, every=every, description=description, worker=worker)  # type: ignore[arg-type]
        _note_down(nova, by, "stripe_product", done.id, {"name": name, "price": _exact(money)})
    if json:
        emit(_told(done))
    else:
        line(f"{done.id}: {done.name}, {render.money(money)}{'' if every is None else f' a {every}'}")
        say(f"sell it: nova platforms stripe link create --price {done.price} --worker NAME")


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
    with _account() as (nova, stripe):
        done = stripe.links.create(price, worker=worker, quantity=quantity, after_url=after)
        _note_down(nova, by, "stripe_link", done.id, {"price": price, "worker": worker})
    if json:
        emit(_told(done))
    else:
        line(done.url)
        say(f"{done.id}; what is paid there belongs to {worker or 'nobody yet'}")


def links(limit: Most = 20, json: AsJson = False) -> None:
    """Show the payment links one can pay by.

    Example:
      nova platforms stripe link list
    """
    with _account() as (_, stripe):
        found = list(stripe.links.list(active=True, most=limit))
    _show("links", found, json, ("link", "worker", "url"), lambda one: (one.id, one.worker or render.NOTHING, one.url))


def close_link(
    id: Annotated[str, typer.Argument(metavar="ID", help="The link, plink_….")], by: By = None, json: AsJson = False
) -> None:
    """Let nobody pay by a link any more.

    Example:
      nova platforms stripe link close plink_1Nx
    """
    with _account() as (nova, stripe):
        done = stripe.links.close(id)
        _note_down(nova, by, "stripe_link_closed", id, {})
    if json:
        emit(_told(done))
    else:
        line(f"{done.id} is closed")


def subscriptions(
    customer: CustomerId = None,
    status: Annotated[
        str | None, typer.Option("--status", metavar="S", help="active, past_due, canceled, all; all but ended ones.")
    ] = None,
    limit: Most = 50,
    json: AsJson = False,
) -> None:
    """Show subscriptions with what they bring a month.

    Example:
      nova platforms stripe subscriptions list --status past_due
    """
    with _account() as (_, stripe):
        found = list(stripe.subscriptions.list(customer=customer, status=status, most=limit))
    heads = ("since", "subscription", "status", "a month", "customer", "worker", "paid until")
    _show("subscriptions", found, json, heads, _subscription_row)


def cancel_subscription(
    id: SubscriptionId,
    now: Annotated[bool, typer.Option("--now", help="At once, not at the end of what is paid.")] = False,
    yes: Yes = False,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Cancel a subscription at the end of what is paid.

    Example:
      nova platforms stripe subscriptions cancel sub_1Nx --yes
    """
    with _account() as (nova, stripe):
        known = stripe.subscriptions.get(id)
        confirm(f"Cancel {id}, {render.money(known.monthly)} a month, {'now' if now else 'at its end'}?", yes=yes)
        done = stripe.subscriptions.cancel(id, at_period_end=not now)
        _note_down(nova, by, "stripe_subscription_cancelled", id, {"now": now})
    if json:
        emit(_told(done))
    else:
        ends = "has ended" if done.status == "canceled" else f"ends {_when(done.ends)}"
        line(f"{done.id} {ends}")


def resume_subscription(id: SubscriptionId, by: By = None, json: AsJson = False) -> None:
    """Take back that a subscription is to end.

    Example:
      nova platforms stripe subscriptions resume sub_1Nx
    """
    with _account() as (nova, stripe):
        done = stripe.subscriptions.resume(id)
        _note_down(nova, by, "stripe_subscription_resumed", id, {})
    if json:
        emit(_told(done))
    else:
        line(f"{done.id} goes on, {render.money(done.monthly)} a month")


def invoices(
    customer: CustomerId = None,
    status: Annotated[
        str | None, typer.Option("--status", metavar="S", help="draft, open, paid, uncollectible or void.")
    ] = None,
    limit: Most = 20,
    json: AsJson = False,
) -> None:
    """Show invoices, the newest first.

    Example:
      nova platforms stripe invoices --status open
    """
    with _account() as (_, stripe):
        found = list(stripe.invoices.list(customer=customer, status=status, most=limit))
    _show(
        "invoices", found, json, ("at", "invoice", "status", "total", "paid", "customer"),
        lambda one: (
            render.when(one.at), one.id, one.status or render.NOTHING, render.money(one.total), render.money(one.paid),
            one.customer or render.NOTHING,
        ),
    )  # fmt: skip


def disputes(since: Since = None, limit: Most = 20, json: AsJson = False) -> None:
    """Show disputes, and until when evidence is taken.

    Example:
      nova platforms stripe disputes list
    """
    with _account() as (_, stripe):
        found = list(stripe.disputes.list(since=instant(since), most=limit))
    _show(
        "disputes", found, json, ("at", "dispute", "status", "amount", "reason", "payment", "until"),
        lambda one: (
            render.when(one.at), one.id, one.status, render.money(one.amount), one.reason,
            one.payment or render.NOTHING, _when(one.due),
        ),
    )  # fmt: skip


def answer_dispute(
    id: DisputeId,
    words: Annotated[str, typer.Argument(metavar="TEXT", help="What happened, in your words.")],
    draft: Annotated[
        bool, typer.Option("--draft", help="Keep it at Stripe, and send nothing to the bank yet.")
    ] = False,
    yes: Yes = False,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Answer a dispute with evidence; it goes to the bank, once.

    Files and single facts are added on Stripe's own page.

    Example:
      nova platforms stripe disputes answer du_1Nx "Delivered on 3 May" --yes
    """
    with _account() as (nova, stripe):
        if not draft:
            confirm(f"Send this to the bank about {id}? It cannot be changed after.", yes=yes)
        done = stripe.disputes.answer(id, {"uncategorized_text": words}, submit=not draft)
        _note_down(nova, by, "stripe_dispute_answered", id, {"draft": draft})
    if json:
        emit(_told(done))
    else:
        line(f"{done.id} is {done.status}")


def close_dispute(id: DisputeId, yes: Yes = False, by: By = None, json: AsJson = False) -> None:
    """Give a dispute up: the customer keeps the money.

    Example:
      nova platforms stripe disputes close du_1Nx --yes
    """
    with _account() as (nova, stripe):
        known = stripe.disputes.get(id)
        confirm(f"Give up {id} over {render.money(known.amount)}? It is lost then, for good.", yes=yes)
        done = stripe.disputes.close(id)
        _note_down(nova, by, "stripe_dispute_closed", id, {})
    if json:
        emit(_told(done))
    else:
        line(f"{done.id} is {done.status}")


def payouts(since: Since = None, limit: Most = 20, json: AsJson = False) -> None:
    """Show what went to your bank, and what is on its way.

    Example:
      nova platforms stripe payouts --since 2026-05-01
    """
    with _account() as (_, stripe):
        found = list(stripe.payouts.list(since=instant(since), most=limit))
    _show(
        "payouts", found, json, ("at", "payout", "status", "amount", "arrives"),
        lambda one: (render.when(one.at), one.id, one.status, render.money(one.amount), render.when(one.arrives)),
    )  # fmt: skip


@contextmanager
def _account() -> Iterator[tuple[Nova, Stripe]]:
    from platforms.registry import stripe_of

    with session() as nova:
        stripe = stripe_of(nova.settings, nova.exchange.alone)
        try:
            yield nova, stripe
        finally:
            stripe.close()


def _show(
    name: str, found: Iterable[Any], json: bool, heads: Sequence[str], row: Callable[[Any], tuple[str, ...]]
) -> None:
    if json:
        emit({name: [_told(one) for one in found]})
        return
    columns = [
        Column(head, right=head in ("amount", "total", "paid", "a month"), wrap=head in ("for", "email", "name"))
        for head in heads
    ]
    table(columns, [row(one) for one in found])


def _told(one: Any) -> dict[str, Any]:
    from platforms.stripe_objects import told

    return told(one)


def _note_down(nova: Nova, by: str | None, what: str, object: str, detail: dict[str, Any]) -> None:
    nova.ledger.audit.append(person(by), what, object, detail)


def _exact(amount: Any) -> str:
    return f"{amount} {amount.currency}"


def _payment_row(one: Payment) -> tuple[str, ...]:
    return (
        render.when(one.at), one.id, one.status, render.money(one.amount), one.worker or render.NOTHING,
        one.description or render.NOTHING,
    )  # fmt: skip


def _subscription_row(one: Subscription) -> tuple[str, ...]:
    status = f"{one.status}, ends" if one.cancels_at_end else one.status
    return (
        render.when(one.at), one.id, status, render.money(one.monthly), one.customer or render.NOTHING,
        one.worker or render.NOTHING, _when(one.ends),
    )  # fmt: skip


def _price(one: Price) -> str:
    if one.amount is None:
        return render.NOTHING
    every = "" if one.every is None else f" a {one.every}" if one.every_n == 1 else f" each {one.every_n} {one.every}s"
    return render.money(one.amount) + every


def _when(at: Any) -> str:
    return render.NOTHING if at is None else render.when(at)
