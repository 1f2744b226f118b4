"""nova platforms stripe balance|payments|refund|disputes|payouts: what came, went back, is denied and paid out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nova.cli import render
from nova.cli.commands.stripe_account import CustomerId, account, show, told, when
from nova.cli.output import Column, emit, facts, line, table
from nova.cli.params import AsJson, By, Limit, Since, Yes, instant
from nova.cli.session import noted
from nova.cli.terminal import confirm, note

if TYPE_CHECKING:
    from platforms.stripe_objects import Payment

DisputeId = Annotated[str, typer.Argument(metavar="ID", help="The dispute, du_… or dp_….")]


def balance(json: AsJson = False) -> None:
    """Show what Stripe holds: available, and on its way.

    Example:
      nova platforms stripe balance
    """
    from nova.money import Money

    with account() as (_, stripe):
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


def payments(since: Since = None, customer: CustomerId = None, limit: Limit = 20, json: AsJson = False) -> None:
    """Show payments, the newest first.

    Example:
      nova platforms stripe payments list --since 2026-05-01
    """
    with account() as (_, stripe):
        found = list(stripe.payments.list(customer=customer, since=instant(since), most=limit))
    heads = ("at", "payment", "status", "amount", "worker", "for")
    show("payments", found, json, heads, _payment_row)


def payment(id: Annotated[str, typer.Argument(metavar="ID", help="The payment, pi_….")], json: AsJson = False) -> None:
    """Show one payment, and what was given back of it.

    Example:
      nova platforms stripe payments show pi_3Nx
    """
    with account() as (_, stripe):
        found = stripe.payments.get(id)
        back = list(stripe.refunds.list(payment=id))
    if json:
        emit({**told(found), "refunds": [told(one) for one in back]})
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

    with account() as (nova, stripe):
        left = stripe.refunds.refundable(id)
        part = None if amount is None else Money.parse(amount, left.currency)
        if part is not None and part.currency == left.currency and part > left:
            raise Refused(f"only {render.money(left)} of {id} is left to give back")
        if not left:
            raise Refused(f"nothing of {id} is left to give back")
        asked = render.money(left if part is None else part)
        confirm(f"Give {asked} of {id} back?", yes=yes)
        done = stripe.refunds.create(id, part, reason=reason)
        noted(nova, by, "stripe_refund", id, {"refund": done.id, "amount": f"{done.amount} {done.amount.currency}"})
    if json:
        emit(told(done))
    else:
        line(f"{done.id}: {asked} given back, {done.status}")
        note("`nova revenue sync stripe` books it")


def disputes(since: Since = None, limit: Limit = 20, json: AsJson = False) -> None:
    """Show disputes, and until when evidence is taken.

    Example:
      nova platforms stripe disputes list
    """
    with account() as (_, stripe):
        found = list(stripe.disputes.list(since=instant(since), most=limit))
    show(
        "disputes", found, json, ("at", "dispute", "status", "amount", "reason", "payment", "until"),
        lambda one: (
            render.when(one.at), one.id, one.status, render.money(one.amount), one.reason,
            one.payment or render.NOTHING, when(one.due),
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
    with account() as (nova, stripe):
        if not draft:
            confirm(f"Send this to the bank about {id}? It cannot be changed after.", yes=yes)
        done = stripe.disputes.answer(id, {"uncategorized_text": words}, submit=not draft)
        noted(nova, by, "stripe_dispute_answered", id, {"draft": draft})
    if json:
        emit(told(done))
    else:
        line(f"{done.id} is {done.status}")


def close_dispute(id: DisputeId, yes: Yes = False, by: By = None, json: AsJson = False) -> None:
    """Give a dispute up: the customer keeps the money.

    Example:
      nova platforms stripe disputes close du_1Nx --yes
    """
    with account() as (nova, stripe):
        known = stripe.disputes.get(id)
        confirm(f"Give up {id} over {render.money(known.amount)}? It is lost then, for good.", yes=yes)
        done = stripe.disputes.close(id)
        noted(nova, by, "stripe_dispute_closed", id, {})
    if json:
        emit(told(done))
    else:
        line(f"{done.id} is {done.status}")


def payouts(since: Since = None, limit: Limit = 20, json: AsJson = False) -> None:
    """Show what went to your bank, and what is on its way.

    Example:
      nova platforms stripe payouts --since 2026-05-01
    """
    with account() as (_, stripe):
        found = list(stripe.payouts.list(since=instant(since), most=limit))
    show(
        "payouts", found, json, ("at", "payout", "status", "amount", "arrives"),
        lambda one: (render.when(one.at), one.id, one.status, render.money(one.amount), render.when(one.arrives)),
    )  # fmt: skip


def _payment_row(one: Payment) -> tuple[str, ...]:
    return (
        render.when(one.at), one.id, one.status, render.money(one.amount), one.worker or render.NOTHING,
        one.description or render.NOTHING,
    )  # fmt: skip
