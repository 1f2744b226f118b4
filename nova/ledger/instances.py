"""What managers last saw of their instances, and the managers themselves."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, text, update

from nova.clock import from_us, to_us
from nova.ledger.dialect import driver_of
from nova.ledger.leases import free
from nova.ledger.schema import managers, observations

if TYPE_CHECKING:
    from nova.ledger.store import Store


@dataclass(frozen=True, slots=True)
class Observation:
    """One instance, as its manager saw it at `updated_at`."""

    instance: str
    worker: str
    manager: str
    state: str
    updated_at: datetime
    run: str | None = None
    run_started_at: datetime | None = None
    heartbeat_at: datetime | None = None
    cpu_percent: float | None = None
    memory_bytes: int | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class ManagerRecord:
    """A manager's process; `stopped_at` is null while it runs, and for ever when it died."""

    id: str
    pid: int
    host: str
    department: str
    started_at: datetime
    heartbeat_at: datetime
    stopped_at: datetime | None = None
    cpu_percent: float | None = None
    memory_bytes: int | None = None
    threads: int | None = None
    fenced_by: str | None = None


_OBSERVE = text("""
    INSERT INTO observations (instance, worker, manager, state, run, run_started_us, heartbeat_us, cpu_percent,
                              memory_bytes, threads, updated_us)
    VALUES (:instance, :worker, :manager, :state, :run, :run_started_us, :heartbeat_us, :cpu_percent,
            :memory_bytes, :threads, :updated_us)
    ON CONFLICT (instance) DO UPDATE SET
        worker = excluded.worker, manager = excluded.manager, state = excluded.state, run = excluded.run,
        run_started_us = excluded.run_started_us, heartbeat_us = excluded.heartbeat_us,
        cpu_percent = excluded.cpu_percent, memory_bytes = excluded.memory_bytes, threads = excluded.threads,
        updated_us = excluded.updated_us
""")
_BEAT = (
    update(managers)
    .where(managers.c.id == bindparam("manager"), managers.c.fenced_by.is_(None))
    .values(
        beats=managers.c.beats + 1,
        heartbeat_us=bindparam("at"),
        cpu_percent=bindparam("cpu"),
        memory_bytes=bindparam("memory"),
        threads=bindparam("count"),
    )
)


def observe(conn: Connection, rows: Iterable[Observation]) -> None:
    """Replaces what was last seen of each instance."""
    values = [_values(row) for row in rows]
    if values:
        driver_of(conn).executemany(_OBSERVE.text, values)


def forget(
    conn: Connection, *, worker: str | None = None, instances: Collection[str] = (), manager: str | None = None
) -> None:
    """Removes the observations of a worker, or of a manager: all it had, or of these instances what it saw last."""
    if worker is not None:
        conn.execute(delete(observations).where(observations.c.worker == worker))
    if manager is not None:
        gone = delete(observations).where(observations.c.manager == manager)
        conn.execute(gone.where(observations.c.instance.in_(instances)) if instances else gone)


class Managers:
    """Every manager that ever ran."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def register(self, manager: ManagerRecord) -> None:
        values = {
            "id": manager.id,
            "pid": manager.pid,
            "host": manager.host,
            "department": manager.department,
            "started_us": to_us(manager.started_at),
            "heartbeat_us": to_us(manager.heartbeat_at),
            "stopped_us": _us(manager.stopped_at),
            "cpu_percent": manager.cpu_percent,
            "memory_bytes": manager.memory_bytes,
            "threads": manager.threads,
        }
        self._store.apply(lambda conn: conn.execute(insert(managers), values))

    def beat(
        self,
        manager: str,
        at: datetime,
        cpu_percent: float | None = None,
        memory_bytes: int | None = None,
        threads: int | None = None,
    ) -> Future[bool]:
        """A sign of life, by which others know that it still holds its leases. False when it was fenced."""
        values = {"manager": manager, "at": to_us(at), "cpu": cpu_percent, "memory": memory_bytes, "count": threads}
        return self._store.post(lambda conn: conn.execute(_BEAT, values).rowcount > 0)

    def fenced(self, manager: str) -> bool:
        """Whether another manager took over. True also where the ledger does not know it."""
        query = select(managers.c.id).where(managers.c.id == manager, managers.c.fenced_by.is_(None))
        with self._store.read() as conn:
            return conn.execute(query).first() is None

    def stopped(self, manager: str, at: datetime, holding: Collection[str] = ()) -> None:
        """It ended in order, leaving no run open. Its leases are free, but those of `holding`: of what does not end."""
        ended = update(managers).where(managers.c.id == manager).values(stopped_us=to_us(at))

        def act(conn: Connection) -> None:
            conn.execute(ended)
            free(conn, manager, at, but=holding)

        self._store.apply(act)

    def all(self) -> list[ManagerRecord]:
        """The last started first."""
        with self._store.read() as conn:
            return [_manager(row) for row in conn.execute(select(managers).order_by(managers.c.started_us.desc()))]

    def alive(self, now: datetime, within_s: float) -> list[ManagerRecord]:
        """Not stopped, and heard of in the last `within_s` seconds (also from the future: clocks jump)."""
        oldest = now - timedelta(seconds=within_s)
        return [manager for manager in self.all() if manager.stopped_at is None and manager.heartbeat_at >= oldest]


class Instances:
    """The last observation of every instance; they may lag 100 ms."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.managers = Managers(store)

    def observe(self, rows: Iterable[Observation]) -> None:
        seen = list(rows)
        if seen:
            self._store.submit(lambda conn: observe(conn, seen))

    def forget(self, *, worker: str | None = None, instances: Collection[str] = (), manager: str | None = None) -> None:
        self._store.submit(lambda conn: forget(conn, worker=worker, instances=instances, manager=manager))

    def all(self) -> list[Observation]:
        """By worker and instance."""
        query = select(observations).order_by(observations.c.worker, observations.c.instance)
        with self._store.read() as conn:
            return [_observation(row) for row in conn.execute(query)]


def _us(at: datetime | None) -> int | None:
    return None if at is None else to_us(at)


def _at(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)


def _values(row: Observation) -> dict[str, Any]:
    return {
        "instance": row.instance,
        "worker": row.worker,
        "manager": row.manager,
        "state": row.state,
        "run": row.run,
        "run_started_us": _us(row.run_started_at),
        "heartbeat_us": _us(row.heartbeat_at),
        "cpu_percent": row.cpu_percent,
        "memory_bytes": row.memory_bytes,
        "threads": row.threads,
        "updated_us": to_us(row.updated_at),
    }


def _observation(row: Row[Any]) -> Observation:
    return Observation(
        instance=row.instance,
        worker=row.worker,
        manager=row.manager,
        state=row.state,
        updated_at=from_us(row.updated_us),
        run=row.run,
        run_started_at=_at(row.run_started_us),
        heartbeat_at=_at(row.heartbeat_us),
        cpu_percent=row.cpu_percent,
        memory_bytes=row.memory_bytes,
        threads=row.threads,
    )


def _manager(row: Row[Any]) -> ManagerRecord:
    return ManagerRecord(
        id=row.id,
        pid=row.pid,
        host=row.host,
        department=row.department,
        started_at=from_us(row.started_us),
        heartbeat_at=from_us(row.heartbeat_us),
        stopped_at=_at(row.stopped_us),
        cpu_percent=row.cpu_percent,
        memory_bytes=row.memory_bytes,
        threads=row.threads,
        fenced_by=row.fenced_by,
    )
