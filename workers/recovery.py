"""What a manager finds of those before it that did not stop in order: runs to interrupt, commands to end."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from workers.lock import ManagerInfo, foreground_runs, managers
from workers.strays import end_strays

if TYPE_CHECKING:
    from nova.ledger.ledger import Ledger
    from nova.ledger.runs import Recovered

FOREGROUND = "f-"  # begins the id of who runs something in a terminal
_SLACK = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Recovery:
    """`crashed`: the manager that held this very lock before neither stopped in order nor restarted itself."""

    crashed: ManagerInfo | None
    runs: Recovered
    killed: int


def recover(ledger: Ledger, by: str, left: ManagerInfo | None, run_dir: Path) -> Recovery:
    """To be called with the manager's lock held and before anything is started. `left` is what `acquire` returned."""
    dead = _dead(ledger, left, run_dir)
    killed = end_strays(dead)
    found = ledger.runs.recover(dead)
    # One that stopped has freed all but what it could not end, and its process may still be about to go.
    stopped = {record.id for record in ledger.instances.managers.all() if record.stopped_at is not None}
    for manager in dead:
        ledger.instances.forget(manager=manager)
        if manager not in stopped:
            ledger.leases.fence(manager, by, "it was found dead")
            ledger.leases.free(manager)
    return Recovery(left if left is not None and not left.restarting else None, found, killed)


def recover_foreground(ledger: Ledger, by: str, run_dir: Path) -> None:
    """Puts in order what died in somebody's terminal. A manager does it too, where one runs."""
    for manager in _gone(ledger, found_here(run_dir)):
        if manager.startswith(FOREGROUND):
            end_strays({manager})
            ledger.leases.fence(manager, by, "its process is gone")


def found_here(run_dir: Path) -> dict[str, bool]:
    """Of the managers and the runs in terminals that left a file in this home, whether each lives."""
    return {info.id: alive for info, alive in chain(managers(run_dir), foreground_runs(run_dir))}


def _dead(ledger: Ledger, left: ManagerInfo | None, run_dir: Path) -> set[str]:
    here = found_here(run_dir)
    if left is not None:
        here |= dict.fromkeys((left.id, *left.unsettled), False)
    return {manager for manager, alive in here.items() if not alive} | _gone(ledger, here)


def _gone(ledger: Ledger, here: Mapping[str, bool]) -> set[str]:
    """Who is not over and yet dead: by its lock where it left one here, by its process id where it ran on this machine.

    When it was started is not asked: a clock that was set since would make one that lives look like another.
    """
    host = socket.gethostname()
    return {
        record.id
        for record in ledger.instances.managers.all()
        if record.stopped_at is None and record.fenced_by is None
        and not here.get(record.id, record.host != host or lives(record.pid))
    }  # fmt: skip


def lives(pid: int, started_at: datetime | None = None) -> bool:
    """Whether the process is there and runs; with `started_at`, whether it is the one that began by then.

    Where the clock was set forward since, one that lives may be taken for another.
    """
    import psutil

    if pid == os.getpid():  # an image of this process before this one
        return False
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return started_at is None or process.create_time() <= (started_at + _SLACK).timestamp()
    except psutil.Error:
        return False
