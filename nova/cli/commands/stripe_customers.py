"""nova platforms stripe customers|subscriptions|invoices: who pays, again and again, and by which bill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nova.cli import render
from nova.cli.commands.stripe_account import CustomerId, account, show, told, when
from nova.cli.output import emit, line
from nova.cli.params import AsJson, By, Limit, Yes
from nova.cli.session import noted
from nova.cli.terminal import confirm

if TYPE_CHECKING:
    from platforms.stripe_objects import Subscription

SubscriptionId = Annotated[str, typer.Argument(metavar="ID", help="The subscription, sub_….")]


def customers(
    email: Annotated[str | None, typer.Option("--email", metavar="ADDRESS", help="Only this person.")] = None,
    limit: Limit = 20,
    json: AsJson = False,
) -> None:
    """Show customers, the newest first.

    Example:
      nova platforms stripe customers --email ada@example.com
    """
    with account() as (_, stripe):
        found = list(stripe.customers.list(email=email, most=limit))
    show(
        "customers", found, json, ("at", "customer", "email", "name"),
        lambda one: (render.when(one.at), one.id, one.email or render.NOTHING, one.name or render.NOTHING),
    )  # fmt: skip


def subscriptions(
    customer: CustomerId = None,
    status: Annotated[
        str | None, typer.Option("--status", metavar="S", help="active, past_due, canceled, all; all but ended ones.")
    ] = None,
    limit: Limit = 50,
    json: AsJson = False,
) -> None:
    """Show subscriptions with what they bring a month.

    Example:
      nova platforms stripe subscriptions list --status past_due
    """
    with account() as (_, stripe):
        found = list(stripe.subscriptions.list(customer=customer, status=status, most=limit))
    heads = ("since", "subscription", "status", "a month", "customer", "worker", "paid until")
    show("subscriptions", found, json, heads, _subscription_row)


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
    with account() as (nova, stripe):
        known = stripe.subscriptions.get(id)
        confirm(f"Cancel {id}, {render.money(known.monthly)} a month, {'now' if now else 'at its end'}?", yes=yes)
        done = stripe.subscriptions.cancel(id, at_period_end=not now)
        noted(nova, by, "stripe_subscription_cancelled", id, {"now": now})
    if json:
        emit(told(done))
    else:
        ends = "has ended" if done.status == "canceled" else f"ends {when(done.ends)}"
        line(f"{done.id} {ends}")


def resume_subscription(id: SubscriptionId, by: By = None, json: AsJson = False) -> None:
    """Take back that a subscription is to end.

    Example:
      nova platforms stripe subscriptions resume sub_1Nx
    """
    with account() as (nova, stripe):
        done = stripe.subscriptions.resume(id)
        noted(nova, by, "stripe_subscription_resumed", id, {})
    if json:
        emit(told(done))
    else:
        line(f"{done.id} goes on, {render.money(done.monthly)} a month")


def invoices(
    customer: CustomerId = None,
    status: Annotated[
        str | None, typer.Option("--status", metavar="S", help="draft, open, paid, uncollectible or void.")
    ] = None,
    limit: Limit = 20,
    json: AsJson = False,
) -> None:
    """Show invoices, the newest first.

    Example:
      nova platforms stripe invoices --status open
    """
    with account() as (_, stripe):
        found = list(stripe.invoices.list(customer=customer, status=status, most=limit))
    show(
        "invoices", found, json, ("at", "invoice", "status", "total", "paid", "customer"),
        lambda one: (
            render.when(one.at), one.id, one.status or render.NOTHING, render.money(one.total), render.money(one.paid),
            one.customer or render.NOTHING,
        ),
    )  # fmt: skip


def _subscription_row(one: Subscription) -> tuple[str, ...]:
    status = f"{one.status}, ends" if one.cancels_at_end else one.status
    return (
        render.when(one.at), one.id, status, render.money(one.monthly), one.customer or render.NOTHING,
        one.worker or render.NOTHING, when(one.ends),
    )  # fmt: skip
