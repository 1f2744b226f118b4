"""What died in a terminal is told by its lock, whatever the clocks say."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from nova.clock import SystemClock, iso
from nova.ledger.instances import ManagerRecord
from nova.ledger.ledger import Ledger
from nova.ledger.limits import RunRef
from workers.lock import ForegroundLock, ManagerInfo
from workers.recovery import recover, recover_foreground


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(
        f"sqlite:///{tmp_path}/ledger.db", currency="USD", zone=ZoneInfo("UTC"), clock=SystemClock(), grouped=False
    )
    yield opened
    opened.close()


@pytest.fixture
def running(ledger: Ledger, tmp_path: Path) -> ForegroundLock:
    """A run in a terminal, whose process began long after its start, as it looks when the clock was set forward."""
    now = SystemClock().now()
    began, pid, host = now - timedelta(days=1), os.getppid(), socket.gethostname()
    lock = ForegroundLock(tmp_path, "w")
    assert lock.acquire(ManagerInfo(pid, "f-1", iso(began), "d", host))
    ledger.instances.managers.register(ManagerRecord("f-1", pid, host, "d", began, began))
    ledger.runs.started(RunRef("r1", "w", "w#0", "d", "f-1"), now)
    return lock


def test_one_that_lives_is_interrupted_neither_by_a_second_one_nor_by_a_manager(
    ledger: Ledger, running: ForegroundLock, tmp_path: Path
) -> None:
    recover_foreground(ledger, "f-2", tmp_path)
    recover(ledger, "m-1", None, tmp_path)
    assert ledger.runs.get("r1").ended_at is None
    assert not ForegroundLock(tmp_path, "w").acquire(ManagerInfo(1, "f-2", "", "d"))
    running.release()


def test_one_whose_lock_is_free_is_dead_though_its_process_id_is_in_use(
    ledger: Ledger, running: ForegroundLock, tmp_path: Path
) -> None:
    running._lock.release()  # as its death does it
    recover_foreground(ledger, "f-2", tmp_path)
    assert ledger.runs.get("r1").status == "interrupted"


def test_one_of_another_home_with_this_ledger_is_left_alone_while_its_process_lives(
    ledger: Ledger, running: ForegroundLock, tmp_path: Path
) -> None:
    recover_foreground(ledger, "f-2", tmp_path / "other")
    assert ledger.runs.get("r1").ended_at is None
    running.release()
