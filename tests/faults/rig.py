"""A home with real managers, workers that misbehave in it, and looks at what is left of them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Any

import psutil
from sqlalchemy import func, select

from nova.bootstrap import build
from nova.config import load_settings
from nova.errors import NovaError
from nova.fleet.documents import BudgetLimit, Declaration
from nova.ledger.run_records import RunRecord
from nova.ledger.schema import entries, reservations, run_accounts, runs
from nova.money import Money
from workers.control import running_managers, start_background, stop

_AGENT = """\
import os, signal, sys, threading, time
from pathlib import Path
from workers import BaseWorker, RunResult

HOME = Path({home!r})

def tell(name, text=None):
    "One line more in a file of the test's, whole or not at all."
    fd = os.open(HOME / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, b"%s\\n" % str(os.getpid() if text is None else text).encode())
    os.close(fd)

class Agent(BaseWorker):
    def run(self, ctx):
"""


def until(condition: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
    """Polls with a deadline, and gives back what was found."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        threading.Event().wait(0.02)
    return value


def usd(text: str) -> Money:
    return Money.parse(text, "USD")


def lives(pid: int) -> bool:
    """Also false for a zombie: it runs nothing any more."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


class Rig:
    """Declares, starts and strikes; every process that it knows of is gone when it closes."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.settings = load_settings()
        self.nova = build(self.settings)
        self.fleet, self.ledger = self.nova.fleet, self.nova.ledger
        (home / "agents").mkdir()

    def python(self, name: str, body: str, **terms: Any) -> None:
        """A worker whose `run(self, ctx)` is `body`; `tell(file, text)` leaves word in the home."""
        path = self.home / "agents" / f"{name}.py"
        lines = dedent(body).strip().splitlines()
        path.write_text(_AGENT.format(home=str(self.home)) + "".join(f"        {line}\n" for line in lines))
        self._deploy(name, "python", {"target": f"{path}:Agent"}, terms)

    def shell(self, name: str, command: str, **terms: Any) -> None:
        self._deploy(name, "shell", {"command": dedent(command).strip()}, terms)

    def _deploy(self, name: str, agent: str, config: dict[str, Any], terms: dict[str, Any]) -> None:
        budget = tuple(BudgetLimit(per, usd(limit)) for per, limit in terms.pop("budget", {}).items())
        values = {"department": "d", "every_s": 3600.0, "config": config, "budget": budget, **terms}
        self.fleet.deploy(Declaration(name, values.pop("department"), agent, **values))

    def start(self, department: str = "", **environ: str) -> int:
        """A real manager's process id."""
        return start_background(self.settings, department, environ={**os.environ, **environ})

    def stop(self, within_s: float = 10.0) -> tuple[int, ...]:
        """Stops every manager; those that had to be killed."""
        return stop(self.settings, within_s).killed

    def kill(self, pid: int) -> None:
        """A manager, at once and without a word."""
        os.kill(pid, signal.SIGKILL)
        until(lambda: not lives(pid), "it is dead")

    def managers(self) -> list[int]:
        return [info.pid for info in running_managers(self.settings)]

    def manager_ids(self) -> dict[int, str]:
        """By process id."""
        return {info.pid: info.id for info in running_managers(self.settings)}

    def lines(self, name: str) -> list[str]:
        """What workers have left word of in the file."""
        path = self.home / name
        return path.read_text().splitlines() if path.exists() else []

    def pids(self, name: str, count: int = 1) -> list[int]:
        """The process ids in the file, once there are so many."""
        until(lambda: len(self.lines(name)) >= count, f"{count} lines in {name}")
        return [int(line) for line in self.lines(name)]

    def runs(self, worker: str) -> list[RunRecord]:
        """Those that have ended, the last first."""
        return [run for run in self.ledger.runs.recent(worker, 1000) if run.ended_at is not None]

    def ended(self, worker: str, count: int = 1, seconds: float = 20.0) -> RunRecord:
        """The last of so many runs that have ended."""
        found: RunRecord = until(
            lambda: len(mine := self.runs(worker)) >= count and mine[0], f"{count} runs of {worker} have ended", seconds
        )
        return found

    def state(self, worker: str) -> str:
        return self.fleet.get(worker).state

    def booked(self, worker: str, side: str) -> Money:
        """What the ledger's entries of a worker add up to; `side` is revenue or cost."""
        query = select(func.sum(entries.c.booked_micros)).where(entries.c.worker == worker, entries.c.side == side)
        with self.ledger.read() as conn:
            return Money(conn.execute(query).scalar() or 0, "USD")

    def log(self, worker: str) -> str:
        path = self.settings.logs_dir / "workers" / f"{worker}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def manager_log(self) -> str:
        return (self.settings.logs_dir / "manager.log").read_text(errors="replace")

    def bystander(self, **terms: Any) -> None:
        """A worker that does nothing wrong; `still_works` says whether the fault of another holds it up."""
        self.shell("bystander", "true", every_s=0.1, **terms)

    def still_works(self, times: int = 3) -> None:
        before = self.succeeded("bystander")
        until(lambda: self.succeeded("bystander") >= before + times, "the others go on")

    def paced(self, every_s: float, *workers: str) -> None:
        """Runs of each of them begin as often as declared: neither a standstill nor a flood, on a busy machine too."""
        began = time.monotonic()
        before = {worker: self.succeeded(worker) for worker in workers}
        threading.Event().wait(4 * every_s)
        until(lambda: all(self.succeeded(one) >= count + 2 for one, count in before.items()), "they run on", 15)
        most = (time.monotonic() - began) / every_s + 2
        counts = {worker: self.succeeded(worker) - count for worker, count in before.items()}
        assert all(count <= most for count in counts.values()), f"{counts} instead of at most {most:.0f}"

    def succeeded(self, worker: str) -> int:
        totals = self.ledger.runs.totals().get(worker)
        return totals.succeeded if totals else 0

    def check(self, *, one_time: bool = True) -> None:
        """What holds after every fault, once all managers have stopped. `one_time`: no instant came twice."""
        verified = self.ledger.verify()
        assert verified.ok, verified.first_bad
        with self.ledger.read() as conn:
            recorded = conn.execute(select(runs)).all()
            assert conn.execute(select(run_accounts)).all() == []
            assert conn.execute(select(reservations).where(reservations.c.settled_micros.is_(None))).all() == []
        assert [row.id for row in recorded if row.ended_us is None] == []
        by_instance: dict[str, list[Any]] = {}
        for row in sorted(recorded, key=lambda row: row.started_us):
            by_instance.setdefault(row.instance, []).append(row)
        for instance, mine in by_instance.items() if one_time else ():
            for earlier, later in pairwise(mine):
                assert earlier.ended_us <= later.started_us + 1, f"{instance} ran twice at once"

    def close(self) -> None:
        for pid in self.managers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        with suppress(NovaError):
            self.stop(5.0)
        self.nova.close()


def marked(home: Path) -> list[int]:
    """The commands that carry a run of this home in their environment, whatever they are by now."""
    found = []
    for process in psutil.process_iter():
        try:
            environ = process.environ()
            mine = "NOVA_RUN" in environ and environ.get("NOVA_HOME") == str(home)
            if mine and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


def below(pid: int) -> list[psutil.Process]:
    """Everything that descends from a process, zombies too."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def reaped(pid: int) -> None:
    """Nothing that descends from it stays a zombie; one that has just ended is one for a moment."""
    known = {child.pid for child in below(pid) if _is_zombie(child)}
    until(lambda: not [child for child in below(pid) if child.pid in known and _is_zombie(child)], "it is reaped", 5)


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
