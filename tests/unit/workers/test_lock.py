from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nova.errors import LockHeld
from workers.lock import DepartmentLeases, ManagerInfo, ManagerLock, is_held, managers

HOLDER = """
import sys, pathlib
from workers.lock import ManagerLock, ManagerInfo
lock = ManagerLock(pathlib.Path(sys.argv[1]))
lock.acquire()
lock.write(ManagerInfo(1, "m-dead", "2026-01-01T00:00:00Z", ""))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_manager_is_refused_and_told_who_holds_the_lock(tmp_path: Path) -> None:
    first = ManagerLock(tmp_path)
    assert first.acquire() is None
    first.write(ManagerInfo(4711, "m-1", "2026-01-01T00:00:00Z", ""))
    with pytest.raises(LockHeld, match="4711"):
        ManagerLock(tmp_path).acquire()
    ManagerLock(tmp_path, "sales").acquire()
    first.release()
    assert ManagerLock(tmp_path).acquire() is None


def test_the_lock_dies_with_its_process_and_the_next_learns_of_it(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, env={}
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert is_held(tmp_path / "manager.lock")
        assert [(info.id, alive) for info, alive in managers(tmp_path)] == [("m-dead", True)]
        process.kill()
        process.wait()
    assert not is_held(tmp_path / "manager.lock")
    left = ManagerLock(tmp_path).acquire()
    assert left is not None
    assert left.id == "m-dead"


def test_a_department_is_run_by_one_manager_at_a_time(tmp_path: Path) -> None:
    first, second = DepartmentLeases(tmp_path), DepartmentLeases(tmp_path)
    assert first.hold("sales")
    assert first.hold("sales")
    assert not second.hold("sales")
    assert second.hold("support")
    first.release()
    assert second.hold("sales")
    second.release()


def test_the_grace_is_what_the_one_who_stops_it_says(tmp_path: Path) -> None:
    lock = ManagerLock(tmp_path)
    lock.acquire()
    assert lock.grace(8.0) == 8.0
    lock.grace_path.write_text("2.5")
    assert lock.grace(8.0) == 2.5
    lock.release()
