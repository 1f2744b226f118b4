"""Two hundred threads in four processes against one budget, and what is left when one of them is killed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select

import nova
from nova.clock import SystemClock
from nova.ledger.budgets import Budgets
from nova.ledger.runs import Runs
from nova.ledger.schema import budget_usage, entries, reservations, run_accounts
from nova.ledger.store import Store

PROCESSES, THREADS = 4, 50
LIMIT = 10_000_000
CHEAPEST = 3_109
SPENDER = str(Path(__file__).with_name("spender.py"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path}/ledger.db", currency="USD", zone=ZoneInfo("UTC"), clock=SystemClock())
    yield opened
    opened.close()


def start(store: Store, name: str) -> subprocess.Popen[str]:
    """A process that is ready to spend, and waits for its word."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", SPENDER, f"sqlite:///{store.path}", name, str(THREADS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(Path(nova.__file__).parents[1])},
    )
    assert answer(process) == "ready"
    return process


def go(process: subprocess.Popen[str], rounds: int = 1) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n" * rounds)
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def booked(store: Store) -> int:
    """The sum of all cost entries; nothing is left open beside them."""
    with store.read() as conn:
        assert conn.execute(select(reservations)).all() == [] == conn.execute(select(run_accounts)).all()
        assert conn.execute(select(budget_usage).where(budget_usage.c.window == "run")).all() == []
        return int(conn.execute(select(func.sum(entries.c.booked_micros))).scalar_one())


@pytest.mark.timeout(120)
def test_two_hundred_threads_in_four_processes_never_overshoot(store: Store) -> None:
    spenders = [start(store, f"w{number}") for number in range(PROCESSES)]
    answers = dict.fromkeys(spenders, "paid")
    while spending := [process for process, said in answers.items() if said == "paid"]:
        for process in spending:
            go(process)
        answers |= {process: answer(process) for process in spending}
    for process in spenders:
        process.communicate(timeout=30)
    granted = [int(said) for said in answers.values()]
    assert [process.returncode for process in spenders] == [0] * PROCESSES and all(granted)

    usage = Budgets(store).usage("fleet", "month")
    assert LIMIT - CHEAPEST < usage.spent.micros <= LIMIT and not usage.reserved
    assert usage.spent.micros == sum(granted) == booked(store)
    assert sum(total.succeeded for total in Runs(store).totals().values()) == PROCESSES * THREADS


@pytest.mark.timeout(120)
def test_a_spender_killed_in_the_middle_leaves_what_recovery_books_to_the_millionth(store: Store) -> None:
    budgets, runs = Budgets(store), Runs(store)
    with start(store, "w0") as process:
        go(process, rounds=4)
        deadline = time.monotonic() + 60
        while budgets.usage("fleet", "month").spent.micros < LIMIT // 50:
            assert time.monotonic() < deadline and process.poll() is None
        process.kill()
    before = budgets.usage("fleet", "month")
    found = runs.recover(["w0"])
    assert len(found.runs) == THREADS and found.charged == before.reserved
    after = budgets.usage("fleet", "month")
    assert after.spent == before.spent + before.reserved and not after.reserved
    assert after.spent.micros == booked(store) <= LIMIT
    assert runs.recover(["w0"]).runs == ()
