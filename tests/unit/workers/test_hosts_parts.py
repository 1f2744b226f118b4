from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from nova.errors import UsageProblem
from nova.money import Money
from workers.gate import Gate, LateRun
from workers.hosts.pool import ThreadPool
from workers.spending import Spending
from workers.wakeup import Wakeup


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        threading.Event().wait(0.005)


def test_idle_threads_are_used_again_and_reaped() -> None:
    pool = ThreadPool("t", idle_s=0.1)
    done = threading.Event()
    pool.submit(done.set)
    assert done.wait(5)
    until(lambda: pool.size == 0)


def test_every_job_gets_a_thread_at_once() -> None:
    pool = ThreadPool("t", idle_s=0.1)
    barrier = threading.Barrier(21, timeout=10)
    for _ in range(20):
        pool.submit(barrier.wait)
    barrier.wait()
    until(lambda: pool.size == 0)


def test_a_job_handed_to_a_thread_about_to_leave_is_not_lost() -> None:
    pool = ThreadPool("t", idle_s=0.001)
    count = threading.Semaphore(0)
    for _ in range(500):
        pool.submit(count.release)
        assert count.acquire(timeout=5)
        threading.Event().wait(0.001)


def test_a_job_that_raises_costs_no_thread() -> None:
    pool = ThreadPool("t", idle_s=0.1)

    def bad() -> None:
        raise ValueError

    done = threading.Event()
    pool.submit(bad)
    pool.submit(done.set)
    assert done.wait(5)


def test_a_closed_gate_refuses_and_tells_why() -> None:
    gate = Gate()
    with gate.passing():
        pass
    assert gate.close("killed")
    assert not gate.close("again")
    with pytest.raises(LateRun, match="killed"), gate.passing():
        pass


def test_closing_waits_for_who_is_inside() -> None:
    gate = Gate()
    inside, go, closed = threading.Event(), threading.Event(), threading.Event()

    def call() -> None:
        with gate.passing():
            inside.set()
            go.wait(5)

    threading.Thread(target=call, daemon=True).start()
    assert inside.wait(5)
    threading.Thread(target=lambda: (gate.close("end"), closed.set()), daemon=True).start()
    until(lambda: gate.closed)
    assert not closed.is_set()
    go.set()
    assert closed.wait(5)


def test_a_wakeup_set_many_times_wakes_once() -> None:
    wakeup = Wakeup()
    for _ in range(100_000):
        wakeup.set()
    assert wakeup.wait(0)
    assert not wakeup.wait(0)
    wakeup.close()


class Charges(list[Money]):
    def spending(self, *, release_on_error: bool = False) -> Spending:
        return Spending(Money(10, "USD"), self.append, release_on_error=release_on_error)


def test_settled_spending_is_charged_as_settled_and_only_once() -> None:
    charged = Charges()
    with charged.spending() as spending:
        spending.settle(Money(4, "USD"))
        with pytest.raises(UsageProblem):
            spending.settle(Money(5, "USD"))
    assert charged == [Money(4, "USD")]


def test_spending_that_is_never_settled_is_charged_in_full() -> None:
    charged = Charges()
    with charged.spending():
        pass
    assert charged == [Money(10, "USD")]


@pytest.mark.parametrize(("declared_safe", "micros"), [(False, 10), (True, 0)])
def test_after_an_exception_the_ceiling_is_charged_unless_declared_safe(declared_safe: bool, micros: int) -> None:
    charged = Charges()
    with pytest.raises(ValueError, match="vendor"), charged.spending(release_on_error=declared_safe):
        raise ValueError("vendor")
    assert charged == [Money(micros, "USD")]


def test_many_short_jobs_share_few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.hosts.pool._PATIENCE_S", 1.0)
    pool = ThreadPool("t", idle_s=0.1)
    done = threading.Semaphore(0)
    for _ in range(500):
        pool.submit(done.release)
    for _ in range(500):
        assert done.acquire(timeout=5)
    assert pool.size <= 4


def test_a_short_job_need_not_wait_for_the_long_one_before_it() -> None:
    pool = ThreadPool("t", idle_s=5.0)
    for held in (8, 8):  # once with new threads, once with idle ones
        barrier = threading.Barrier(held + 1, timeout=10)
        done = threading.Event()
        for _ in range(held):
            pool.submit(barrier.wait)
        pool.submit(done.set)
        assert done.wait(5)
        barrier.wait()


def test_where_no_thread_can_be_had_jobs_wait_for_one_that_becomes_free(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pool = ThreadPool("t", idle_s=5.0)
    go, done = threading.Event(), threading.Event()
    for _ in range(5):
        pool.submit(lambda: go.wait(10))
    until(lambda: pool.size == 5)

    def refused(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(pool, "_start", refused)
    pool.submit(done.set)
    until(lambda: "no_thread" in caplog.text)
    threading.Event().wait(0.1)
    assert caplog.text.count("no_thread") == 1, "it is not tried without end"
    go.set()
    assert done.wait(5)
