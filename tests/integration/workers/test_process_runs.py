"""Runs in a process of their own: what they may ask for, what they may do, and that nothing of them is ever left."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from nova.fleet.documents import Declaration
from nova.fleet.fleet import Fleet
from nova.ledger.limits import Limit
from nova.money import Money
from workers.hosts.base import BudgetHit, Overspent, RunEnded

from .conftest import Rig, booked, until


def usd(text: str) -> Money:
    return Money.parse(text, "USD")


def lives(pid: int) -> bool:
    return psutil.pid_exists(pid)


def is_dead(one: psutil.Process) -> bool:
    """Whether or not its parent has reaped it by now."""
    try:
        return not one.is_running() or one.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def pids(path: Path) -> list[int]:
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def first_pid(rig: Rig) -> int:
    """Of the first run, however often it was repeated."""
    found: list[int] = until(lambda: pids(Path(rig.services.home) / "pids"), "the agent wrote its process id")
    return found[0]


def wrote_pid(rig: Rig) -> str:
    return f"open('{rig.services.home}/pids', 'a').write(f'{{os.getpid()}} ')\n"


def test_a_run_has_everything_that_one_in_a_thread_has(rig: Rig) -> None:
    rig.sync(
        rig.process("""
        ctx.spend("0.25", "tokens")
        ctx.spent("0.10")
        with ctx.spending("2.00") as spending:
            spending.settle("0.05")
        assert ctx.earn("9.00", "order-17")
        assert not ctx.earn("9.00", "order-17")
        ctx.claim("stripe", "pi_1")
        ctx.state["seen"] = {"n": [1, 2]}
        assert ctx.state["seen"] == {"n": [1, 2]} and list(ctx.state) == ["seen"] and "other" not in ctx.state
        del ctx.state["seen"]
        assert ctx.outbox.put("mail", "1", {"to": "a"})
        for effect in ctx.outbox.due():
            with effect:
                assert effect.payload == {"to": "a"}
        assert ctx.outbox.once("mail", "2", None, lambda effect: effect.idempotency_key)
        assert ctx.suppressed("ann@example.com") is None
        assert ctx.suppress(["Ann@example.com", "ben@example.com"], "bounce") == 2
        assert ctx.suppressed("ann@example.com") == "bounce"
        from nova.errors import UsageProblem
        link = ctx.link("https://shop.example/", "may", channel="mail", to="ann@example.com")
        assert link.startswith("https://go.example/l/") and "ann" not in link
        assert link == ctx.link("https://shop.example/", "may", "mail", to="Ann@example.com")
        try:
            ctx.link("javascript:alert(1)")
        except UsageProblem:
            ctx.state["refused"] = True
        assert (ctx.worker, ctx.instance, ctx.index, ctx.replicas) == ("w", "w#1", 1, 1)
        print("printed")
        ctx.log.warning("logged")
        os.system("echo from a command")
        ctx.state["pid"] = os.getpid()
        """)
    )
    run = rig.ended("w")
    assert (run.status, run.error) == ("succeeded", None)
    assert booked(rig.ledger, "w", "cost") == usd("0.40")
    assert booked(rig.ledger, "w", "revenue") == usd("9.00")
    assert rig.ledger.state.get("w", "pid") != os.getpid() and rig.ledger.state.get("w", "refused")
    for line in ("printed", "WARNING logged", "from a command"):
        until(lambda line=line: line in rig.log("w"), f"{line} is in the log")


def test_an_instance_keeps_its_process_and_its_object_from_run_to_run(rig: Rig, home: Path) -> None:
    rig.sync(
        rig.process(
            f"""
class Agent(BaseWorker):
    def setup(self, ctx):
        self.runs = 0
    def run(self, ctx):
        self.runs += 1
        ctx.state[str(self.runs)] = os.getpid()
    def teardown(self):
        open("{home}/torn_down", "w").close()
