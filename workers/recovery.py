"""What a manager finds of those before it that did not stop in order: runs to interrupt, commands to end."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from workers.lock import ManagerInfo, managers
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


def recover_foreground(ledger: Ledger, by: str) -> None:
    """Puts in order what died in somebody's terminal on this machine. A manager does it too, where one runs."""
    host = socket.gethostname()
    for record in ledger.instances.managers.all():
        over = record.stopped_at is not None or record.fenced_by is not None
        if (
            record.id.startswith(FOREGROUND)
            and not over
            and record.host == host
            and not lives(record.pid, record.started_at)
        ):
            end_strays({record.id})
            ledger.leases.fence(record.id, by, "its process is gone")


def _dead(ledger: Ledger, left: ManagerInfo | None, run_dir: Path) -> set[str]:
    """By lock where the manager was of this home, by process id where it ran on this machine; others are left alone."""
    of_this_home = {info.id: alive for info, alive in managers(run_dir)}
    if left is not None:
        of_this_home |= dict.fromkeys((left.id, *left.unsettled), False)
    dead = {manager for manager, alive in of_this_home.items() if not alive}
    host = socket.gethostname()
    for record in ledger.instances.managers.all():
        over = record.stopped_at is not None or record.fenced_by is not None
        if (
            not over
            and record.id not in of_this_home
            and record.host == host
            and not lives(record.pid, record.started_at)
        ):
            dead.add(record.id)
    return dead


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
