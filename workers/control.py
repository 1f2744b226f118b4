"""Starting and stopping managers from outside: what `nova workers start|stop|restart` does."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nova.errors import LockHeld, NovaError, Refused
from nova.fleet.documents import valid_name
from workers.lock import ManagerInfo, ManagerLock, is_held, managers, read_info

if TYPE_CHECKING:
    from nova.config import Settings

OUTPUT = "manager.out"
_START_S = 30.0
_LOOK_S = 0.02
_DEATH_S = 5.0  # a killed process needs at most
_OWN = ("NOVA_MANAGER", "NOVA_RUN", "NOVA_WORKER", "NOVA_INDEX", "NOVA_REPLICAS", "NOVA_REPLY_FD")


class ManagerFailed(NovaError):
    """The manager did not start."""


class _Told(NovaError):
    """What a manager said when it could not start, with its own exit code."""

    def __init__(self, code: int, message: str, hint: str | None) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = code  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class Stopped:
    """The process ids of managers that ended in order, and of those that had to be killed."""

    stopped: tuple[int, ...]
    killed: tuple[int, ...]


def managed_department(settings: Settings, asked: str = "") -> str:
    """What a manager is to run, '' for all: what was asked for, or else WORKER_DEPARTMENT. Raises UsageProblem."""
    department = asked or settings.worker_department
    return "" if department == "all" else valid_name(department, "department")


def running_managers(settings: Settings) -> list[ManagerInfo]:
    """The managers of this NOVA_HOME that live, by department."""
    return [info for info, alive in managers(settings.run_dir) if alive]


def start_background(
    settings: Settings,
    department: str = "",
    with_autonomous: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    timeout_s: float = _START_S,
) -> int:
    """Starts a manager detached from this terminal and returns its process id once it is up.

    Raises LockHeld when there is one, and otherwise what the manager itself says, with its exit code.
    """
    department = managed_department(settings, department)
    if is_held(ManagerLock(settings.run_dir, department).path):
        holder = next((info for info in running_managers(settings) if info.department == department), None)
        who = f" with process id {holder.pid}" if holder else ""
        raise LockHeld(f"a manager is running already{who}", hint="stop it with `nova workers stop`")
    command = [sys.executable, "-P", "-m", "nova.daemon"]  # nothing is imported from the working directory
    command += ["--department", department or "all"]
    command += ["--with-autonomous", with_autonomous] if with_autonomous else []
    environment = dict(os.environ if environ is None else environ)
    for name in _OWN:  # a worker's command may restart its manager
        environment.pop(name, None)
    environment["NOVA_HOME"] = str(settings.nova_home)
    read, write = os.pipe()
    try:
        with _Output(settings.logs_dir / OUTPUT) as output:
            process = subprocess.Popen(
                [*command, "--ready-fd", str(write)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                pass_fds=(write,),
                start_new_session=True,
            )
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(write)
    try:
        return _answer(process, read, timeout_s, settings)
    finally:
        os.close(read)


def stop(settings: Settings, timeout_s: float = 30.0, department: str | None = None) -> Stopped:
    """Stops the manager that `start` with this department starts, or (None) every one of this home; returns when they
    are gone.

    Who is not gone in time is killed; its commands end with it, its runs are interrupted by the next start. Raises
    Refused where one runs on another host: a process id means nothing here.
    """
    deadline = time.monotonic() + timeout_s
    if department is not None:
        department = managed_department(settings, department)
    chosen = [info for info in running_managers(settings) if department is None or info.department == department]
    for info in chosen:
        if info.host not in ("", socket.gethostname()):
            raise Refused(f"the manager with process id {info.pid} runs on {info.host}", hint="stop it there")
    for info in chosen:
        _ask(settings, info, timeout_s)
    stopped, killed = [], []
    for info in chosen:
        if _gone(settings, info, deadline):
            stopped.append(info.pid)
            continue
        _signal(info.pid, signal.SIGKILL)
        if not _gone(settings, info, time.monotonic() + _DEATH_S):
            raise NovaError(f"the manager with process id {info.pid} cannot be killed")
        killed.append(info.pid)
    return Stopped(tuple(stopped), tuple(killed))


def _ask(settings: Settings, info: ManagerInfo, timeout_s: float) -> None:
    """It gets most of the time for what runs, and the rest to put things in order."""
    with suppress(OSError):  # on a full disk it takes what it gives by itself
        ManagerLock(settings.run_dir, info.department).give(max(0.0, timeout_s - max(2.0, timeout_s * 0.2)))
    _signal(info.pid, signal.SIGTERM)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _gone(settings: Settings, info: ManagerInfo, deadline: float) -> bool:
    """It has let its lock go, or another manager has it by now; and its process has ended."""
    lock = ManagerLock(settings.run_dir, info.department)
    while (is_held(lock.path) and _holds(lock, info)) or _runs(info.pid):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_S)
    return True


def _holds(lock: ManagerLock, info: ManagerInfo) -> bool:
    holder = read_info(lock.info_path)
    return holder is None or holder.id == info.id


def _runs(pid: int) -> bool:
    """False also for one that ended and whose parent has not looked after it yet."""
    import psutil

    if pid == os.getpid():
        return False
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class _Output:
    """What is written past a manager's log: where the interpreter itself fails, or by a process an agent starts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _answer(process: subprocess.Popen[bytes], read: int, timeout_s: float, settings: Settings) -> int:
    told = b""
    deadline = time.monotonic() + timeout_s
    poll = select.poll()
    poll.register(read, select.POLLIN)
    while not told.endswith(b"\n"):
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            process.kill()
            process.wait()
            raise ManagerFailed(
                f"the manager was not up within {timeout_s:g} s", hint=f"see {settings.logs_dir}/manager.log"
            )
        data = os.read(read, 65_536)
        if not data:
            code = process.wait()
            tail = (settings.logs_dir / OUTPUT).read_text(errors="replace")[-1500:].strip()
            raise ManagerFailed(
                f"the manager ended with exit code {code} before it was up" + (f":\n{tail}" if tail else "")
            )
        told += data
    body = json.loads(told)
    if "error" in body:
        process.wait()
        error = body["error"]
        if error["code"] == LockHeld.exit_code:
            raise LockHeld(error["message"], hint=error["hint"])
        raise _Told(error["code"], error["message"], error["hint"])
    process.returncode = 0  # it is not ours to wait for any more
    return int(body["pid"])
