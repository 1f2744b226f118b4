from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nova.errors import LockHeld
from workers.lock import ManagerInfo, ManagerLock, is_held, managers

HOLDER = """
import sys, pathlib
from workers.lock import ManagerLock, ManagerInfo
lock = ManagerLock(pathlib.Path(sys.argv[1]))
lock.acquire()
lock.write(ManagerInfo(1, "m-dead", "2026-01-01T00:00:00Z", ""))
print("held", flush=True)
sys.stdin.read()
"""
FORKING_HOLDER = """
import os, sys, time, pathlib
from workers.lock import ManagerLock
lock = ManagerLock(pathlib.Path(sys.argv[1]))
lock.acquire()
if not os.fork():
    print(os.getpid(), flush=True)
time.sleep(60)
"""
ROOT = Path(__file__).parents[3]


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
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env={}
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


def test_the_grace_is_what_the_one_who_stops_it_says(tmp_path: Path) -> None:
    lock = ManagerLock(tmp_path)
    lock.acquire()
    assert lock.grace(8.0) == 8.0
    ManagerLock(tmp_path).give(2.5)
    assert lock.grace(8.0) == 2.5
    lock.release()


def test_what_was_said_to_a_manager_that_died_is_not_meant_for_the_next(tmp_path: Path) -> None:
    ManagerLock(tmp_path).give(0.0)
    lock = ManagerLock(tmp_path)
    lock.acquire()
    assert lock.grace(8.0) == 8.0
    lock.release()


def test_who_looks_whether_it_is_held_neither_takes_it_nor_is_taken_for_its_holder(tmp_path: Path) -> None:
    lock = ManagerLock(tmp_path)
    lock.acquire()
    lock.release()
    done = threading.Event()
    seen: list[set[bool]] = [set(), set(), set(), set()]

    def look(found: set[bool]) -> None:
        while not done.is_set():
            found.add(is_held(lock.path))

    lookers = [threading.Thread(target=look, args=(found,)) for found in seen]
    for looker in lookers:
        looker.start()
    try:
        threading.Event().wait(0.1)
        assert set.union(*seen) == {False}
        for _ in range(200):
            lock.acquire()  # raises nothing
            lock.release()
    finally:
        done.set()
        for looker in lookers:
            looker.join()


def test_what_an_agent_forks_does_not_hold_the_lock_beyond_the_managers_death(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", FORKING_HOLDER, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT, env={}
    )
    with process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.kill()
        process.wait()
    try:
        assert not is_held(tmp_path / "manager.lock")
    finally:
        os.kill(child, signal.SIGKILL)


def test_what_it_has_still_to_put_in_order_is_known_should_it_die(tmp_path: Path) -> None:
    info = ManagerInfo(1, "m-2", "2026-01-01T00:00:00Z", "", "here", ("m-1",))
    lock = ManagerLock(tmp_path)
    lock.acquire()
    lock.write(info)
    assert [found for found, _ in managers(tmp_path)] == [info]
    lock.release()
