"""Who manages what: locks that die with their process, in NOVA_HOME/run."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nova.errors import LockHeld

_NAME = re.compile(r"manager(?:-(?P<department>.+))?\.lock")


@dataclass(frozen=True, slots=True)
class ManagerInfo:
    """What a manager says of itself beside its lock. `department` is '' for all; `started_at` is ISO 8601."""

    pid: int
    id: str
    started_at: str
    department: str


class ProcessLock:
    """An advisory lock on a file, held until released or until the process is gone, however it goes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    @property
    def held(self) -> bool:
        return self._fd >= 0

    def acquire(self) -> bool:
        """False when another process holds it."""
        if self._fd >= 0:
            return True
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._fd = fd
        return True

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def is_held(path: Path) -> bool:
    """Whether some process holds the lock now."""
    if not path.exists():
        return False
    probe = ProcessLock(path)
    if not probe.acquire():
        return True
    probe.release()
    return False


class ManagerLock:
    """One manager per NOVA_HOME and department filter. The file beside it says who holds it."""

    def __init__(self, run_dir: Path, department: str = "") -> None:
        name = f"manager-{department}" if department else "manager"
        self._lock = ProcessLock(run_dir / f"{name}.lock")
        self.info_path = run_dir / f"{name}.json"
        self.grace_path = run_dir / f"{name}.grace"
        self._written = False

    @property
    def path(self) -> Path:
        return self._lock.path

    def acquire(self) -> ManagerInfo | None:
        """Returns what the manager before left behind, which is something only if it did not stop cleanly.

        Raises LockHeld while another one lives.
        """
        if not self._lock.acquire():
            holder = read_info(self.info_path)
            who = f" with process id {holder.pid}" if holder else ""
            raise LockHeld(f"a manager is running{who}", hint="stop it with `nova workers stop`")
        return read_info(self.info_path)

    def write(self, info: ManagerInfo) -> None:
        scratch = self.info_path.with_suffix(".new")
        scratch.write_text(json.dumps(asdict(info)))
        scratch.chmod(0o600)
        scratch.replace(self.info_path)
        self._written = True

    def grace(self, default_s: float) -> float:
        """How many seconds whoever asked it to stop gives it."""
        try:
            return max(0.0, float(self.grace_path.read_text()))
        except (OSError, ValueError):
            return default_s

    def release(self) -> None:
        """The file goes first: without it the lock's next holder knows that this one stopped cleanly."""
        if self._written:
            self.grace_path.unlink(missing_ok=True)
            self.info_path.unlink(missing_ok=True)
        self._lock.release()


def read_info(path: Path) -> ManagerInfo | None:
    try:
        body: Any = json.loads(path.read_text())
        return ManagerInfo(int(body["pid"]), str(body["id"]), str(body["started_at"]), str(body["department"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def managers(run_dir: Path) -> Iterator[tuple[ManagerInfo, bool]]:
    """Every manager that left a file here, and whether it lives."""
    for lock in sorted(run_dir.glob("manager*.lock")) if run_dir.is_dir() else []:
        info = read_info(lock.with_suffix(".json"))
        if info is not None and _NAME.fullmatch(lock.name):
            yield info, is_held(lock)


class DepartmentLeases:
    """So that a deployment is run by one manager at a time: whoever runs a department holds its lease."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._leases: dict[str, ProcessLock] = {}

    def hold(self, department: str) -> bool:
        """False while another manager runs it; asking again is cheap."""
        lease = self._leases.get(department)
        if lease is None:
            lease = self._leases[department] = ProcessLock(self._run_dir / f"lease-{department}.lock")
        return lease.held or lease.acquire()

    def release(self) -> None:
        for lease in self._leases.values():
            lease.release()
