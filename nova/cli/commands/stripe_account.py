"""Stripe for a command of a person, and its objects as tables and documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli import render
from nova.cli.output import Column, emit, table
from nova.cli.session import session

if TYPE_CHECKING:
    from nova.bootstrap import Nova
    from platforms.stripe_integration import Stripe

CustomerId = Annotated[str | None, typer.Option("--customer", metavar="ID", help="Only of this customer.")]


@contextmanager
def account() -> Iterator[tuple[Nova, Stripe]]:
    from platforms.registry import stripe_of

    with session() as nova:
        stripe = stripe_of(nova.settings, nova.exchange.alone)
        try:
            yield nova, stripe
        finally:
            stripe.close()


def show(
    name: str, found: Iterable[Any], json: bool, heads: Sequence[str], row: Callable[[Any], tuple[str, ...]]
) -> None:
    if json:
        emit({name: [told(one) for one in found]})
        return
    columns = [
        Column(head, right=head in ("amount", "total", "paid", "a month"), wrap=head in ("for", "email", "name"))
        for head in heads
    ]
    table(columns, [row(one) for one in found])


def told(one: Any) -> dict[str, Any]:
    from platforms import stripe_objects

    return stripe_objects.told(one)


def when(at: Any) -> str:
    return render.NOTHING if at is None else render.when(at)
