"""What processes may take and see: limits, environment, secrets, and output that never ends."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from nova.fleet.terms import Resources

from .conftest import Rig, until

MB = 1024 * 1024


@pytest.mark.parametrize(
    ("body", "limits", "words"),
    [
        ("bytearray(200 * 1024 * 1024)", Resources(memory_bytes=64 * MB), "used more memory than its limit of 64 MB"),
        ("while True: pass", Resources(cpu_s=0.2), "used more processor time than its limit of"),
        ("files = [open('/dev/null') for _ in range(64)]", Resources(open_files=32), "Too many open files"),
        (
            "for _ in range(8): subprocess.Popen(['sleep', '100'], start_new_session=True)\ntime.sleep(60)",
            Resources(processes=4),
            "had more processes than its limit of 4",
        ),
    ],
)
def test_a_limit_ends_the_run_and_is_told_in_words(body: str, limits: Resources, words: str, rig: Rig) -> None:
    rig.sync(rig.process(body, resources=limits))
    run = rig.ended("w")
    assert (run.status, run.crash) == ("failed", True)
    assert words in run.error


def test_a_limit_holds_for_all_that_a_process_started_together(rig: Rig) -> None:
    """Each is below the limit of memory, and they are above it."""
    rig.sync(
        rig.process(
            """
        for _ in range(3):
            if os.fork() == 0:
                taken = b"x" * (40 * 1024 * 1024)
                time.sleep(60)
        time.sleep(60)
        """,
            resources=Resources(memory_bytes=80 * MB),
        )
    )

    def ended() -> Any:
        rig.host.report()
        return rig.runs("w")

    assert "used more memory than its limit of 80 MB" in until(ended)[-1].error


def test_a_fork_bomb_inside_a_limit_is_ended_to_the_last_process(rig: Rig, home: Path) -> None:
    rig.sync(
        rig.process(
            f"""
        import random
        if os.path.exists("{home}/forked"):
            return
        for _ in range(7):  # at most 128 processes, whatever nova does
            if os.fork() == 0 and random.random() < 0.2:
                os.setsid()
            open("{home}/forked", "a").write(f"{{os.getpid()}} ")
            time.sleep(0.1)
        time.sleep(60)
        """,
            resources=Resources(processes=16),
        )
    )
    rig.ended("w")
    assert "had more processes than its limit of 16" in rig.runs("w")[-1].error
    rig.host.kill("w#1")
    rig.want = {}
    until(lambda: not rig.states(), "the instance is gone")
    forked = {int(pid) for pid in (home / "forked").read_text().split()}
    assert [pid for pid in forked if psutil.pid_exists(pid)] == []


def test_a_limit_holds_between_runs_too(rig: Rig) -> None:
    rig.sync(rig.process("subprocess.Popen(['sleep', '100'])", every_s=0.05, resources=Resources(processes=3)))
    until(lambda: "had more processes than its limit of 3, between two runs" in rig.log("w"), "it is told", 20)
    until(lambda: len(rig.runs("w")) > 6, "the next process goes on")


@pytest.mark.parametrize(
    ("command", "limits", "words"),
    [
        ("while :; do :; done", Resources(cpu_s=1), "used more processor time than its limit of 1s"),
        ("ulimit -n; exit 7", Resources(open_files=33), "exit code 7"),
    ],
)
def test_commands_have_the_same_limits(command: str, limits: Resources, words: str, rig: Rig) -> None:
    rig.sync(rig.shell(command, resources=limits))
    assert words in rig.ended().error
    if limits.open_files:
        assert "33" in rig.log()


def test_a_process_sees_what_is_allowed_and_declared_and_no_more(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_secret")
    monkeypatch.setenv("STRIPE_API_BASE", "http://127.0.0.1:1")
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_secret")
    monkeypatch.setenv("MY_SETTING", "7")
    monkeypatch.setenv("OTHER_SETTING", "8")
    body = """
        ctx.state["seen"] = dict(os.environ)
        try:
            ctx.platforms.github
        except Exception as problem:
            ctx.state["github"] = type(problem).__name__
        ctx.state["stripe"] = type(ctx.platforms.stripe).__name__
    """
    rig.sync(rig.process(body, secrets=("STRIPE_API_KEY",), env=("MY_SETTING",)))
    assert rig.ended("w").error is None
    seen = rig.ledger.state.get("w", "seen")
    assert (seen["STRIPE_API_KEY"], seen["STRIPE_API_BASE"]) == ("sk_test_secret", "http://127.0.0.1:1")
    assert (seen["MY_SETTING"], seen["LC_ALL"], seen["PATH"]) == ("7", "C.UTF-8", os.environ["PATH"])
    assert (seen["NOVA_WORKER"], seen["NOVA_INSTANCE"]) == ("w", "w#1")
    assert not {"GITHUB_TOKEN", "OTHER_SETTING"} & seen.keys()
    assert rig.ledger.state.get("w", "stripe") == "Stripe"
    assert rig.ledger.state.get("w", "github") == "PlatformNotConfigured"


def test_the_fork_server_never_holds_a_secret(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET", "unmistakable-4711")
    rig.sync(rig.process("ctx.state['seen'] = os.environ['MY_SECRET']\nctx.sleep(60)", secrets=("MY_SECRET",)))
    until(lambda: rig.ledger.state.get("w", "seen") == "unmistakable-4711")
    assert rig.services.nursery is not None
    server = rig.services.nursery.pid
    assert server is not None
    (warden,) = psutil.Process(server).children()
    for pid in (server, warden.pid):
        assert b"unmistakable-4711" not in memory_of(pid)


def memory_of(pid: int) -> bytes:
    """All that it can write to."""
    found = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights = line.split()[:2]
            if rights.startswith("rw"):
                first, last = (int(end, 16) for end in span.split("-"))
                memory.seek(first)
                try:
                    found.append(memory.read(last - first))
                except OSError:
                    continue
    return b"".join(found)


def test_a_secret_without_a_value_fails_the_run_without_a_crash_and_says_where_to_set_it(rig: Rig) -> None:
    rig.sync(rig.process("pass", secrets=("MY_SECRET",)))
    run = rig.ended("w")
    assert (run.status, run.crash) == ("failed", False)
    assert "no value is set for MY_SECRET" in run.error
    assert "NOVA_HOME/.env" in run.error


def test_a_command_with_the_process_runtime_sees_the_same_list(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET", "s1")
    monkeypatch.setenv("PLAIN", "p1")
    spec = rig.shell("echo secret=$MY_SECRET plain=$PLAIN worker=$NOVA_WORKER", secrets=("MY_SECRET",))
    rig.sync(spec)
    rig.ended()
    assert "secret=s1 plain=p1 worker=sh" in rig.log()
    rig.sync(replace(spec, runtime="process", every_s=0.01))
    rig.ended(count=2)
    until(lambda: "secret=s1 plain= worker=sh" in rig.log())


def test_a_process_that_prints_without_end_is_slowed_and_its_log_stays_bounded(
    rig: Rig, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.instance.GRACE_S", 0.3)
    rig.sync(rig.process("while True: os.write(1, b'x' * 99 + b'\\n' * 1)\n", timeout_s=3600))
    log = home / "logs" / "workers" / "w.log"
    until(log.exists, "the first output")
    began, cpu_s = time.monotonic(), time.process_time()
    until(lambda: time.monotonic() - began > 1.0)
    assert time.process_time() - cpu_s < 0.8
    assert sum(one.stat().st_size for one in log.parent.glob("w.log*")) < 30_000_000
    rig.host.kill("w#1")
    rig.want = {}
    until(lambda: not rig.states(), "it can be ended all the same")


def test_what_a_process_uses_is_seen_while_it_runs_and_while_it_waits(rig: Rig) -> None:
    rig.sync(rig.process("taken = b'x' * 50_000_000\nwhile not ctx.sleep(0.1): sum(range(100_000))"))

    def used() -> bool:
        seen = rig.host.report().states["w#1"]
        return (seen.memory_bytes or 0) > 50_000_000 and seen.cpu_s > 0.05 and (seen.threads or 0) >= 2

    until(used, "its use is seen")
    rig.sync(rig.process("pass", worker="v"))
    rig.ended("v")
    until(lambda: (rig.host.report().states["v#1"].memory_bytes or 0) > 1_000_000, "that of an idle one is seen")
