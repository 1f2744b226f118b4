"""Who was stopped in the middle of writing the ledger: until it goes on, nobody else can write."""

from __future__ import annotations

import os
import signal
from pathlib import Path

_LOCKS = Path("/proc/locks")
_WRITING = 120  # the byte of the file beside a ledger that SQLite locks for a write


def wake_the_writer(ledger: Path) -> int | None:
    """Lets it go on, by SIGCONT, and returns its process id; None where nobody who was stopped holds the lock.

    The file is not opened: closing it would give up the locks that this very process has on it.
    """
    import psutil

    try:
        for pid in _writers(Path(f"{ledger}-shm").stat(), _LOCKS.read_text()):
            if psutil.Process(pid).status() == psutil.STATUS_STOPPED:
                os.kill(pid, signal.SIGCONT)
                return pid
    except (OSError, psutil.Error):  # no Linux, nothing there to be locked, somebody else's process, or just gone
        return None
    return None


def _writers(file: os.stat_result, locks: str) -> list[int]:
    """Of lines such as `1: POSIX  ADVISORY  WRITE 4711 fe:00:3368084 120 120`, where END may be `EOF`."""
    place = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    held = [line.split()[1:] for line in locks.splitlines() if "->" not in line]  # the arrow marks those who wait
    return [
        int(pid)
        for _, _, mode, pid, where, first, last in held
        if mode == "WRITE" and where == place and int(first) <= _WRITING and (last == "EOF" or int(last) >= _WRITING)
    ]
