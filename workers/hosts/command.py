"""What a command says of money, carried to the desk of its run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from workers.context import RunContext
from workers.hosts.metering import Message

if TYPE_CHECKING:
    from workers.hosts.desk import Desk


def booking(desk: Desk) -> Callable[[Message], None]:
    """Books a message, or raises what the desk does."""
    context = RunContext(desk, {})

    def book(message: Message) -> None:
        if message.kind == "beat":
            context.beat()
        elif message.kind == "claim":
            context.claim(message.source or "", message.id or "")
        elif message.kind == "state":
            context.state[message.key or ""] = message.value
        elif message.amount is not None and message.kind == "earn":
            context.earn(message.amount, message.id or "")
        elif message.amount is not None:
            (context.spend if message.kind == "spend" else context.spent)(message.amount, message.reason or "")

    return book
