"""Workers that do what no worker should: each of them harms itself alone."""

from __future__ import annotations

import os
import signal

import psutil

from .rig import Rig, lives, reaped, until, usd

MEGABYTE = 1_000_000


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
        until(lambda name=name: len(rig.lines(name)) >= 2, "it runs")
        started = rig.lines(name)[0].split()[0]
        until(lambda name=name, started=started: started in [run.id for run in rig.runs(name)], "its end is reported")
        assert not any(lives(int(line.split()[1])) for line in rig.lines(name) if line.startswith(started))
        (run,) = [run for run in rig.runs(name) if run.id == started]
        assert (run.status, run.crash) == ("failed", True)
        assert "timed out after 0.5 s" in (run.error or "")
    rig.still_works()
    reaped(manager)
    assert rig.stop() == ()
    rig.check()


NAPPING = """
tell("napping-process")
ctx.spend("0.10", "step")
while not (HOME / "wake").exists():
    time.sleep(0.02)
"""


def test_a_frozen_worker_is_killed_at_its_timeout_and_a_woken_one_goes_on(rig: Rig) -> None:
    rig.shell("frozen", "echo $$ >> frozen; sleep 1000", timeout_s=2.0)
    rig.python("frozen-process", 'tell("frozen-process"); time.sleep(1000)', runtime="process", timeout_s=2.0)
    rig.shell("napping", 'echo $$ >> napping; echo \'{"nova":"spend","amount":"0.10"}\'; sleep 0.3; exit 0')
    rig.python("napping-process", NAPPING, runtime="process")
    rig.start()
    frozen, napping = ("frozen", "frozen-process"), ("napping", "napping-process")
    pids: dict[str, int] = {}
    while missing := [name for name in (*frozen, *napping) if name not in pids]:  # a frozen one's time runs already
        for name in missing:
            if told := rig.lines(name):
                pids[name] = int(told[0])
                os.kill(pids[name], signal.SIGSTOP)
    (rig.home / "wake").touch()
    for name in napping:
        os.kill(pids[name], signal.SIGCONT)
        assert rig.ended(name).status == "succeeded"
    for name in frozen:
        run = rig.ended(name)
        assert not lives(pids[name])
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
