"""The manager's own process: started, signalled, stopped."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nova.bootstrap import Nova, build
from nova.config import load_settings
from nova.errors import LockHeld, NovaError, UsageProblem
from nova.fleet.documents import Declaration
from workers.control import running_managers, start_background, stop

from .conftest import until

TALKER = """
import sys, threading
from workers import BaseWorker

class Talker(BaseWorker):
    def run(self, ctx):
        print("hello", end=" ")
        print("world")
        print("a problem", file=sys.stderr)
        other = threading.Thread(target=print, args=("from elsewhere",))
        other.start()
        other.join()
        print("last words", end="")
"""


@pytest.fixture
def nova(home: Path) -> Iterator[Nova]:
    nova = build(load_settings())
    yield nova
    stop(nova.settings, 5.0)
    nova.close()


def shell(nova: Nova, name: str, command: str, **more: Any) -> None:
    values: dict[str, Any] = {"every_s": 3600.0, **more}
    nova.fleet.deploy(Declaration(name, "d", "shell", config={"command": command}, **values))


def test_it_is_up_when_start_returns_and_gone_when_stop_does(nova: Nova) -> None:
    shell(nova, "tick", "echo tick", every_s=0.2)
    pid = start_background(nova.settings)
    assert [info.pid for info in running_managers(nova.settings)] == [pid]
    assert os.getsid(pid) == pid
    until(lambda: (totals := nova.ledger.runs.totals().get("tick")) and totals.succeeded >= 3)
    with pytest.raises(LockHeld, match=str(pid)):
        start_background(nova.settings)
    done = stop(nova.settings, 10.0)
    assert (done.stopped, done.killed) == ((pid,), ())
    assert running_managers(nova.settings) == []
    assert stop(nova.settings, 10.0).stopped == ()
    (record,) = nova.ledger.instances.managers.all()
    assert record.stopped_at is not None
    assert nova.ledger.verify().ok


def test_nothing_is_imported_from_where_it_is_started(
    nova: Nova, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "a project"
    for name in ("nova", "workers", "pydantic"):
        (place / name).mkdir(parents=True)
        (place / name / "__init__.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')")
    monkeypatch.chdir(place)
    (home / "agents").mkdir(exist_ok=True)
    (home / "agents" / "mine.py").write_text(TALKER)
    for runtime in ("thread", "process"):
        agent = {"config": {"target": "mine:Talker"}, "runtime": runtime, "every_s": 3600.0}
        nova.fleet.deploy(Declaration(runtime, "d", "python", **agent))
    start_background(nova.settings)
    until(lambda: all((one := nova.ledger.runs.totals().get(name)) and one.succeeded for name in ("thread", "process")))
    assert stop(nova.settings, 10.0).killed == ()
    assert not (tmp_path / "imported").exists()


def test_what_it_writes_is_for_its_owner_only(nova: Nova, home: Path) -> None:
    shell(nova, "tick", "echo tick")
    start_background(nova.settings)
    until((home / "logs" / "workers" / "tick.log").exists)
    stop(nova.settings, 10.0)
    for path in [home, *home.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_manager_that_does_not_stop_in_time_is_killed(nova: Nova, home: Path) -> None:
    shell(nova, "long", "sleep 1000")
    pid = start_background(nova.settings)
    os.kill(pid, signal.SIGSTOP)
    assert stop(nova.settings, 0.3).killed == (pid,)
    start_background(nova.settings)
    assert "manager_started" in (home / "logs" / "manager.log").read_text()


def test_why_it_cannot_start_is_said_with_its_exit_code(nova: Nova, home: Path) -> None:
    environ = {**os.environ, "WORKER_MAX_CRASHES": "many"}
    with pytest.raises(NovaError, match="WORKER_MAX_CRASHES") as refusal:
        start_background(nova.settings, environ=environ)
    assert refusal.value.exit_code == 78
    (home / "ledger.db").write_text("this is no database, but it is long enough to be taken for one" * 100)
    with pytest.raises(NovaError, match="ledger"):
        start_background(nova.settings)


def test_managers_of_departments_run_side_by_side_and_are_stopped_one_by_one(nova: Nova) -> None:
    shell(nova, "a", "true")
    first, second = start_background(nova.settings, "d"), start_background(nova.settings, "other")
    assert {info.department for info in running_managers(nova.settings)} == {"d", "other"}
    assert stop(nova.settings, 10.0, "other").stopped == (second,)
    assert [info.pid for info in running_managers(nova.settings)] == [first]
    until(lambda: nova.ledger.runs.totals().get("a"))


def test_the_department_of_the_settings_is_the_one_that_is_started_and_stopped(
    nova: Nova, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKER_DEPARTMENT", "sales")
    settings = load_settings()
    pid = start_background(settings)
    assert [info.department for info in running_managers(settings)] == ["sales"]
    with pytest.raises(LockHeld):
        start_background(settings)
    other = start_background(settings, "all")
    assert stop(settings, 10.0, "").stopped == (pid,)
    assert stop(settings, 10.0, "all").stopped == (other,)


@pytest.mark.parametrize("department", ["../x", "a b", "a/b"])
def test_a_department_that_could_leave_its_folder_is_refused(nova: Nova, department: str, home: Path) -> None:
    for act in (start_background, lambda settings, name: stop(settings, 1.0, name)):
        with pytest.raises(UsageProblem):
            act(nova.settings, department)
    command = [sys.executable, "-m", "nova.daemon", "--department", department]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "not a valid department" in done.stderr
    assert not list(home.glob("run/*"))


def test_what_an_agent_prints_is_in_its_own_log(nova: Nova, home: Path) -> None:
    agents = home / "agents"
    agents.mkdir()
    (agents / "talker.py").write_text(TALKER)
    config = {"target": f"{agents / 'talker.py'}:Talker"}
    nova.fleet.deploy(Declaration("talker", "d", "python", config=config, every_s=3600.0))
    start_background(nova.settings)
    log = home / "logs" / "workers" / "talker.log"
    until(lambda: log.exists() and "last words" in log.read_text(), "it has printed")
    stop(nova.settings, 10.0)
    printed = [json.loads(line)["message"] for line in log.read_text().splitlines()]
    assert printed == ["hello world", "a problem", "last words"]
    assert (home / "logs" / "manager.out").read_text() == ""
    assert "text=from elsewhere" in (home / "logs" / "manager.log").read_text()


def test_in_the_foreground_a_term_in_the_middle_of_a_run_ends_everything_in_order(nova: Nova, home: Path) -> None:
    shell(nova, "long", "trap 'exit 0' TERM; echo $$ > pid; while :; do sleep 0.05; done")
    command = [sys.executable, "-m", "nova.daemon", "--foreground"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "NOVA_LOG_FORMAT": "json"}
    ) as process:
        pid = int(until(lambda: (home / "pid").exists() and (home / "pid").read_text().strip()))
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=20)
    assert process.returncode == 0
    assert not psutil.pid_exists(pid)
    events = [json.loads(line)["action"] for line in told.splitlines()]
    assert events.index("manager_started") < events.index("manager_stopping") < events.index("manager_stopped")
    assert nova.ledger.runs.recent("long")[0].status == "succeeded"


def test_a_second_signal_does_not_wait(nova: Nova, home: Path) -> None:
    shell(nova, "deaf", "trap '' TERM; echo $$ > pid; while :; do sleep 0.05; done")
    pid = start_background(nova.settings)
    until((home / "pid").exists)
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    until(lambda: running_managers(nova.settings) == [], seconds=6)
    assert nova.ledger.runs.recent("deaf")[0].status == "interrupted"
