"""The durable dict of a deployment, shared by its replicas."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, select, text

from nova.clock import to_us
from nova.ledger.schema import worker_state
from nova.ledger.state_value import MOST_BYTES, encode

__all__ = ["MOST_BYTES", "State", "encode", "put"]

if TYPE_CHECKING:
    from nova.ledger.store import Store

_SET = text("""
    INSERT INTO worker_state (worker, key, value, updated_us) VALUES (:worker, :key, :value, :at)
    ON CONFLICT (worker, key) DO UPDATE SET value = excluded.value, updated_us = excluded.updated_us
        WHERE worker_state.value <> excluded.value
""")


def put(conn: Connection, worker: str, key: str, value: Any, at: datetime) -> bool:
    """Whether it is another value than before."""
    values = {"worker": worker, "key": key, "value": encode(key, value), "at": to_us(at)}
    return conn.execute(_SET, values).rowcount > 0


class State:
    """Values are JSON, at most 1 MB each; writes are durable when they return."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, worker: str, key: str, default: Any = None) -> Any:
        query = select(worker_state.c.value).where(worker_state.c.worker == worker, worker_state.c.key == key)
        with self._store.read() as conn:
            found = conn.execute(query).scalar()
        return default if found is None else json.loads(found)

    def set(self, worker: str, key: str, value: Any) -> bool:
        """Whether it is another value than before."""
        encode(key, value)
        return self._store.apply(lambda conn: put(conn, worker, key, value, self._store.clock.now()))

    def delete(self, worker: str, key: str) -> bool:
        """Whether there was such a key."""
        gone = delete(worker_state).where(worker_state.c.worker == worker, worker_state.c.key == key)
        return self._store.apply(lambda conn: conn.execute(gone).rowcount > 0)

    def all(self, worker: str) -> dict[str, Any]:
        query = select(worker_state.c.key, worker_state.c.value).where(worker_state.c.worker == worker)
        with self._store.read() as conn:
            return {row.key: json.loads(row.value) for row in conn.execute(query.order_by(worker_state.c.key))}

    def clear(self, worker: str) -> None:
        self._store.apply(lambda conn: conn.execute(delete(worker_state).where(worker_state.c.worker == worker)))
