"""Who manages what: locks that die with their process, in NOVA_HOME/run."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from weakref import WeakSet

from nova.errors import LockHeld, NovaError

_PATIENCE_S = 0.2  # one that is about to end may still hold it
_RETRY_S = 0.01
_LOOKERS_S = 10.0  # those who look whether it is held share it for a moment
_LOOKERS_RETRY_S = 0.001
HANDED = "NOVA_LOCK_FD"  # DESCRIPTOR:PATH of the lock that the image before this one held


@dataclass(frozen=True, slots=True)
class ManagerInfo:
    """What a manager says of itself beside its lock. `department` is '' for all; `started_at` is ISO 8601.

    `unsettled` are managers before it that died and whose runs it is still to put in order. `restarting` says why it
    is about to start again by itself, `restarted_s` when that was last done, in seconds of the monotonic clock.
    """

    pid: int
    id: str
    started_at: str
    department: str
    host: str = ""
    unsettled: tuple[str, ...] = ()
    restarting: str = ""
    restarted_s: float | None = None


class ProcessLock:
    """An advisory lock on a file, held until released or until the process is gone, however it goes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.inherited = False  # from the image before this one
        self._fd = -1
        _locks.add(self)

    @property
    def held(self) -> bool:
        return self._fd >= 0

    def acquire(self) -> bool:
        """False when another process holds it; those who only look are waited for."""
        if self._fd >= 0 or self._adopt():
            return True
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        give_up_at = time.monotonic() + _LOOKERS_S
        while not _taken(fd, fcntl.LOCK_EX):
            if is_held(self.path) or time.monotonic() >= give_up_at:
                os.close(fd)
                return False
            time.sleep(_LOOKERS_RETRY_S)
        self._fd = fd
        return True

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def hand_over(self) -> dict[str, str]:
        """What to add to the environment of the program that this process is about to become, which holds it then."""
        os.set_inheritable(self._fd, True)
        return {HANDED: f"{self._fd}:{self.path}"}

    def _adopt(self) -> bool:
        fd, _, path = os.environ.get(HANDED, "").partition(":")
        if path != str(self.path):
            return False
        del os.environ[HANDED]
        try:
            os.set_inheritable(int(fd), False)
            same = os.path.samestat(os.fstat(int(fd)), self.path.stat())
        except (OSError, ValueError):
            return False
        if same:
            self._fd, self.inherited = int(fd), True
        return same


_locks: WeakSet[ProcessLock] = WeakSet()


def _forget_locks() -> None:
    """What an agent forks shares the descriptors, and would hold the locks beyond the manager's death."""
    for lock in _locks:
        lock.release()


os.register_at_fork(after_in_child=_forget_locks)


