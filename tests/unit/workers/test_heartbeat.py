from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from math import inf
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from nova.clock import SystemClock
from nova.errors import Unreachable
from nova.ledger.instances import ManagerRecord
from nova.ledger.ledger import Ledger
from workers.heartbeat import Heartbeat
from workers.standstill import wake_the_writer
from workers.vigil import RUN_LEASE_S, Vigil
from workers.worker_monitor import ManagerMonitor


def until(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.01)


class ShiftedClock(SystemClock):
    shift = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.shift


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: ShiftedClock) -> Iterator[Ledger]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    opened = Ledger.open(url, currency="USD", zone=ZoneInfo("UTC"), clock=clock, grouped=True)
    opened.instances.managers.register(ManagerRecord("m1", 42, "host", "all", clock.now(), clock.now()))
    opened.store.guard("m1")
    yield opened
    opened.close()


@pytest.fixture
def fell() -> threading.Event:
    return threading.Event()


@pytest.fixture
def heartbeat(
    ledger: Ledger, clock: ShiftedClock, fell: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Heartbeat]:
    monkeypatch.setattr("workers.heartbeat.BEAT_S", 0.05)
    monkeypatch.setattr("workers.heartbeat._LOOK_S", 0.02)
    made = Heartbeat(ledger, "m1", clock, Vigil(), ManagerMonitor().read, fell.set)
    yield made
    made.stop()


def beats(ledger: Ledger) -> int:
    return next((one.beats for one in ledger.leases.rivals("m2") if one.id == "m1"), -1)


def left_s(heartbeat: Heartbeat, clock: ShiftedClock) -> float:
    return heartbeat.lease_until() - clock.monotonic()


def test_it_beats_and_holds_the_lease_of_what_may_begin(
    heartbeat: Heartbeat, ledger: Ledger, clock: ShiftedClock
) -> None:
    heartbeat.start()
    until(lambda: beats(ledger) >= 3)
    assert RUN_LEASE_S - 1 < left_s(heartbeat, clock) <= RUN_LEASE_S
    assert ledger.instances.managers.all()[0].threads is not None
    assert not heartbeat.look()


def test_one_that_was_fenced_learns_it_by_its_next_beat(
    heartbeat: Heartbeat, ledger: Ledger, fell: threading.Event, tmp_path: Path
) -> None:
    heartbeat.start()
    until(lambda: beats(ledger) >= 1)
    ledger.leases.fence("m1", "m2", "it was silent")
    assert fell.wait(5)
    assert heartbeat.look()
    assert heartbeat.lease_until() == -inf


def test_one_that_was_stopped_looks_before_it_does_anything_else(
    heartbeat: Heartbeat, ledger: Ledger, clock: ShiftedClock, fell: threading.Event
) -> None:
    assert not heartbeat.look()
    clock.shift = 20.0  # nothing was heard of it for so long
    assert left_s(heartbeat, clock) < 0
    assert not heartbeat.look()
    ledger.leases.fence("m1", "m2", "it was silent")
    clock.shift = 40.0
    assert heartbeat.look()
    assert fell.is_set()


def test_while_the_ledger_cannot_be_written_the_lease_runs_out_and_comes_back(
    heartbeat: Heartbeat, ledger: Ledger, clock: ShiftedClock, fell: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.heartbeat.RUN_LEASE_S", 0.3)
    managers = ledger.instances.managers

    def fail(*_: Any) -> Any:
        raise Unreachable("locked")

    heartbeat.start()
    until(lambda: left_s(heartbeat, clock) > 0.1)
    with monkeypatch.context() as broken:
        broken.setattr(managers, "beat", fail)
        until(lambda: left_s(heartbeat, clock) < 0)
        assert not fell.is_set()
    until(lambda: left_s(heartbeat, clock) > 0.1)


WRITER = """
import os, signal, sqlite3, sys
with sqlite3.connect(sys.argv[1], isolation_level=None) as ledger:
    ledger.execute("BEGIN IMMEDIATE")
    print("writing", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    ledger.execute("ROLLBACK")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="who holds a lock is told by Linux alone")
def test_who_was_stopped_in_the_middle_of_writing_is_woken(
    heartbeat: Heartbeat, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.heartbeat.TTL_S", 0.2)
    with subprocess.Popen([sys.executable, "-c", WRITER, ledger.store.path], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        assert wake_the_writer(Path("elsewhere")) is None
        _, status = os.waitpid(writer.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        before = beats(ledger)
        heartbeat.start()
        assert writer.wait(5) == 0
        until(lambda: beats(ledger) > before)


def test_a_beat_that_waits_to_be_written_hides_no_fence(
    heartbeat: Heartbeat, ledger: Ledger, fell: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: Future[bool] = Future()
    monkeypatch.setattr(ledger.instances.managers, "beat", lambda *_: waiting)
    monkeypatch.setattr(ledger.instances.managers, "fenced", lambda _: True)
    heartbeat.start()
    assert fell.wait(5)
