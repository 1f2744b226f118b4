"""The parts of one NOVA_HOME with a clock that stands still, and a manager that only seems to run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nova.bootstrap import Nova, build
from nova.clock import ManualClock, iso
from nova.config import load_settings
from nova.ledger.instances import ManagerRecord, Observation
from workers.applied import Applied, version_of
from workers.lock import ManagerInfo, ManagerLock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def nova(home: Path, clock: ManualClock) -> Iterator[Nova]:
    built = build(load_settings(), clock=clock)
    yield built
    built.close()


class Manager:
    """Holds the lock that a manager holds, and writes the observations it would write."""

    def __init__(self, nova: Nova, department: str = "") -> None:
        self.id = f"m-{department or 'all'}"
        self._nova = nova
        self._lock = ManagerLock(nova.settings.run_dir, department)
        self._lock.acquire()
        self._lock.write(ManagerInfo(4711, self.id, iso(NOON), department))
        nova.ledger.instances.managers.register(
            ManagerRecord(self.id, 4711, "here", department or "all", NOON, nova.clock.now())
        )

    def sees(self, worker: str, *states: str, heartbeat_at: datetime | None = None) -> None:
        rows = [
            Observation(
                instance=f"{worker}#{index}", worker=worker, manager=self.id, state=state, updated_at=NOON,
                run_started_at=NOON if state == "running" else None, heartbeat_at=heartbeat_at or NOON,
                cpu_percent=12.5, memory_bytes=5_000_000, threads=2,
            )
            for index, state in enumerate(states, 1)
        ]  # fmt: skip
        self._nova.ledger.instances.forget(worker=worker)
        self._nova.ledger.instances.observe(rows)

    def applies(self, *leaving: str) -> None:
        """Says that it has carried out the fleet as it stands, but for these instances, which are still there."""
        version = version_of(self._nova.fleet.token())
        Applied(self.id, version, leaving).write(self._lock.applied_path)

    def die(self) -> None:
        """Without a word: its observations stay."""
        self._lock._written = False
        self._lock.release()


@pytest.fixture
def manager(nova: Nova) -> Iterator[Callable[..., Manager]]:
    started: list[Manager] = []

    def start(department: str = "") -> Manager:
        started.append(Manager(nova, department))
        return started[-1]

    yield start
    for one in started:
        one.die()