def is_held(path: Path) -> bool:
    """Whether some process holds the lock now. Who looks at the same time does not take each other for a holder."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _taken(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _taken(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class ManagerLock:
    """One manager per NOVA_HOME and department filter. The file beside it says who holds it."""

    def __init__(self, run_dir: Path, department: str = "") -> None:
        name = f"manager-{department}" if department else "manager"
        self._lock = ProcessLock(run_dir / f"{name}.lock")
        self.info_path = run_dir / f"{name}.json"
        self.applied_path = run_dir / f"{name}.applied"
        self._grace_path = run_dir / f"{name}.grace"
        self._written = False

    @property
    def path(self) -> Path:
        return self._lock.path

    @property
    def inherited(self) -> bool:
        """Whether this process held it already before it became what it is."""
        return self._lock.inherited

    def acquire(self) -> ManagerInfo | None:
        """Returns what the manager before left behind, which is something only if it did not stop cleanly.

        Raises LockHeld while another one lives.
        """
        give_up_at = time.monotonic() + _PATIENCE_S
        while not self._lock.acquire():
            if time.monotonic() >= give_up_at:
                holder = read_info(self.info_path)
                who = f" with process id {holder.pid}" if holder else ""
                raise LockHeld(f"a manager is running{who}", hint="stop it with `nova workers stop`")
            time.sleep(_RETRY_S)
        self._grace_path.unlink(missing_ok=True)  # what was said to one that died is not meant for this one
        self.applied_path.unlink(missing_ok=True)
        return read_info(self.info_path)

    def write(self, info: ManagerInfo) -> None:
        """Raises NovaError where it cannot be written."""
        _write_info(self.info_path, info)
        self._written = True

    def give(self, grace_s: float) -> None:
        """To be called before it is asked to stop."""
        replace_text(self._grace_path, f"{grace_s:g}")

    def grace(self, default_s: float) -> float:
        """How many seconds whoever asked it to stop gives it."""
        try:
            return max(0.0, float(self._grace_path.read_text()))
        except (OSError, ValueError):
            return default_s

    def release(self) -> None:
        """The file goes first: without it the lock's next holder knows that this one stopped cleanly."""
        if self._written:
            self._grace_path.unlink(missing_ok=True)
            self.applied_path.unlink(missing_ok=True)
            self.info_path.unlink(missing_ok=True)
        self._lock.release()

    def hand_over(self, info: ManagerInfo) -> dict[str, str]:
        """As `ProcessLock.hand_over`; `info`, where it can be written, says what goes on: also to the one to come."""
        with suppress(NovaError):
            self.write(info)
        self.applied_path.unlink(missing_ok=True)
        return self._lock.hand_over()


class ForegroundLock:
    """One run in a terminal per deployment. The file beside it says who it is; it stays until the next one, so that a
    run that was killed is known for dead.
    """

    def __init__(self, run_dir: Path, worker: str) -> None:
        self._lock = ProcessLock(run_dir / f"run-{worker}.lock")
        self._info_path = run_dir / f"run-{worker}.json"

    def acquire(self, info: ManagerInfo) -> bool:
        """False when there is another one. Raises NovaError where it cannot be written whose it is."""
        if not self._lock.acquire():
            return False
        try:
            _write_info(self._info_path, info)
        except NovaError:
            self._lock.release()
            raise
        return True

    def release(self) -> None:
        """To be called when its end is recorded."""
        self._info_path.unlink(missing_ok=True)
        self._lock.release()


def _write_info(path: Path, info: ManagerInfo) -> None:
    try:
        replace_text(path, json.dumps(asdict(info)))
    except OSError as problem:
        hint = "free some space or mend the permissions"
        raise NovaError(f"{path} cannot be written: {problem.strerror}", hint=hint) from problem


def replace_text(path: Path, text: str) -> None:
    """Whole or not at all, as others read it; not durable: these files mean nothing once the machine went down."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        scratch.replace(path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def read_info(path: Path) -> ManagerInfo | None:
    try:
        body: Any = json.loads(path.read_text())
        return ManagerInfo(
            int(body["pid"]), str(body["id"]), str(body["started_at"]), str(body["department"]),
            str(body.get("host", "")), tuple(map(str, body.get("unsettled", ()))), str(body.get("restarting", "")),
            None if body.get("restarted_s") is None else float(body["restarted_s"]),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return None


def managers(run_dir: Path) -> Iterator[tuple[ManagerInfo, bool]]:
    """Every manager that left a file here, and whether it lives."""
    yield from _left(run_dir, "manager*.lock")


def foreground_runs(run_dir: Path, worker: str = "*") -> Iterator[tuple[ManagerInfo, bool]]:
    """Every run in a terminal that left a file here, and whether it lives."""
    yield from _left(run_dir, f"run-{worker}.lock")


def _left(run_dir: Path, pattern: str) -> Iterator[tuple[ManagerInfo, bool]]:
    for lock in sorted(run_dir.glob(pattern)) if run_dir.is_dir() else []:
        info = read_info(lock.with_suffix(".json"))
        if info is not None:  # looked at afterwards: so nobody who lives is taken for dead
            yield info, is_held(lock)
