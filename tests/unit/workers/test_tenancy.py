"""Leases as one manager asks for them and gives them back; its thread is not started, its steps are taken by hand."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from nova.clock import ManualClock
from nova.errors import Unreachable
from nova.ledger.instances import ManagerRecord
from nova.ledger.ledger import Ledger
from nova.ledger.limits import RunRef
from workers.lock import ManagerInfo, ManagerLock
from workers.takeover import NOTICE_S, Takeover
from workers.tenancy import Tenancy
from workers.vigil import BEAT_S, TTL_S, Vigil

NOBODY = 4_000_000  # no process has this id


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 21, 12, 0, tzinfo=UTC))


@pytest.fixture
def ledger(tmp_path: Path, clock: ManualClock) -> Iterator[Ledger]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    opened = Ledger.open(url, currency="USD", zone=ZoneInfo("UTC"), clock=clock)
    yield opened
    opened.close()


class Manager:
    """One of several; `beats` beats as it does while it lives."""

    def __init__(self, id: str, ledger: Ledger, clock: ManualClock, run_dir: Path, pid: int = NOBODY) -> None:
        self.id, self.ledger, self.clock = id, ledger, clock
        self.alerts: list[str] = []
        self.vigil = Vigil()
        takeover = Takeover(ledger, id, run_dir, clock, self.vigil, lambda event, *_: self.alerts.append(event))
        self.tenancy = Tenancy(ledger, id, takeover, lambda: None)
        ledger.instances.managers.register(ManagerRecord(id, pid, "elsewhere", "all", clock.now(), clock.now()))

    def beat(self) -> None:
        if self.ledger.instances.managers.beat(self.id, self.clock.now()).result():
            self.vigil.beat(self.clock.monotonic())

    def step(self) -> set[str]:
        self.tenancy.step()
        return set(self.tenancy.collect())

    def want(self, *names: str) -> set[str]:
        self.tenancy.want(frozenset(names))
        return self.step()

    def lives(self, seconds: float, *others: Manager) -> float | None:
        """Until it got a lease, at most so long, while the others beat too; how long it took."""
        for half_seconds in range(int(2 * seconds) + 1):
            if half_seconds % int(2 * BEAT_S) == 0:
                self.beat()
                for other in others:
                    other.beat()
            if self.step():
                return half_seconds / 2
            self.clock.advance(0.5)
        return None


@pytest.fixture
def first(ledger: Ledger, clock: ManualClock, tmp_path: Path) -> Manager:
    return Manager("m1", ledger, clock, tmp_path / "run")


@pytest.fixture
def second(ledger: Ledger, clock: ManualClock, tmp_path: Path) -> Manager:
    return Manager("m2", ledger, clock, tmp_path / "run")


def test_the_second_gets_what_the_first_gives_back(first: Manager, second: Manager) -> None:
    assert first.want("a", "b") == {"a", "b"}
    assert second.want("a", "c") == {"c"}
    assert second.step() == set()
    first.tenancy.want(frozenset({"b"}))
    assert first.tenancy.held == {"a", "b"}
    assert second.step() == set()
    first.tenancy.let_go({"a"})
    assert first.tenancy.held == {"b"}
    assert second.step() == set()
    first.step()
    assert second.step() == {"a"}
    assert second.tenancy.held == {"a", "c"}


def test_what_is_wanted_again_before_it_was_given_back_is_asked_for_anew(first: Manager) -> None:
    first.want("a")
    first.tenancy.let_go({"a"})
    assert first.tenancy.held == frozenset()
    assert first.want("a") == {"a"}
    assert first.ledger.leases.all()["a"].token == 2


def test_what_it_gets_comes_with_its_last_starts(first: Manager, clock: ManualClock) -> None:
    for instance in ("a#1", "a#2", "b#1"):
        run = RunRef(instance, instance[0], instance, "d", "m0")
        first.ledger.runs.started(run, clock.now())
    first.tenancy.want(frozenset({"a", "c"}))
    first.step()
    first.tenancy.want(frozenset({"a", "b", "c"}))
    first.tenancy.step()
    assert first.tenancy.collect() == {"b": {"b#1": clock.now()}}


def test_a_lease_whose_starts_could_not_be_read_is_not_taken_as_held(
    first: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise Unreachable("locked")

    monkeypatch.setattr(first.ledger.runs, "last_starts", fail)
    assert first.want("a") == set()
    monkeypatch.undo()
    assert first.step() == {"a"}


def test_a_silent_manager_is_taken_over_within_ten_seconds_and_not_while_it_beats(
    first: Manager, second: Manager
) -> None:
    first.want("a")
    second.want("a")
    assert second.lives(30.0, first) is None
    took = second.lives(10.0)
    assert took is not None
    assert TTL_S <= took <= TTL_S + NOTICE_S + 0.5
    assert second.alerts == ["manager_taken_over"]
    assert first.ledger.instances.managers.fenced("m1")
    first.step()  # is refused


@pytest.mark.parametrize("hours", [-5.0, 5.0])
def test_wall_clocks_that_jump_take_nothing_over(
    first: Manager, second: Manager, clock: ManualClock, hours: float
) -> None:
    first.want("a")
    second.want("a")
    second.lives(3.0, first)
    for _ in range(5):
        clock.set(datetime.fromtimestamp(clock.now().timestamp() + hours * 3600, UTC))
        assert second.lives(4.0, first) is None
    assert not first.ledger.instances.managers.fenced("m1")


def test_while_nobody_can_write_nobody_is_taken_over(first: Manager, second: Manager, clock: ManualClock) -> None:
    first.want("a")
    second.want("a")
    second.lives(5.0, first)
    for _ in range(60):
        clock.advance(0.5)
        assert second.step() == set()
    assert second.lives(TTL_S - 0.5, first) is None


def test_of_a_dead_process_nothing_is_waited_for(first: Manager, second: Manager, tmp_path: Path) -> None:
    first.want("a")
    second.want("a")
    lock = ManagerLock(tmp_path / "run")
    lock.acquire()
    lock.write(ManagerInfo(NOBODY, "m1", "2026-11-21T12:00:00Z", ""))
    assert second.step() == set()
    lock._lock.release()  # as the system does when the process dies
    assert second.step() == {"a"}


def test_one_without_a_lease_may_be_silent_as_long_as_it_likes(first: Manager, second: Manager) -> None:
    first.want("a")
    assert first.lives(20.0) is None
    assert not first.ledger.instances.managers.fenced("m2")


def test_what_a_stopped_manager_could_not_end_is_free_when_its_process_is_gone(
    first: Manager, second: Manager, clock: ManualClock, tmp_path: Path
) -> None:
    first.want("a", "hung")
    second.want("a", "hung")
    lock = ManagerLock(tmp_path / "run")
    lock.acquire()
    lock.write(ManagerInfo(NOBODY, "m1", "2026-11-21T12:00:00Z", ""))
    first.ledger.instances.managers.stopped("m1", clock.now(), {"hung"})
    assert second.step() == {"a"}
    assert second.lives(20.0) is None
    lock._lock.release()
    assert second.step() == {"hung"}


def test_a_process_that_ended_and_that_nobody_looked_after_is_gone(
    first: Manager, second: Manager, ledger: Ledger, clock: ManualClock, tmp_path: Path
) -> None:
    ended = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    here = socket.gethostname()
    ledger.instances.managers.register(ManagerRecord("m0", ended.pid, here, "all", clock.now(), clock.now()))
    ledger.leases.acquire("m0", ["a"])
    ledger.instances.managers.stopped("m0", clock.now(), {"a"})
    assert second.want("a") == {"a"}
    ended.wait()


def test_another_process_with_the_number_of_one_that_stopped_is_not_taken_for_it(
    second: Manager, ledger: Ledger, clock: ManualClock
) -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    record = ManagerRecord("m0", os.getppid(), socket.gethostname(), "all", long_ago, long_ago)
    ledger.instances.managers.register(record)
    ledger.leases.acquire("m0", ["a"])
    assert second.want("a") == set()
    ledger.instances.managers.stopped("m0", clock.now(), {"a"})
    assert second.step() == {"a"}
