"""Workers that do what no worker should: each of them harms itself alone."""

from __future__ import annotations

import os
import signal
import threading

import psutil

from .rig import Rig, lives, until, usd, zombies

MEGABYTE = 1_000_000


def test_a_worker_that_ignores_term_is_killed_and_only_then_reported(rig: Rig) -> None:
    rig.shell(
        "deaf", "trap '' TERM; echo $$ >> deaf; sleep 1000 & echo $! >> deaf; while :; do wait; done", timeout_s=0.5
    )
    rig.bystander()
    manager = rig.start()
    run = rig.ended("deaf")
    assert [pid for pid in rig.pids("deaf", 2) if lives(pid)] == []
    assert (run.status, run.crash) == ("failed", True)
    assert "timed out after 0.5 s" in (run.error or "")
    rig.still_works()
    assert zombies(manager) == []
    assert rig.stop() == ()
    rig.check()


def test_a_frozen_worker_is_killed_at_its_timeout_and_a_woken_one_goes_on(rig: Rig) -> None:
    rig.shell("frozen", "echo $$ >> frozen; sleep 1000", timeout_s=1.0)
    rig.shell("napping", 'echo $$ >> napping; echo \'{"nova":"spend","amount":"0.10"}\'; sleep 0.1; exit 0')
    rig.start()
    frozen, napping = rig.pids("frozen")[0], rig.pids("napping")[0]
    for pid in (frozen, napping):
        os.kill(pid, signal.SIGSTOP)
    threading.Event().wait(0.5)
    os.kill(napping, signal.SIGCONT)
    assert rig.ended("napping").status == "succeeded"
    run = rig.ended("frozen")
    assert not lives(frozen)
    assert "timed out" in (run.error or "")
    assert rig.stop() == ()
    assert rig.booked("napping", "cost") == usd("0.10")
    rig.check()


def test_a_killed_worker_is_told_so_and_replaced(rig: Rig) -> None:
    rig.shell("victim", "echo $$ >> victim; sleep 1000")
    manager = rig.start()
    (first,) = rig.pids("victim")
    os.kill(first, signal.SIGKILL)
    run = rig.ended("victim")
    assert (run.status, run.crash) == ("failed", True)
    assert "killed by signal 9" in (run.error or "")
    assert lives(rig.pids("victim", 2)[1])
    assert zombies(manager) == []
    assert rig.stop() == ()
    rig.check()


def test_a_worker_that_closes_its_pipe_can_still_end_and_earns_nothing_unheard(rig: Rig) -> None:
    rig.shell("mute", "exec >&- 2>&- 3>&-; sleep 0.2; echo closed >> mute; exit 0")
    rig.shell("half", """printf '{"nova":"earn","amount":"9.00","id":"1","no'; exit 0""")
    rig.bystander()
    rig.start()
    assert rig.ended("mute").status == "succeeded"
    assert rig.lines("mute") == ["closed"]
    run = rig.ended("half")
    assert (run.status, run.crash) == ("failed", True)
    assert "not valid JSON" in (run.error or "")
    rig.still_works()
    assert rig.stop() == ()
    assert rig.booked("half", "revenue") == usd("0")
    rig.check()


def test_a_flood_of_output_is_bounded_and_holds_nobody_up(rig: Rig) -> None:
    rig.shell("loud", "yes 'one hundred megabytes each second' | head -c 100000000; exit 0")
    rig.bystander()
    manager = rig.start()
    before = psutil.Process(manager).memory_info().rss
    rig.still_works()
    assert rig.ended("loud", seconds=40).status == "succeeded"
    assert psutil.Process(manager).memory_info().rss - before < 60 * MEGABYTE
    assert rig.stop() == ()
    logs = rig.settings.logs_dir / "workers"
    assert sum(path.stat().st_size for path in logs.glob("loud*")) < 33 * MEGABYTE
    rig.check()


def test_a_worker_that_ends_at_once_for_ever_is_run_no_more_often_than_declared(rig: Rig) -> None:
    rig.shell("hasty", "exit 0", every_s=0.4)
    rig.shell("broken", "exit 1", every_s=0.01)
    manager = rig.start(WORKER_MAX_CRASHES="2")
    until(lambda: rig.state("broken") == "cooling_down", "two crashes are enough")
    began = len(rig.runs("broken"))
    used, before = sum(psutil.Process(manager).cpu_times()[:2]), rig.succeeded("hasty")
    threading.Event().wait(2.0)
    assert 3 <= rig.succeeded("hasty") - before <= 6
    assert sum(psutil.Process(manager).cpu_times()[:2]) - used < 1.0
    assert len(rig.runs("broken")) == began == 2
    assert rig.stop() == ()
    rig.check()
