"""Writes into the ledger what was ever deployed, so that history keeps the department of what is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nova.clock import Clock
from nova.fleet.documents import FleetSnapshot
from nova.ledger.deployments import note

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from nova.ledger.ledger import Ledger


class Chronicle:
    """Only what is new is written, all of a fleet in one transaction."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._noted: dict[str, tuple[str, str]] | None = None
        self._done: FleetSnapshot | None = None

    def note(self, snapshot: FleetSnapshot) -> None:
        """What cannot be written now is tried again with the next call."""
        if snapshot is self._done:
            return
        if self._noted is None:
            self._noted = {name: (one.department, one.agent) for name, one in self._ledger.deployments.all().items()}
        declared = {name: (one.department, one.agent) for name, one in snapshot.deployments.items()}
        new = {name: told for name, told in declared.items() if self._noted.get(name) != told}

        def write(conn: Connection) -> None:
            for name, told in new.items():
                note(conn, name, *told, self._clock.now())

        if new:
            self._ledger.apply(write)
            self._noted |= new
        self._done = snapshot
