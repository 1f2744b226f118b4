"""Gumroad for a command of a person."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli.session import session

if TYPE_CHECKING:
    from nova.bootstrap import Nova
    from platforms.gumroad_integration import Gumroad

ProductId = Annotated[str, typer.Argument(metavar="PRODUCT", help="Its id, or the name at the end of its address.")]


@contextmanager
def account() -> Iterator[tuple[Nova, Gumroad]]:
    from platforms.registry import gumroad_of

    with session() as nova:
        gumroad = gumroad_of(nova.settings, nova.exchange.alone)
        try:
            yield nova, gumroad
        finally:
            gumroad.close()


def exact(amount: Any) -> str:
    return f"{amount} {amount.currency}"