""",
            every_s=0.01,
        )
    )
    rig.ended("w", 3)
    state = rig.ledger.state.all("w")
    assert state["1"] == state["2"] == state["3"]
    rig.sync()
    until(lambda: not rig.states(), "the instance is gone")
    assert (home / "torn_down").exists()
    assert not lives(state["1"])


@pytest.mark.parametrize(
    ("body", "status", "crash", "words"),
    [
        ("raise ValueError('no luck')", "failed", True, "ValueError: no luck"),
        ("return RunResult(False, 'nothing to do')", "failed", False, "nothing to do"),
        ("sys.exit(3)", "failed", True, "SystemExit: 3"),
        ("os._exit(3)", "failed", True, "exit code 3"),
        (
            "print('last words'); os.kill(os.getpid(), signal.SIGSEGV)",
            "failed",
            True,
            "SIGSEGV\nlast words",
        ),
        ("ctx.spend('-1')", "failed", True, "negative"),
        ("ctx.state['x'] = object()", "failed", True, "cannot be kept as JSON"),
        ("ctx.earn('1', 'a'); ctx.earn('2', 'a')", "failed", True, "was earned before"),
    ],
)
def test_how_a_run_ends_is_told(body: str, status: str, crash: bool, words: str, rig: Rig) -> None:
    rig.sync(rig.process(body))
    run = rig.ended("w")
    assert (run.status, run.crash) == (status, crash)
    assert words in run.error


def test_a_refused_spending_ends_the_run_whatever_the_agent_does(rig: Rig) -> None:
    rig.sync(
        rig.process(
            """
        try:
            ctx.spend("0.02")
            ctx.spend("0.04")
        except Exception as refused:
            ctx.state["refused"] = type(refused).__name__
        assert ctx.sleep(30)
        """,
            limits=(Limit("worker:w", "day", usd("0.05")),),
        )
    )
    run = rig.ended("w")
    assert (run.status, run.crash) == ("interrupted", False)
    assert booked(rig.ledger, "w", "cost") == usd("0.02")
    assert rig.ledger.state.get("w", "refused") == "BudgetExceeded"
    rig.look()
    assert [fact.kind for fact in rig.facts if isinstance(fact, BudgetHit)] == ["refused"]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"garbage\n", "what is no message"),
        (b'{"call":"settle","n":1,"args":["other:1234",[1,"USD"],""]}\n', "not its run's"),
        (b'{"note":"logged","args":["LOUD","x",{}]}\n', "no known kind"),
        (b'{"done":{"ok":"yes","cpu_s":0}}\n', "whether its run succeeded"),
        (b"x" * 5_000_000, "more than 4000000 bytes"),
        (b'{"half":', "half a message"),
    ],
)
def test_what_is_no_message_fails_the_run_and_ends_the_process(sent: bytes, words: str, rig: Rig) -> None:
    rig.sync(
        rig.process(f"""
        {wrote_pid(rig)}
        import socket, stat
        for fd in range(3, 64):
            try:
                if stat.S_ISSOCK(os.fstat(fd).st_mode):
                    break
            except OSError:
                continue
        end = socket.socket(fileno=fd)
        end.sendall({sent[:100]!r} * {max(1, len(sent) // 100) if len(sent) > 1000 else 1} + {sent[-1:]!r})
        {"os.kill(os.getpid(), signal.SIGKILL)" if words == "half a message" else "time.sleep(60)"}
        """)
    )
    run = rig.ended("w")
    assert (run.status, run.crash) == ("failed", True)
    assert words in run.error
    assert not lives(first_pid(rig))
    assert booked(rig.ledger, "w", "cost") == usd("0")


def test_a_text_that_is_none_and_a_forked_copy_that_ends_the_run_too_harm_nobody(rig: Rig, home: Path) -> None:
    rig.sync(
        rig.process(
            """
        if os.fork() == 0:
            os.setsid()
            open(os.environ["NOVA_HOME"] + "/forked", "a").write(f"{os.getpid()} ")
            return
        ctx.log.info("\\ud800", extra={"\\ud801": "\\ud802"})
        """,
            every_s=0.01,
        )
    )
    rig.ended("w", 3)
    assert {(run.status, run.error) for run in rig.runs("w")} == {("succeeded", None)}
    copies = until(lambda: pids(home / "forked")[:3], "they said who they are")
    until(lambda: all(is_dead(psutil.Process(pid)) for pid in copies if lives(pid)), "the copies have ended")


def test_a_killed_process_is_replaced_at_once(rig: Rig, home: Path) -> None:
    rig.sync(rig.process(wrote_pid(rig) + "time.sleep(60)"))
    first = first_pid(rig)
    os.kill(first, signal.SIGKILL)
    run = rig.ended("w")
    assert (run.status, run.crash) == ("failed", True)
    assert "SIGKILL" in run.error
    assert not lives(first)
    until(lambda: len(pids(home / "pids")) > 1, "another process")


def test_an_idle_process_that_dies_is_replaced_at_the_next_run_and_is_no_crash(rig: Rig) -> None:
    rig.sync(rig.process(wrote_pid(rig)))
    rig.ended("w")
    os.kill(first_pid(rig), signal.SIGKILL)
    until(lambda: "between two runs" in rig.log("w"), "its death is logged")
    rig.sync(rig.process(wrote_pid(rig), every_s=0.01))
    rig.ended("w", 2)
    assert {run.status for run in rig.runs("w")} == {"succeeded"}


def test_nothing_that_a_run_started_outlives_its_process(rig: Rig, home: Path) -> None:
    rig.sync(
        rig.process(f"""
        script = "echo $$ >> {home}/left; sleep 1000"
        subprocess.Popen(["sh", "-c", script])
        subprocess.Popen(["sh", "-c", script], start_new_session=True)
        subprocess.Popen(["sh", "-c", f"(setsid sh -c '{{script}}' &) &"])
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                open("{home}/left", "a").write(f"{{os.getpid()}}\\n")
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                time.sleep(1000)
            os._exit(0)
        while len(open("{home}/left").read().split()) < 4:
            time.sleep(0.01)
        os._exit(0)
        """)
    )
    run = rig.ended("w")
    assert run.status == "failed"
    left = pids(home / "left")[:4]
    assert len(left) == 4
    assert [pid for pid in left if lives(pid)] == []
    assert "left behind" in rig.log("w")


def test_a_run_past_its_timeout_is_asked_and_then_killed_and_is_dead_when_that_is_told(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.instance.GRACE_S", 1.5)
    rig.sync(rig.process(f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{wrote_pid(rig)}\ntime.sleep(60)"))
    pid = first_pid(rig)
    rig.leap(60)

    def told() -> Any:
        rig.look()
        return next((fact for fact in rig.facts if isinstance(fact, RunEnded) and fact.worker == "w"), None)

    ended = until(told, "the run ended")
    assert not lives(pid)
    assert (ended.status, ended.crash, ended.hung) == ("failed", True, False)
    assert "timed out after 60 s" in ended.error


def test_a_run_that_is_asked_to_end_sees_it(rig: Rig) -> None:
    rig.sync(rig.process("print('up', flush=True)\nassert ctx.sleep(60) and ctx.stopping"))
    until(lambda: "up" in rig.log("w"), "the run is up")
    rig.host.stop(5.0)
    assert rig.ended("w").status == "succeeded"


def test_a_killed_instance_is_gone_when_it_has_left_the_report(rig: Rig) -> None:
    rig.sync(rig.process(wrote_pid(rig), every_s=3600))
    rig.ended("w")
    pid = first_pid(rig)
    rig.host.kill("w#1")
    rig.want = {}
    until(lambda: not rig.states(), "the instance left the report")
    assert not lives(pid)


def test_a_stop_ends_busy_and_idle_processes_and_those_that_will_not_go(rig: Rig) -> None:
    stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\nwhile True: time.sleep(60)"
    rig.sync(rig.process(wrote_pid(rig)), rig.process(stubborn, "v"))
    rig.ended("w")
    until(lambda: "up" in rig.log("v"), "the busy one is up")
    assert rig.services.nursery is not None
    server = psutil.Process(rig.services.nursery.pid)
    family = [server, *server.children(recursive=True)]
    assert len(family) == 5  # two workers and their wardens
    rig.host.stop(2.0)
    assert rig.ended("v").error == "the manager stopped"
    assert all(map(is_dead, family[1:]))
    rig.services.nursery.close()
    assert not any(one.is_running() for one in family), "nor is a zombie left"


STOPS_ITS_GUARDS = """
    warden = os.getppid()
    server = int(open(f"/proc/{warden}/stat").read().rpartition(") ")[2].split()[1])
    for guard in (warden, server)[:HOW_MANY]:
        os.kill(guard, signal.SIGSTOP)
"""


@pytest.mark.parametrize("how_many", [1, 2])
def test_a_process_that_stops_those_who_guard_it_is_killed_all_the_same(
    how_many: int, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.hosts.process._OBEY_S", 0.1)
    body = STOPS_ITS_GUARDS.replace("HOW_MANY", str(how_many)) + f"    {wrote_pid(rig)}    time.sleep(60)"
    rig.sync(rig.process(body))
    pid = first_pid(rig)
    rig.leap(60)
    until(lambda: rig.leap(10) or rig.facts)

    def dead() -> bool:
        assert rig.services.nursery is not None
        rig.services.nursery.beat()
        return not lives(pid)

    until(dead, "it is dead")
    assert "timed out after 60 s" in rig.ended("w").error


def test_several_threads_of_an_agent_may_call_at_once(rig: Rig) -> None:
    rig.sync(
        rig.process("""
        def spend():
            for _ in range(20):
                ctx.spend("0.01")
        threads = [threading.Thread(target=spend) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """)
    )
    assert rig.ended("w").status == "succeeded"
    assert booked(rig.ledger, "w", "cost") == usd("1.60")


def test_a_context_that_outlives_its_run_is_refused(rig: Rig) -> None:
    rig.sync(
        rig.process(
            """
class Agent(BaseWorker):
    before = None
    def run(self, ctx):
        if self.before is None:
            self.before = ctx
            return
        try:
            self.before.spend("1")
        except Exception as late:
            ctx.state["late"] = type(late).__name__
""",
            every_s=0.01,
        )
    )
    rig.ended("w", 2)
    assert until(lambda: rig.ledger.state.get("w", "late")) == "LateRun"
    assert booked(rig.ledger, "w", "cost") == usd("0")


def test_sleeping_beating_and_output_are_signs_of_life_in_a_process_too(rig: Rig) -> None:
    rig.sync(
        rig.process(
            """
        ctx.sleep(2.5)
        for _ in range(5):
            ctx.beat()
            time.sleep(0.5)
        for _ in range(5):
            print("on it", flush=True)
            time.sleep(0.5)
        """,
            heartbeat_s=2.0,
        )
    )
    assert rig.ended("w").status == "succeeded"


def test_a_process_without_a_sign_of_life_is_killed(rig: Rig) -> None:
    rig.sync(rig.process(wrote_pid(rig) + "time.sleep(60)", heartbeat_s=1.0))
    run = rig.ended("w")
    assert run.crash and run.error.startswith("gave no sign of life for 1 s")
    until(lambda: not lives(first_pid(rig)), "its death")


def test_a_process_that_overspends_is_stopped_in_the_middle_of_its_run(rig: Rig) -> None:
    normals = rig.services.normals
    assert normals is not None
    fleet = Fleet(Path(rig.services.home) / "fleet.json", rig.services.clock, "USD")
    fleet.deploy(Declaration("w", "d", "w"))
    normals.watch(fleet.snapshot())
    for _ in range(12):
        meter = normals.meter("w", "w#1", rig.services.clock.now())
        meter.took(100_000)
        meter.succeeded(100_000)
    rig.sync(
        rig.process("""
        ctx.spend("0.10")
        for _ in range(1000):
            ctx.spent("0.05")
            time.sleep(0.05)
        """)
    )
    run = rig.ended("w")
    assert run.status == "interrupted" and "more than 3 times the $0.10" in run.error
    assert booked(rig.ledger, "w", "cost") < usd("1.00")
    rig.look()
    (told,) = [fact for fact in rig.facts if isinstance(fact, Overspent)]
    assert told.run == run.id


def test_a_fork_server_that_stands_still_is_replaced(rig: Rig, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.hosts.nursery_client._BIRTH_S", 0.5)
    rig.sync(rig.process(wrote_pid(rig) + "time.sleep(60)"))
    first = first_pid(rig)
    assert rig.services.nursery is not None
    server = psutil.Process(rig.services.nursery.pid)
    server.suspend()
    os.kill(first, signal.SIGKILL)
    until(lambda: len(pids(home / "pids")) > 1, "another process")
    assert not server.is_running()
    assert "does not answer" in rig.runs("w")[0].error


def test_what_the_leash_cannot_take_is_not_left_running(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_group: int) -> None:
        raise OSError("out of file descriptors")

    nursery, leash = rig.services.nursery, rig.services.leash
    assert nursery is not None
    first = nursery.start()
    first.signal(signal.SIGKILL)
    first.channel.close()
    server = psutil.Process(nursery.pid)
    until(lambda: not server.children(), "only the fork server is there")
    monkeypatch.setattr(leash, "add", full)
    with pytest.raises(OSError, match="descriptors"):
        nursery.start()
    until(lambda: not server.children(recursive=True), "it is ended")


def test_processes_are_born_side_by_side(rig: Rig) -> None:
    rig.sync(*[rig.process("ctx.sleep(60)", index=index) for index in range(1, 9)])
    until(lambda: list(rig.states().values()) == ["running"] * 8, "all of them run")
