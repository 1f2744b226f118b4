"""kill -9 of a real manager, at random moments while its workers spend and earn, and of what guards its commands."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from decimal import Decimal

import psutil
import pytest
from sqlalchemy import select

from nova.ledger.schema import entries, runs

from .rig import Rig, marked, until

MOMENTS = 10  # the soak has more of them
BUDGETS = {"py": "5.00", "sh": "5.00", "tight": "0.02"}

# Earns under ids that it counts itself, so that a repetition after a crash meets the same id again.
EARNER = """
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


def leashes(manager: int) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(manager).children()
        if child.status() != "zombie" and "leash.py" in str(child.cmdline())
    ]


@pytest.mark.slow
@pytest.mark.serial
@pytest.mark.timeout(240)
def test_a_manager_killed_again_and_again_loses_nothing_and_leaves_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKER_MAX_CRASHES", "1000")
    rig.python("py", EARNER, replicas=3, every_s=0.02, budget={"day": BUDGETS["py"]})
    rig.python("tight", EARNER, replicas=2, every_s=0.02, budget={"day": BUDGETS["tight"]})
    rig.shell("sh", COMMAND, replicas=2, every_s=0.1, budget={"day": BUDGETS["sh"]})
    chance = random.Random(20261121)
    for moment in range(MOMENTS):
        pid = rig.start()
        threading.Event().wait(chance.uniform(0.0, 0.5))
        os.kill(pid, signal.SIGKILL)
        until(lambda: not rig.managers(), "it is dead")
        if moment % 5 == 0:
            until(lambda: not marked(rig.home), "the leash has ended every command", 5)
    until(lambda: not marked(rig.home), "the leash has ended every command", 5)
    before = rig.ledger.runs.last_starts()
    rig.start()
    live = ("py#1", "py#2", "py#3", "sh#1", "sh#2")
    until(lambda: all(rig.ledger.runs.last_starts()[one] > before[one] for one in live), "all instances run again")
    until(lambda: rig.fleet.get("tight").pause_reason == "budget", "the spender is at its budget")
    assert rig.stop(20.0) == ()
    assert not marked(rig.home)
    rig.check()
    _each_sale_once_and_no_budget_broken(rig)


def _each_sale_once_and_no_budget_broken(rig: Rig) -> None:
    with rig.ledger.read() as conn:
        booked = conn.execute(select(entries)).all()
        recorded = conn.execute(select(runs)).all()
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


@pytest.mark.timeout(60)
def test_commands_die_with_a_manager_that_is_killed_and_its_leash_restarts_when_it_is(rig: Rig) -> None:
    rig.shell("long", "sleep 1000 & setsid sleep 1000 & sleep 1000")
    pid = rig.start()
    until(lambda: len(marked(rig.home)) >= 4, "the command and its children run")
    (leash,) = leashes(pid)
    leash.kill()
    until(lambda: [one for one in leashes(pid) if one.pid != leash.pid], "a new leash")
    os.kill(pid, signal.SIGKILL)
    until(lambda: not marked(rig.home), "the new leash knows the group", 5)


@pytest.mark.timeout(60)
def test_without_a_leash_the_next_manager_ends_what_is_left(rig: Rig) -> None:
    rig.shell("long", "sleep 1000")
    pid = rig.start()
    first = set(until(lambda: marked(rig.home), "the command runs"))
    for leash in leashes(pid):
        leash.kill()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not rig.managers(), "it is dead")
    rig.start()
    assert not first & set(marked(rig.home))
