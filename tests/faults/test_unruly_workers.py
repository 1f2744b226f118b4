"""Workers that do what no worker should: each of them harms itself alone."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import psutil

from nova.ledger.run_records import RunRecord

from .rig import Rig, lives, reaped, until, usd

MEGABYTE = 1_000_000


def told(rig: Rig, name: str, count: int = 1) -> tuple[str, list[int]]:
    """The first run that has told so many of its processes, and those."""

    def first() -> tuple[str, list[int]] | None:
        by_run: dict[str, list[int]] = {}
        for line in rig.lines(name):
            run, pid = line.split()
            by_run.setdefault(run, []).append(int(pid))
        return next((one for one in by_run.items() if len(one[1]) >= count), None)

    found: tuple[str, list[int]] = until(first, f"{name} runs")
    return found


def end_of(rig: Rig, name: str, run_id: str) -> RunRecord:
    found: RunRecord = until(lambda: next((run for run in rig.runs(name) if run.id == run_id), None), f"{name} ended")
    return found


def test_a_worker_that_ignores_term_is_killed_and_only_then_reported(rig: Rig) -> None:
    deaf = "trap '' TERM; echo $NOVA_RUN $$ >> deaf; sleep 1000 & echo $NOVA_RUN $! >> deaf; while :; do wait; done"
    rig.shell("deaf", deaf, timeout_s=0.5)
    stubborn = """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.fork()
        tell("stubborn", f"{ctx.run_id} {os.getpid()}")
        while True:
            time.sleep(0.1)"""
    rig.python("stubborn", stubborn, runtime="process", timeout_s=0.5)
    rig.bystander()
    manager = rig.start()
    for name in ("deaf", "stubborn"):
        run_id, pids = told(rig, name, 2)
        run = end_of(rig, name, run_id)
        assert not any(map(lives, pids))
        assert (run.status, run.crash) == ("failed", True)
        assert run.error == "timed out after 0.5 s"
    rig.still_works()
    reaped(manager)
    assert rig.stop() == ()
    rig.check()


def freeze(rig: Rig, name: str) -> tuple[str, int]:
    """The first of its runs that can be stopped in its middle: on a busy machine some are over before."""

    def stopped() -> tuple[str, int] | None:
        for line in rig.lines(name)[-1:]:
            run, pid = line.split()
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGSTOP)
                return run, int(pid)
        return None

    found: tuple[str, int] = until(stopped, f"{name} stands still")
    return found


NAPPING = """
tell("napping-process", f"{ctx.run_id} {os.getpid()}")
ctx.spend("0.10", "step")
while not (HOME / "wake").exists():
    time.sleep(0.02)
"""
NAPPING_COMMAND = """
echo $NOVA_RUN $$ >> napping
echo '{"nova":"spend","amount":"0.10"}'
while [ ! -e wake ]; do sleep 0.02; done
"""


def test_a_frozen_worker_is_killed_at_its_timeout_and_a_woken_one_goes_on(rig: Rig) -> None:
    rig.shell("frozen", "echo $NOVA_RUN $$ >> frozen; sleep 1000", timeout_s=2.0)
    sleeping = 'tell("frozen-process", f"{ctx.run_id} {os.getpid()}"); time.sleep(1000)'
    rig.python("frozen-process", sleeping, runtime="process", timeout_s=2.0)
    rig.shell("napping", NAPPING_COMMAND)
    rig.python("napping-process", NAPPING, runtime="process")
    rig.start()
    frozen, napping = ("frozen", "frozen-process"), ("napping", "napping-process")
    asleep = {name: freeze(rig, name) for name in frozen + napping}
    (rig.home / "wake").touch()
    for name in napping:
        os.kill(asleep[name][1], signal.SIGCONT)
        assert rig.ended(name).status == "succeeded"
    for name in frozen:
        run_id, pid = asleep[name]
        run = end_of(rig, name, run_id)
        assert not lives(pid)
        assert "timed out" in (run.error or "")
    assert rig.stop() == ()
    assert [rig.booked(name, "cost") for name in napping] == [usd("0.10"), usd("0.10")]
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
    reaped(manager)
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
    rig.python("loud-process", 'for _ in range(200): print("x" * 59_999)', runtime="process")
    rig.bystander()
    manager = rig.start()
    before = psutil.Process(manager).memory_info().rss
    rig.still_works()
    for name in ("loud", "loud-process"):
        assert rig.ended(name, seconds=40).status == "succeeded"
    assert psutil.Process(manager).memory_info().rss - before < 60 * MEGABYTE
    assert rig.stop() == ()
    for name in ("loud", "loud-process"):
        logs = (rig.settings.logs_dir / "workers").glob(f"{name}.*")
        assert sum(path.stat().st_size for path in logs) < 33 * MEGABYTE
    rig.check()


def test_a_daemon_that_a_worker_forks_ends_with_it(rig: Rig) -> None:
    rig.shell("brief", "setsid sleep 1000 & echo $! >> brief; exit 0")
    rig.shell("orphaned", "(setsid sh -c 'echo $$ >> orphaned; sleep 1000' &) ; sleep 0.3; exit 1")
    family = """
        pid = os.fork()
        if pid == 0:
            os.setsid()
            if os.fork() == 0:
                tell("forker")
                time.sleep(1000)
            os._exit(0)
        os.waitpid(pid, 0)"""
    rig.python("forker", family, runtime="process")
    manager = rig.start()
    for name in ("brief", "orphaned", "forker"):
        rig.ended(name)
    for name in ("brief", "orphaned"):
        until(lambda name=name: not lives(rig.pids(name)[0]), f"the daemon of {name} has ended", 3)
    rig.fleet.kill("forker")
    until(lambda: not lives(rig.pids("forker")[0]), "the daemon has ended with its worker", 5)
    reaped(manager)
    assert rig.stop() == ()
    rig.check()


def test_a_worker_that_ends_at_once_for_ever_is_run_no_more_often_than_declared(rig: Rig) -> None:
    rig.shell("hasty", "exit 0", every_s=0.4)
    rig.shell("broken", "exit 1", every_s=0.01)
    rig.python("abrupt", "os._exit(0)", runtime="process", every_s=0.01)
    manager = rig.start(WORKER_MAX_CRASHES="2")
    for name in ("broken", "abrupt"):
        until(lambda name=name: rig.state(name) == "cooling_down", "two crashes are enough")
    assert "exit code 0" in (rig.ended("abrupt").error or "")
    used = sum(psutil.Process(manager).cpu_times()[:2])
    rig.paced(0.4, "hasty")
    assert sum(psutil.Process(manager).cpu_times()[:2]) - used < 0.8
    assert len(rig.runs("broken")) == len(rig.runs("abrupt")) == 2
    assert rig.stop() == ()
    rig.check()
