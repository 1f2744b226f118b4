"""kill -9 of a real manager at random moments while its workers spend and earn."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import select

from nova.bootstrap import Nova, build
from nova.config import load_settings
from nova.fleet.documents import BudgetLimit, Declaration
from nova.ledger.schema import entries, reservations, run_accounts, runs
from nova.money import Money
from workers.control import running_managers, start_background, stop

MOMENTS = 50
BUDGETS = {"py": "5.00", "sh": "5.00", "tight": "0.02"}

# Earns under ids that it counts itself, so that a repetition after a crash meets the same id again.
EARNER = """
from pathlib import Path
from workers import BaseWorker

class Earner(BaseWorker):
    def run(self, ctx):
        for _ in range(3):
            number = ctx.state.get(ctx.instance, 0)
            ctx.spend("0.000300", "step")
            ctx.earn("0.01", f"{ctx.instance}-{number}")
            ctx.state[ctx.instance] = number + 1
            with ctx.spending("0.002") as spending:
                spending.settle("0.0007")
"""

COMMAND = """
sleep 1000 & setsid sleep 1000 &
n=$(cat count.$NOVA_INDEX 2>/dev/null || echo 0)
echo '{"nova":"spend","amount":"0.000300"}'; read -r answer <&$NOVA_REPLY_FD
echo '{"nova":"earn","amount":"0.01","id":"'$NOVA_INDEX-$n'"}'; read -r answer <&$NOVA_REPLY_FD
echo $((n + 1)) > count.$NOVA_INDEX
sleep 0.05
"""


def until(condition: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        threading.Event().wait(0.02)
    return value


def commands_of(home: Path) -> list[int]:
    """The processes that carry a run of this home."""
    found = []
    for process in psutil.process_iter():
        try:
            environ = process.environ()
            if (
                "NOVA_RUN" in environ
                and environ.get("NOVA_HOME") == str(home)
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


def leashes(manager: int) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(manager).children()
        if child.status() != "zombie" and "leash.py" in str(child.cmdline())
    ]


@pytest.fixture
def nova(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nova]:
    monkeypatch.setenv("WORKER_MAX_CRASHES", "1000")
    agents = home / "agents"
    agents.mkdir()
    (agents / "earner.py").write_text(EARNER)
    nova = build(load_settings())
    config = {"target": f"{agents / 'earner.py'}:Earner"}
    budget = {name: (BudgetLimit("day", Money.parse(limit, "USD")),) for name, limit in BUDGETS.items()}
    for declared in (
        Declaration("py", "d", "python", replicas=3, every_s=0.02, config=config, budget=budget["py"]),
        Declaration("tight", "d", "python", replicas=2, every_s=0.02, config=config, budget=budget["tight"]),
        Declaration("sh", "d", "shell", replicas=2, every_s=0.1, config={"command": COMMAND}, budget=budget["sh"]),
    ):
        nova.fleet.deploy(declared)
    yield nova
    stop(nova.settings, 10.0)
    nova.close()


@pytest.mark.slow
@pytest.mark.serial
@pytest.mark.timeout(240)
def test_fifty_deaths_lose_nothing_and_leave_nothing(nova: Nova, home: Path) -> None:
    chance = random.Random(20261121)
    for moment in range(MOMENTS):
        pid = start_background(nova.settings)
        threading.Event().wait(chance.uniform(0.0, 0.5))
        os.kill(pid, signal.SIGKILL)
        until(lambda: not running_managers(nova.settings), "it is dead")
        if moment % 10 == 0:
            until(lambda: not commands_of(home), "the leash has ended every command", 5)
    until(lambda: not commands_of(home), "the leash has ended every command", 5)
    before = nova.ledger.runs.last_starts()
    start_background(nova.settings)
    live = ("py#1", "py#2", "py#3", "sh#1", "sh#2")
    until(lambda: all(nova.ledger.runs.last_starts()[one] > before[one] for one in live), "all instances run again")
    until(lambda: nova.fleet.get("tight").pause_reason == "budget", "the spender is at its budget")
    assert stop(nova.settings, 20.0).killed == ()
    assert not commands_of(home)
    _check(nova)


def _check(nova: Nova) -> None:
    verified = nova.ledger.verify()
    assert verified.ok, verified.first_bad
    with nova.ledger.read() as conn:
        booked = conn.execute(select(entries)).all()
        recorded = conn.execute(select(runs)).all()
        assert conn.execute(select(run_accounts)).all() == []
        assert conn.execute(select(reservations).where(reservations.c.settled_micros.is_(None))).all() == []
    earned = Counter((row.worker, row.id) for row in booked if row.kind == "revenue")
    assert set(earned.values()) == {1}
    for instance in ("py#1", "py#2", "py#3"):  # no number is missing below the highest
        numbers = {int(key.rpartition("-")[2]) for worker, key in earned if key.startswith(f"{instance}-")}
        assert numbers == set(range(max(numbers) + 1))
    for worker, limit in BUDGETS.items():
        spent = sum(row.booked_micros for row in booked if row.kind == "cost" and row.worker == worker)
        assert 0 < spent <= Decimal(limit) * 1_000_000
    assert [row.error for row in recorded if row.status == "failed"] == []
    assert any(row.status == "interrupted" for row in recorded)
    by_instance: dict[str, list[Any]] = {}
    for row in sorted(recorded, key=lambda row: row.started_us):
        by_instance.setdefault(row.instance, []).append(row)
    for instance, mine in by_instance.items():
        for earlier, later in pairwise(mine):
            assert earlier.ended_us <= later.started_us + 1, f"{instance} ran twice at once"


@pytest.mark.timeout(60)
def test_commands_die_with_a_manager_that_is_killed_and_its_leash_restarts_when_it_is(nova: Nova, home: Path) -> None:
    for name in BUDGETS:
        nova.fleet.kill(name)
    nova.fleet.deploy(
        Declaration("long", "d", "shell", config={"command": "sleep 1000 & setsid sleep 1000 & sleep 1000"})
    )
    pid = start_background(nova.settings)
    until(lambda: len(commands_of(home)) >= 4, "the command and its children run")
    (leash,) = leashes(pid)
    leash.kill()
    until(lambda: [one for one in leashes(pid) if one.pid != leash.pid], "a new leash")
    os.kill(pid, signal.SIGKILL)
    until(lambda: not commands_of(home), "the new leash knows the group", 5)


@pytest.mark.timeout(60)
def test_without_a_leash_the_next_manager_ends_what_is_left(nova: Nova, home: Path) -> None:
    for name in BUDGETS:
        nova.fleet.kill(name)
    nova.fleet.deploy(Declaration("long", "d", "shell", every_s=3600, config={"command": "sleep 1000"}))
    pid = start_background(nova.settings)
    first = set(until(lambda: commands_of(home), "the command runs"))
    for leash in leashes(pid):
        leash.kill()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not running_managers(nova.settings), "it is dead")
    start_background(nova.settings)
    assert not first & set(commands_of(home))
