"""The guardian of one worker's process: it waits for the end, and leaves nothing of what the worker started.

Orders of the manager come on a socket as lines: `s15` sends a signal to the worker's group, `n32 100` limits how many
processes there may be, and has them counted so often, in milliseconds. What it tells there is JSON, a line each:
`worker` once it was forked, `ended` when it died, `gone` when nothing of it is left.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from workers.hosts.descent import (
    adopt_orphans,
    descendants_of,
    die_with_parent,
    end_descendants,
    kill_descendants,
    send_group,
)

_ACKNOWLEDGED_S = 1.0  # within which the manager takes note of a death before the number of the group is given up
_POLL_S = 0.05  # where the end of a child cannot be seen without reaping it


def ward(control: socket.socket, lifeline: int, own: Sequence[int], start: Callable[[], object]) -> NoReturn:
    """In a process of its own. Forks the worker, which calls `start`; ends when nothing of the worker is left.

    The descriptors `own` are the worker's alone, so that their other ends see what it does to them.

    When the manager's end of `control` or of `lifeline` closes, nobody wants the worker any more.
    """
    os.setsid()
    adopt_orphans()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    warden = os.getpid()
    try:
        worker = os.fork()
    except OSError as problem:
        _tell(control, {"failed": f"no process could be started: {problem.strerror}"})
        os._exit(0)
    if worker == 0:
        _become(warden, (woken, wake, lifeline, control.fileno()), start)
    for fd in own:
        os.close(fd)
    _tell(control, {"worker": worker, "warden": warden})
    guard = _Guard(control, lifeline, woken, worker)
    wanted = guard.watch()
    _finish(control, worker, wanted, guard.status)


def _become(warden: int, foreign: tuple[int, ...], start: Callable[[], object]) -> NoReturn:
    code = 1
    try:
        os.setsid()
        die_with_parent(warden)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for fd in foreign:
            os.close(fd)
        start()
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:  # noqa: BLE001 - nothing may return into the code of the warden
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


class _Guard:
    def __init__(self, control: socket.socket, lifeline: int, woken: int, worker: int) -> None:
        self._control = control
        self._lifeline = lifeline
        self._woken = woken
        self._worker = worker
        self._most: int | None = None
        self._count_ms = 0
        self._orders = b""
        self.status = -1  # as waitpid tells it, where the worker had to be reaped to see its end
        self._poll = select.poll()
        for fd in (control.fileno(), lifeline, woken):
            self._poll.register(fd, select.POLLIN)

    def watch(self) -> bool:
        """Until the worker has died, or nobody wants it any more: then False."""
        while not self._died():
            ready = {fd for fd, _ in self._poll.poll(self._timeout_ms())}
            if self._lifeline in ready or (self._control.fileno() in ready and not self._obey()):
                return False
            if self._woken in ready:
                os.read(self._woken, 4096)
            if self._most is not None and len(descendants_of(os.getpid())) > self._most:
                self._most = None
                kill_descendants()
                _tell(self._control, {"over": "processes"})
        return True

    def _timeout_ms(self) -> float | None:
        if self._most is not None:
            return self._count_ms
        return None if hasattr(os, "waitid") else _POLL_S * 1000

    def _died(self) -> bool:
        """Reaps what the worker left to itself, but not the worker: the number of its group stays ours."""
        if not hasattr(os, "waitid"):
            pid, status = os.waitpid(self._worker, os.WNOHANG)
            self.status = status if pid else -1
            return pid != 0
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return True
            if found is None:
                return False
            if found.si_pid == self._worker:
                return True
            os.waitpid(found.si_pid, os.WNOHANG)

    def _obey(self) -> bool:
        """False when the manager is gone."""
        try:
            orders = self._control.recv(4096)
        except OSError:
            return False
        *whole, self._orders = (self._orders + orders).split(b"\n")
        for order in whole:
            if order[:1] == b"n":
                self._most, self._count_ms = map(int, order[1:].split())
            else:
                send_group(self._worker, int(order[1:]))
        return bool(orders)


def _finish(control: socket.socket, worker: int, wanted: bool, status: int) -> NoReturn:
    """Order matters: the number of the group is ours until its leader is reaped, and the manager is to know first."""
    send_group(worker, signal.SIGKILL)
    escaped = len(kill_descendants() - {worker})
    _tell(control, {"ended": True})
    _acknowledged(control)
    cpu_s = 0.0
    try:
        _, status, usage = os.wait4(worker, 0)
        cpu_s = usage.ru_utime + usage.ru_stime
    except ChildProcessError:
        pass
    end_descendants()
    _tell(control, {"gone": True, "status": status, "cpu_s": cpu_s, "escaped": escaped, "wanted": wanted})
    os._exit(0)


def _acknowledged(control: socket.socket) -> None:
    poll = select.poll()
    poll.register(control.fileno(), select.POLLIN)
    poll.poll(_ACKNOWLEDGED_S * 1000)


def _tell(control: socket.socket, fact: dict[str, Any]) -> None:
    try:
        control.sendall(json.dumps(fact).encode() + b"\n")
    except OSError:
        return
