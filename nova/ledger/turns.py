"""Turns: only one open run of a deployment at a time is at what a turn is named for. One that dies has left it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, select

from nova.ledger import state
from nova.ledger.effects import EffectHeld
from nova.ledger.schema import runs, worker_state

if TYPE_CHECKING:
    from nova.ledger.store import Store

PREFIX = "turn of "  # of the keys that they have in the deployment's state


class Turns:
    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, worker: str, run: str, name: str) -> None:
        """Durable on return. Raises EffectHeld where it is another open run's."""
        self._store.apply(lambda conn: self._begin(conn, worker, run, name))

    def end(self, worker: str, run: str, name: str) -> None:
        held = worker_state.c.value == json.dumps(run, separators=(",", ":"))
        self._store.apply(lambda conn: conn.execute(delete(worker_state).where(*_named(worker, name), held)))

    def _begin(self, conn: Connection, worker: str, run: str, name: str) -> None:
        found = conn.execute(select(worker_state.c.value).where(*_named(worker, name))).scalar()
        holder = None if found is None else json.loads(found)
        open_run = select(runs.c.id).where(runs.c.id == holder, runs.c.ended_us.is_(None))
        if holder not in (None, run) and conn.execute(open_run).first() is not None:
            raise EffectHeld(f"the run {holder} is at {name!r}")
        state.put(conn, worker, PREFIX + name, run, self._store.clock.now())


def _named(worker: str, name: str) -> tuple[Any, ...]:
    return worker_state.c.worker == worker, worker_state.c.key == PREFIX + name
