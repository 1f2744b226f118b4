"""What is done to nova in the soak, at random: each fault strikes and comes back at once, or undoes itself later."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from soak_cast import MOVED, STEADY, TIGHT, traders

from nova.bootstrap import Nova
from nova.errors import LockHeld, NovaError, Unreachable
from workers.control import running_managers, start_background, stop

NOVA = Path(sys.executable).with_name("nova")
DEPARTMENTS = (STEADY, MOVED, "")  # one manager each; the last may run whatever the others do not
STRUCK = (MOVED, "")  # who is killed and frozen; the other's memory is watched
_STARTS = 5
_EXITS = {0, 1, 3, 4, 69, 75}


@dataclass
class Strikes:
    """`later` is what is still to be undone: when, and how."""

    nova: Nova
    chance: random.Random
    longest_lock_s: float
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    limit: float = 0.05
    _threads: list[threading.Thread] = field(default_factory=list)
    _raising: threading.Lock = field(default_factory=threading.Lock)

    def strike(self) -> None:
        acts, weights = zip(*self._faults(), strict=True)
        act = self.chance.choices(acts, weights)[0]
        self.counts[act.__name__] += 1
        with suppress(psutil.Error, ProcessLookupError, PermissionError):
            act()

    def _faults(self) -> list[tuple[Callable[[], None], int]]:
        return [
            (self.kill_manager, 4),
            (self.freeze_manager, 3),
            (self.restart_manager, 1),
            (self.kill_worker, 8),
            (self.freeze_worker, 4),
            (self.kill_guard, 3),
            (self.lock_ledger, 2),
            (self.command, 10),
            (self.raise_budget, 4),
        ]

    def undo(self, *, everything: bool = False) -> None:
        """What is due, or all of it."""
        now = time.monotonic()
        due = [one for one in self.later if everything or one[0] <= now]
        self.later = [one for one in self.later if one not in due]
        for _, act in due:
            with suppress(ProcessLookupError):
                act()

    def settle(self) -> None:
        """Nothing is frozen, locked or under way any more, and every manager is up."""
        self.undo(everything=True)
        for thread in self._threads:
            thread.join(120)
        for department in DEPARTMENTS:
            self.ensure(department)

    def ensure(self, department: str) -> None:
        """Again and again while the ledger is locked: that it says so and does not start is right."""
        for left in reversed(range(_STARTS)):
            try:
                start_background(self.nova.settings, department, timeout_s=90)
            except LockHeld:
                return
            except NovaError as problem:
                if left and problem.exit_code == Unreachable.exit_code:
                    continue
                self.problems.append(f"a manager did not start: {problem.message}")
            return

    def kill_manager(self) -> None:
        """Another one comes at once, or takes over for a while."""
        department = self.chance.choice(STRUCK)
        os.kill(self._manager(department), signal.SIGKILL)
        self._after(self.chance.choice([0.0, 2.0, 15.0]), lambda: self.ensure(department))

    def freeze_manager(self) -> None:
        pid = self._manager(self.chance.choice(STRUCK))
        os.kill(pid, signal.SIGSTOP)
        self._after(self.chance.choice([0.5, 3.0, 9.0, 20.0]), lambda: os.kill(pid, signal.SIGCONT))

    def restart_manager(self) -> None:
        department = self.chance.choice(STRUCK)
        pid = self._manager(department)

        def restart() -> None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
            stop(self.nova.settings, 30.0, department or "all")
            self.ensure(department)

        self._beside(restart)

    def kill_worker(self) -> None:
        self._worker().kill()

    def freeze_worker(self) -> None:
        worker = self._worker()
        worker.suspend()
        self._after(self.chance.uniform(0.1, 3.0), lambda: suppressed(worker.resume))

    def kill_guard(self) -> None:
        """What guards workers: the leash, the fork server, a warden."""
        guards = [one for one in self._below() if any(part in " ".join(one.cmdline()) for part in ("leash", "nursery"))]
        if guards:
            self.chance.choice(guards).kill()

    def lock_ledger(self) -> None:
        seconds = self.chance.choice([0.5, 3.0, self.longest_lock_s])

        def lock() -> None:
            with closing(sqlite3.connect(self.nova.settings.ledger_path, isolation_level=None, timeout=20)) as other:
                other.execute("BEGIN IMMEDIATE")
                time.sleep(seconds)
                other.execute("ROLLBACK")

        self._beside(lambda: suppressed(lock))

    def command(self) -> None:
        name = self.chance.choice([name for name, *_ in traders()])
        commands = (
            ["workers", "status", "--json"],
            ["workers", "health", "--json"],
            ["workers", "logs", name, "-n", "3"],
            ["workers", "pause", name],
            ["workers", "scale", name, "--replicas", str(self.chance.randint(1, 5))],
            ["workers", "run", name],
            ["ledger", "verify"],
            ["autonomous", "run", "--json"],
        )
        chosen = self.chance.choice(commands)
        self._beside(lambda: self._call(*chosen))
        if "pause" in chosen:
            self._after(3.0, lambda: self._beside(lambda: self._call("workers", "resume", name)))

    def raise_budget(self) -> None:
        """So that those who are at their limit reach it again and again."""
        limit = self.limit = round(self.limit + self.chance.uniform(0.005, 0.05), 6)

        def raise_it() -> None:
            with self._raising:
                if limit == self.limit:
                    self._call("budgets", "set", "department:tight", f"{limit:.6f}/day")
                    for name in TIGHT:
                        self._call("workers", "resume", name)

        self._beside(raise_it)

    def _call(self, *args: str) -> None:
        command = [str(NOVA), *args]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd="/")
        except subprocess.TimeoutExpired:
            self.problems.append(f"{' '.join(args)} took longer than 120 s")
            return
        if done.returncode not in _EXITS or "Traceback" in done.stderr:
            self.problems.append(f"{' '.join(args)}: exit {done.returncode}\n{done.stderr[-2000:]}")

    def _manager(self, department: str) -> int:
        for info in running_managers(self.nova.settings):
            if info.department == department:
                return info.pid
        raise ProcessLookupError

    def _below(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for info in running_managers(self.nova.settings):
            found += psutil.Process(info.pid).children(recursive=True)
        if not found:
            raise ProcessLookupError
        return found

    def _worker(self) -> psutil.Process:
        return self.chance.choice(self._below())

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        self.later.append((time.monotonic() + seconds, act))

    def _beside(self, act: Callable[[], None]) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._threads.append(threading.Thread(target=act, daemon=True))
        self._threads[-1].start()


def suppressed(act: Callable[[], object]) -> None:
    with suppress(psutil.Error, OSError, sqlite3.Error):
        act()
