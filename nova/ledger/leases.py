"""Who runs which deployment: one manager holds its lease, and whoever is fenced writes nothing any more."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, func, select, text, update

from nova.clock import from_us, to_us
from nova.ledger import audit
from nova.ledger.runs import MANAGER_DIED, Recovered, recover
from nova.ledger.schema import leases, managers, observations

if TYPE_CHECKING:
    from nova.ledger.store import Store


@dataclass(frozen=True, slots=True)
class Lease:
    """`token` rises with every change of hands; `manager` is null where it is free."""

    worker: str
    manager: str | None
    token: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Rival:
    """Another manager that may still run something: one that is not over, or one whose leases nobody freed yet."""

    id: str
    pid: int
    host: str
    started_at: datetime
    beats: int
    stopped: bool
    fenced: bool
    holds: bool  # some lease

    @property
    def over(self) -> bool:
        return self.stopped or self.fenced


_ACQUIRE = text("""
    INSERT INTO leases (worker, manager, token, at_us) VALUES (:worker, :manager, 1, :at)
    ON CONFLICT (worker) DO UPDATE SET manager = excluded.manager, token = leases.token + 1, at_us = excluded.at_us
    WHERE leases.manager IS NULL
""")
_RELEASE = text("UPDATE leases SET manager = NULL, at_us = :at WHERE worker = :worker AND manager = :manager")
_RIVALS = text("""
    SELECT m.id, m.pid, m.host, m.started_us, m.beats, m.stopped_us IS NOT NULL AS stopped,
           m.fenced_by IS NOT NULL AS fenced, EXISTS (SELECT 1 FROM leases l WHERE l.manager = m.id) AS holds
    FROM managers m
    WHERE m.id <> :manager AND (m.stopped_us IS NULL AND m.fenced_by IS NULL
                                OR EXISTS (SELECT 1 FROM leases l WHERE l.manager = m.id))
""")
_LOST = text("""
    SELECT m.id,
           EXISTS (SELECT 1 FROM runs r WHERE r.worker = :worker AND r.manager = m.id AND r.error = :error) AS amid
    FROM managers m
    WHERE m.fenced_by IS NOT NULL AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.worker = :worker AND l.manager = m.id)
""")


def free(conn: Connection, manager: str, at: datetime, *, but: Collection[str] = ()) -> int:
    """Gives back every lease of a manager except those of the workers in `but`."""
    held = conn.execute(select(leases.c.worker).where(leases.c.manager == manager)).scalars().all()
    gone = [{"worker": worker, "manager": manager, "at": to_us(at)} for worker in held if worker not in but]
    if gone:
        conn.execute(_RELEASE, gone)
    return len(gone)


def fence(conn: Connection, store: Store, dead: str, by: str, why: str, beats: int | None = None) -> Recovered | None:
    """Ends what a manager left open and lets it write nothing any more; its leases stay its own until they are freed.

    With `beats` only if it has given no other sign of life meanwhile: None when it has, or was over already.
    """
    chosen = [managers.c.id == dead, managers.c.fenced_by.is_(None), managers.c.stopped_us.is_(None)]
    if beats is not None:
        chosen.append(managers.c.beats == beats)
    if conn.execute(update(managers).where(*chosen).values(fenced_by=by)).rowcount == 0:
        return None
    recovered = recover(conn, store, [dead])
    conn.execute(delete(observations).where(observations.c.manager == dead))
    detail = {"why": why, "interrupted": len(recovered.runs), "charged": str(recovered.charged)}
    audit.append(conn, store.clock.now(), by, "manager_fenced", dead, detail)
    return recovered


def _is_over(conn: Connection, manager: str) -> bool:
    over = managers.c.stopped_us.is_not(None) | managers.c.fenced_by.is_not(None)
    return conn.execute(select(managers.c.id).where(managers.c.id == manager, over)).first() is not None


class Leases:
    """Each method is one transaction, however many workers it is about."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def acquire(self, manager: str, workers: Iterable[str]) -> dict[str, int]:
        """Those of them that are this manager's now, because they were free or its own, with their tokens.

        None for one that is over: what it asked for before its end may be written after it.
        """
        at = self._store.now_us()
        names = list(workers)
        asked = [{"worker": worker, "manager": manager, "at": at} for worker in names]

        def take(conn: Connection) -> dict[str, int]:
            if _is_over(conn, manager):
                return {}
            conn.execute(_ACQUIRE, asked)
            mine = select(leases.c.worker, leases.c.token).where(leases.c.manager == manager)
            held = {row.worker: row.token for row in conn.execute(mine)}
            return {worker: held[worker] for worker in names if worker in held}

        return self._store.apply(take) if asked else {}

    def release(self, manager: str, workers: Iterable[str]) -> None:
        """Gives back what is this manager's; of another's nothing happens."""
        at = self._store.now_us()
        gone = [{"worker": worker, "manager": manager, "at": at} for worker in workers]
        if gone:
            self._store.apply(lambda conn: conn.execute(_RELEASE, gone))

    def fence(self, dead: str, by: str, why: str, beats: int | None = None) -> Recovered | None:
        """As the function."""
        return self._store.apply(lambda conn: fence(conn, self._store, dead, by, why, beats))

    def free(self, dead: str) -> int:
        """Gives back what a manager that is over still holds. To be called when nothing of it runs any more."""

        def act(conn: Connection) -> int:
            return free(conn, dead, self._store.clock.now()) if _is_over(conn, dead) else 0

        return self._store.apply(act)

    def vacant(self, manager: str) -> set[str]:
        """The workers whose lease is free, or this manager's already. One never leased is not among them."""
        query = select(leases.c.worker).where(leases.c.manager.is_(None) | (leases.c.manager == manager))
        with self._store.read() as conn:
            return set(conn.execute(query).scalars())

    def rivals(self, manager: str) -> list[Rival]:
        with self._store.read() as conn:
            return [
                Rival(
                    row.id, row.pid, row.host, from_us(row.started_us), row.beats,
                    bool(row.stopped), bool(row.fenced), bool(row.holds),
                )
                for row in conn.execute(_RIVALS, {"manager": manager})
            ]  # fmt: skip

    def lost(self, worker: str) -> dict[str, bool]:
        """The managers that were fenced and have this lease no more, and whether each was in the middle of a run then.

        Whatever can be ended of such a run was ended before the lease was freed; its thread may stand still in memory.
        """
        with self._store.read() as conn:
            return {row.id: bool(row.amid) for row in conn.execute(_LOST, {"worker": worker, "error": MANAGER_DIED})}

    def counts(self) -> dict[str, int]:
        """How many leases each manager holds."""
        count = func.count().label("held")
        query = select(leases.c.manager, count).where(leases.c.manager.is_not(None)).group_by(leases.c.manager)
        with self._store.read() as conn:
            return {row.manager: row.held for row in conn.execute(query)}

    def all(self) -> dict[str, Lease]:
        """By worker."""
        with self._store.read() as conn:
            rows = conn.execute(select(leases).order_by(leases.c.worker))
            return {row.worker: Lease(row.worker, row.manager, row.token, from_us(row.at_us)) for row in rows}
