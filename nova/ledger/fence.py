"""The fence of a manager's process: once another manager took over what it ran, nothing of it is written any more."""

from __future__ import annotations

from sqlalchemy import Connection

from nova.errors import NovaError
from nova.ledger.dialect import driver_of

_FREE = "SELECT 1 FROM managers WHERE id = ? AND fenced_by IS NULL"


class Fenced(NovaError):
    """Another manager has taken over what this one ran: nothing of it is written any more."""


class Fence:
    """Asked within every transaction that writes. A manager that the ledger does not know is fenced too."""

    def __init__(self, manager: str) -> None:
        self.manager = manager

    def closed(self, conn: Connection) -> bool:
        return driver_of(conn).execute(_FREE, (self.manager,)).fetchone() is None
