"""The account on X that a command works with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from nova.cli.session import session

if TYPE_CHECKING:
    from platforms.twitter_integration import Twitter

PostArg = Annotated[str, typer.Argument(metavar="POST", help="Its id or its address.")]


@contextmanager
def account() -> Iterator[Twitter]:
    with session() as nova:
        client: Twitter = nova.platforms.twitter
        try:
            yield client
        finally:
            client.close()
