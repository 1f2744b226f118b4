"""The manager's process: started, signalled, stopped; what runs under it ends with it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from .conftest import Home, until

EARN = """echo '{"nova":"spend","amount":"0.01"}'; echo '{"nova":"earn","amount":"0.05","id":"'$NOVA_RUN'"}'"""


def alive(pid: int) -> bool:
    """Whether it runs: what has ended and was not waited for yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_day_with_a_worker(nova: Home) -> None:
    nova.deploy("tick", EARN, "--every", "1s")
    assert "process id" in nova.run("workers", "start").stdout
    until("two good runs", lambda: nova.worker("tick")["succeeded"] >= 2)
    manager = nova.manager()
    assert manager["running"]
    assert alive(manager["pid"])
    nova.run("workers", "start", code=75)
    nova.run("workers", "scale", "tick", "--replicas", "2")
    until("two instances", lambda: nova.worker("tick")["running"] == 2)
    nova.run("workers", "pause", "--all")
    until("paused", lambda: nova.worker("tick")["running"] == 0)
    nova.run("workers", "resume", "tick")
    until("resumed", lambda: nova.worker("tick")["running"] == 2)
    assert "tick" in nova.run("workers", "status").stdout
    nova.run("workers", "restart")
    assert nova.manager()["pid"] != manager["pid"]
    until("running again", lambda: nova.worker("tick")["running"] == 2)
    assert nova.json("workers", "stop")["killed"] == []
    assert nova.manager()["running"] is False
    assert not alive(manager["pid"])
    assert nova.json("ledger", "verify")["ok"]
    assert nova.json("audit", "verify")["ok"]


def test_sigterm_in_the_middle_of_a_run_in_the_foreground_stops_in_order(nova: Home, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    nova.deploy("long", f"echo $$ > {pid_file}; exec sleep 300", "--every", "1s", "--timeout", "10m")
    manager = nova.start("workers", "start", "--foreground")
    try:
        pid = int(until("the run", lambda: pid_file.exists() and pid_file.read_text().strip()))
        until("the run is recorded", lambda: nova.worker("long")["running"] == 1)
        manager.send_signal(signal.SIGTERM)
        _, said = manager.communicate(timeout=60)
    finally:
        manager.kill()
        manager.wait()
    assert manager.returncode == 0, said
    assert not alive(pid)
    until("recorded", lambda: nova.worker("long")["interrupted"] == 1)
    assert nova.manager()["running"] is False
    assert nova.json("ledger", "verify")["ok"]


def test_a_killed_manager_is_noticed_and_leaves_no_command_behind(nova: Home, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    nova.deploy("long", f"echo $$ > {pid_file}; exec sleep 300", "--every", "1s", "--timeout", "10m")
    nova.run("workers", "start")
    pid = int(until("the run", lambda: pid_file.exists() and pid_file.read_text().strip()))
    os.kill(nova.manager()["pid"], signal.SIGKILL)
    until("the command is gone", lambda: not alive(pid), 10)
    assert nova.manager()["running"] is False
    nova.run("workers", "start")
    until("the orphan is recorded", lambda: nova.worker("long")["interrupted"] == 1)
    nova.run("workers", "stop", "--timeout", "5s")


def test_kill_ends_the_run_before_it_returns(nova: Home, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    nova.deploy("long", f"echo $$ > {pid_file}; exec sleep 300", "--every", "1s", "--timeout", "10m")
    nova.run("workers", "start")
    pid = int(until("the run", lambda: pid_file.exists() and pid_file.read_text().strip()))
    nova.run("workers", "kill", "long", code=2)
    assert alive(pid)
    assert nova.json("workers", "kill", "long", "--yes")["state"] == "killed"
    assert not alive(pid)
    assert nova.worker("long")["running"] == 0


def test_stop_all_pauses_the_fleet_and_stops_the_manager(nova: Home) -> None:
    nova.deploy("one", "true", "--every", "1s")
    nova.run("autonomous", "enable")
    nova.run("workers", "start")
    nova.run("stop", "--all", code=2)
    assert nova.json("stop", "--all", "--yes")["paused"] == ["one"]
    assert nova.manager()["running"] is False
    assert nova.worker("one")["state"] == "paused"
    assert nova.json("autonomous", "status")["enabled"] is False


def test_logs_are_followed_until_interrupted(nova: Home) -> None:
    nova.deploy("talker", "echo run of $NOVA_WORKER", "--every", "1s")
    nova.run("workers", "start")
    until("something is logged", lambda: nova.run("workers", "logs", "talker").stdout)
    following = nova.start("workers", "logs", "talker", "-f", "-n", "1")
    try:
        assert following.stdout is not None
        seen = [following.stdout.readline() for _ in range(3)]
        following.send_signal(signal.SIGINT)
        assert following.wait(timeout=20) == 130
    finally:
        following.kill()
        following.communicate()
    assert all("run of talker" in line for line in seen)


def test_nothing_deployed_is_said(nova: Home) -> None:
    done = nova.run("workers", "start")
    assert "nova deploy" in done.stderr
    assert nova.json("workers", "health")["healthy"] is True
    nova.run("workers", "stop")
    assert nova.json("workers", "stop") == {"stopped": [], "killed": []}


def test_a_manager_of_one_department_leaves_the_others_alone(nova: Home) -> None:
    nova.deploy("one", "true", "--every", "1s")
    nova.run("deploy", "sales", "shell", "--name", "two", "--every", "1s", "--set", "command=true")
    nova.run("workers", "start", "--department", "sales")
    until("two runs", lambda: nova.worker("two")["succeeded"] >= 1)
    assert nova.worker("one")["runs"] == 0
    assert nova.json("workers", "stop", "--department", "sales")["stopped"]
