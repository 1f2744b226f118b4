"""What was ever deployed, so that history keeps its department when a deployment is gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select, text

from nova.clock import from_us, to_us
from nova.ledger.schema import deployments_seen

if TYPE_CHECKING:
    from nova.ledger.store import Store

_NOTE = text("""
    INSERT INTO deployments_seen (worker, department, agent, first_us, updated_us)
    VALUES (:worker, :department, :agent, :at, :at)
    ON CONFLICT (worker) DO UPDATE SET
        department = excluded.department, agent = excluded.agent, updated_us = excluded.updated_us
""")


@dataclass(frozen=True, slots=True)
class DeploymentSeen:
    worker: str
    department: str
    agent: str
    first_at: datetime
    updated_at: datetime


def note(conn: Connection, worker: str, department: str, agent: str, at: datetime) -> None:
    conn.execute(_NOTE, {"worker": worker, "department": department, "agent": agent, "at": to_us(at)})


class Deployments:
    def __init__(self, store: Store) -> None:
        self._store = store

    def note(self, worker: str, department: str, agent: str) -> None:
        """Call it at every deploy; the last word on a name holds."""
        self._store.apply(lambda conn: note(conn, worker, department, agent, self._store.clock.now()))

    def all(self) -> dict[str, DeploymentSeen]:
        with self._store.read() as conn:
            return {
                row.worker: DeploymentSeen(
                    row.worker, row.department, row.agent, from_us(row.first_us), from_us(row.updated_us)
                )
                for row in conn.execute(select(deployments_seen))
            }
