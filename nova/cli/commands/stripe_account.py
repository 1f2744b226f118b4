"""Stripe for a command of a person, and its objects as tables and documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli import render
from nova.cli.output import Column, emit, table
from nova.cli.session import session

if TYPE_CHECKING:
    from nova.bootstrap import Nova
    from platforms.stripe_integration import Stripe

CustomerId = Annotated[str | None, typer.Option("--customer", metavar="ID", help="Only of this customer.")]

_FIGURES = ("amount", "total", "paid", "a month")
_WORDS = ("for", "email", "name", "url", "reason", "customer", "payment", "until", "paid until", "arrives")


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
    own = name.removesuffix("s")
    columns = [Column(head, right=head in _FIGURES, wrap=head in _WORDS, whole=head == own) for head in heads]
    columns = [replace(one, wrap=False) if one.whole else one for one in columns]
    table(columns, [row(one) for one in found], empty=f"Stripe has no such {own}")


def told(one: Any) -> dict[str, Any]:
    from platforms import stripe_objects

    return stripe_objects.told(one)


def when(at: Any) -> str:
    return render.NOTHING if at is None else render.when(at)
