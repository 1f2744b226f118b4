"""Whoever of those that guard processes is killed or stands still: nothing of a worker is left, nothing runs twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nova.bootstrap import Nova, build
from nova.config import load_settings
from nova.fleet.documents import Declaration
from workers.control import running_managers, start_background, stop

from .conftest import until

# Starts a child in its group, one that left it and one whose parent is gone, and tells their numbers.
AGENT = """
import os, subprocess, time
from workers import BaseWorker

class Parent(BaseWorker):
    def run(self, ctx):
        note = f"echo $$ >> {ctx.config['pids']}; sleep 1000"
        subprocess.Popen(["sh", "-c", note])
        subprocess.Popen(["sh", "-c", note], start_new_session=True)
        subprocess.Popen(["sh", "-c", f"(setsid sh -c '{note}' &) &"])
        with open(ctx.config["pids"], "a") as file:
            file.write(f"{os.getpid()}\\n")
        while not ctx.sleep(0.05):
            ctx.spend("0.000001")
"""
EACH = 4  # processes of a run


@pytest.fixture
def nova(home: Path) -> Iterator[Nova]:
    (home / "agents").mkdir()
    (home / "agents" / "parent.py").write_text(AGENT)
    nova = build(load_settings())
    config = {"pids": str(home / "pids")}
    nova.fleet.deploy(Declaration("p", "d", "parent", runtime="process", every_s=0.05, config=config))
    yield nova
    stop(nova.settings, 10.0)
    nova.close()


def noted(home: Path) -> list[int]:
    path = home / "pids"
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def living(pids: list[int]) -> list[int]:
    """Without zombies, which run nothing any more: where every guard was killed, it is for init to reap them."""
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def started(home: Path, count: int = EACH) -> list[int]:
    return until(lambda: len(pids := noted(home)) >= count and pids, f"{count} processes run")  # type: ignore[no-any-return]


def command_of(one: psutil.Process) -> list[str]:
    """A zombie has none."""
    return one.as_dict(["cmdline"], ad_value=[])["cmdline"]  # type: ignore[no-any-return]


def nursery_of(manager: int) -> psutil.Process:
    found = [one for one in psutil.Process(manager).children() if "workers.hosts.nursery" in command_of(one)]
    assert len(found) == 1
    return found[0]


def wardens_of(manager: int) -> list[psutil.Process]:
    return nursery_of(manager).children()


def statuses(nova: Nova) -> list[tuple[str, bool]]:
    return [(run.status, run.crash) for run in nova.ledger.runs.recent("p", 100) if run.ended_at is not None]


def test_a_manager_that_is_killed_leaves_nothing(nova: Nova, home: Path) -> None:
    manager = start_background(nova.settings)
    pids = started(home)
    guards = [nursery_of(manager).pid, *(warden.pid for warden in wardens_of(manager))]
    os.kill(manager, signal.SIGKILL)
    until(lambda: not living(noted(home)), "the worker and all it started are gone", 5)
    until(lambda: not living(guards), "those that guarded it are gone too", 5)
    start_background(nova.settings)
    started(home, 2 * EACH)
    assert not living(pids)
    assert statuses(nova) == [("interrupted", False)]
    assert nova.ledger.verify().ok


@pytest.mark.parametrize("whom", ["nursery", "warden", "both", "worker"])
def test_whoever_is_killed_the_run_ends_and_nothing_of_it_is_left(whom: str, nova: Nova, home: Path) -> None:
    manager = start_background(nova.settings)
    pids = started(home)
    victims = {
        "nursery": [nursery_of(manager).pid],
        "warden": [wardens_of(manager)[0].pid],
        "both": [nursery_of(manager).pid, wardens_of(manager)[0].pid],
        "worker": [wardens_of(manager)[0].children()[0].pid],
    }[whom]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    later = started(home, 2 * EACH)
    assert not living(pids)
    assert len(living(later)) == EACH
    assert statuses(nova)[-1] == ("failed", True)
    assert running_managers(nova.settings)


def test_a_manager_that_stands_still_loses_its_processes_and_counts_no_crash(nova: Nova, home: Path) -> None:
    nova.fleet.deploy(
        Declaration("sh", "d", "shell", every_s=0.05, config={"command": f"echo $$ >>{home}/pids; sleep 99"})
    )
    manager = start_background(nova.settings)
    pids = started(home, EACH + 1)
    _two_beats()
    os.kill(manager, signal.SIGSTOP)
    try:
        until(lambda: not living(pids), "its processes are ended in time", 9)
    finally:
        os.kill(manager, signal.SIGCONT)
    started(home, 2 * (EACH + 1))
    first = [nova.ledger.runs.recent(name, 100)[-1] for name in ("p", "sh")]
    assert [(run.status, run.crash) for run in first] == [("interrupted", False)] * 2


def _two_beats() -> None:
    """The guardians count on beats once they have heard one, which comes every second."""
    import threading

    threading.Event().wait(1.5)
