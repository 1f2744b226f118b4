"""The warm fork server, `python -m workers.hosts.nursery FD`: where the processes of workers are born.

It never holds a secret: its children are its copies. On its socket a byte `c` with four descriptors asks for a command,
and `f` with three for a worker, after `p`: from then on it has imported what every worker needs, but none of their
code. `.` says that the manager lives. When the socket closes, or nothing was heard for too long, it ends everything.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

from workers.hosts.command_child import become
from workers.hosts.descent import adopt_orphans, end_descendants
from workers.hosts.warden import ward

SELF_FENCE_S = 6.0  # of silence: by then another manager may take over what ran here
_ENDING_S = 10.0
_PRELOADED = (
    "pydantic",
    "workers.agents.configuration",
    "workers.agents.python",
    "workers.agents.registry",
    "workers.context",
    "workers.hosts.child",
)


class Nursery:
    def __init__(self, manager: socket.socket) -> None:
        self._manager = manager
        self._lifeline, self._life = os.pipe()  # the wardens see its end when this process is gone
        self._woken, self._wake = os.pipe()
        self._wardens: set[int] = set()
        self._armed = False

    def serve(self) -> None:
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        poll.register(self._manager, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        heard_at = time.monotonic()
        self._manager.sendall(b"ready\n")
        while True:
            ready = {fd for fd, _ in poll.poll(1000 if self._armed else None)}
            if self._woken in ready:
                os.read(self._woken, 4096)
                self._reap()
            if self._manager.fileno() in ready:
                heard_at = time.monotonic()
                if not self._obey():
                    break
            elif self._armed and time.monotonic() - heard_at > SELF_FENCE_S:
                self._say(b"silence\n")
                break
        self._end()

    def _obey(self) -> bool:
        """False when the manager is gone."""
        try:
            order, fds, _, _ = socket.recv_fds(self._manager, 1, 4)
        except OSError:
            return False
        if order == b"f" and len(fds) == 3:
            self._fork(fds[0], fds[1:], _work)
        elif order == b"c" and len(fds) == 4:
            self._fork(fds[0], fds[1:], become)
        elif order == b"p":
            _preload()
            self._say(b"warm\n")
        self._armed |= order == b"."
        for fd in fds:  # where some of them are missing, as this process may open no more, the manager sees the end
            with suppress(OSError):
                os.close(fd)
        return bool(order)

    def _fork(self, end: int, own: Sequence[int], start: Callable[..., object]) -> None:
        control = socket.socket(fileno=end)
        try:
            pid = os.fork()
            if pid == 0:
                self._become(control, own, start)
            self._wardens.add(pid)
        except OSError as problem:
            with suppress(OSError):
                control.sendall(b'{"failed":"no process could be started: %s"}\n' % (problem.strerror or "").encode())
        finally:
            control.detach()

    def _become(self, control: socket.socket, own: Sequence[int], start: Callable[..., object]) -> NoReturn:
        try:
            self._manager.close()
            for fd in (self._life, self._woken, self._wake):
                os.close(fd)
            ward(control, self._lifeline, own, lambda: start(*own))
        finally:
            os._exit(1)

    def _reap(self) -> None:
        """Wardens that ended. Where somebody killed one, what it guarded has come to this process, and is ended."""
        lost = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid in self._wardens:
                self._wardens.discard(pid)
                if status:
                    lost.append(pid)
        end_descendants(spared=self._wardens)
        for pid in lost:
            self._say(b"swept %d\n" % pid)

    def _say(self, line: bytes) -> None:
        try:
            self._manager.sendall(line)
        except OSError:
            return

    def _end(self) -> None:
        """The wardens end what they guard, and are waited for; one that does not is ended with the rest."""
        os.close(self._life)
        until = time.monotonic() + _ENDING_S
        while self._wardens and time.monotonic() < until:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            self._wardens.discard(pid)
            if pid == 0:
                time.sleep(0.005)
        end_descendants()


def _work(channel: int, output: int) -> None:
    from workers.hosts.child import live

    live(channel, output)


def _preload() -> None:
    for module in _PRELOADED:
        import_module(module)
    gc.collect()
    gc.freeze()


def main(fd: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    adopt_orphans()
    Nursery(socket.socket(fileno=fd)).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]))
