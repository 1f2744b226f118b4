"""One worker's process and all it started, as its manager sees it."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any

from workers.hosts.metering import LineSplitter
from workers.hosts.wire import Channel

_CHUNK = 65_536
_LINE_BYTES = 65_536
_LEFT_BYTES = 2_000_000  # more than can stand in the pipe of what is dead
_TAIL_LINES = 20
_TAIL_CHARS = 8_000  # of a line: more than is shown, so that a secret is found before it is cut in two
_OBEY_S = 1.0  # within which a warden does what it is told


@dataclass(frozen=True, slots=True)
class Exit:
    """How it ended; `code` as subprocess tells it. `wanted` is false where it was ended because its manager was silent
    or its fork server was gone. `over` names a limit it went beyond, `escaped` counts what it left behind.
    """

    code: int
    cpu_s: float = 0.0
    escaped: int = 0
    wanted: bool = True
    over: str | None = None


class Guarded:
    """What a warden guards. `ended` is set when the process itself died, `dead` when nothing of what it started is
    left either.
    """

    def __init__(self, mark: str, warden: int, worker: int, control: socket.socket) -> None:
        self.mark = mark  # of the fork server it comes from, in the environment of all that workers start
        self.warden = warden
        self.group = worker
        self.ended = threading.Event()
        self.dead = threading.Event()
        self.exit: Exit | None = None
        self.control = control
        self._lock = threading.Lock()
        self._facts = b""
        self._over: str | None = None
        self._doomed_at = inf  # when it was first told to die (monotonic)
        self._pidfd = os.pidfd_open(worker) if sys.platform == "linux" else -1

    def death_fd(self) -> int:
        """A descriptor of the caller's own that becomes readable when the process dies."""
        with self._lock:
            return os.dup(self._pidfd) if self._pidfd >= 0 else -1

    @property
    def alive(self) -> bool:
        return not self.ended.is_set()

    def exited(self, within_s: float) -> bool:
        """Whether the process itself ends within that time: the system knows that sooner than its warden tells it."""
        fd = self.death_fd()
        if fd < 0:
            return self.ended.wait(within_s)
        try:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            return bool(poll.poll(within_s * 1000))
        finally:
            os.close(fd)

    def signal(self, number: int) -> None:
        """To its group, by its warden, who knows whether the number is still the group's."""
        if number == signal.SIGKILL:
            self._doomed_at = min(self._doomed_at, time.monotonic())
        self._order(b"s%d\n" % number)

    def limit_processes(self, most: int, every_ms: int) -> None:
        """Beyond that all of it is killed; it is counted so often."""
        self._order(b"n%d %d\n" % (most, every_ms))

    def acknowledge(self) -> None:
        self._order(b"s0\n")

    def _order(self, line: bytes) -> None:
        with self._lock:
            try:
                if self.control.fileno() >= 0:
                    self.control.send(line, socket.MSG_DONTWAIT)
            except OSError:
                return

    def facts(self) -> list[dict[str, Any]] | None:
        """What its warden says; None when that one is gone."""
        try:
            data = self.control.recv(_CHUNK)
        except OSError:
            data = b""
        *whole, self._facts = (self._facts + data).split(b"\n")
        return [json.loads(line) for line in whole] if data else None

    def overdue(self) -> bool:
        """Whether it was told to die, and has not for too long."""
        return not self.dead.is_set() and time.monotonic() - self._doomed_at > _OBEY_S

    def kill_warden(self) -> None:
        """Unless it has said something, or is gone: then its number may be another's."""
        with self._lock, suppress(OSError):
            try:
                self.control.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                os.kill(self.warden, signal.SIGKILL)

    def went_over(self, limit: str) -> None:
        self._over = limit

    def died(self) -> None:
        """The worker is dead; what it started may not be yet."""
        self.ended.set()

    def finish(self, found: Exit) -> None:
        """Nothing of it is left."""
        self.exit = Exit(found.code, found.cpu_s, found.escaped, found.wanted, self._over)
        with self._lock:
            self.control.close()
            if self._pidfd >= 0:
                os.close(self._pidfd)
                self._pidfd = -1
        self.ended.set()
        self.dead.set()

    def kill_alone(self, within_s: float) -> bool:
        """Where its warden is gone: kills the worker itself. Whether it is seen to be dead."""
        self._doomed_at = min(self._doomed_at, time.monotonic())
        with self._lock:
            if self._pidfd < 0:
                return True
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            try:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            except ProcessLookupError:
                return True
            return bool(poll.poll(within_s * 1000))


class Process(Guarded):
    """One that serves the runs of an instance. What it prints comes by `output`, all else by `channel`."""

    def __init__(
        self, mark: str, warden: int, worker: int, control: socket.socket, channel: Channel, output: int
    ) -> None:
        super().__init__(mark, warden, worker, control)
        self.channel = channel
        self.output = output
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self.on_output: Callable[[Sequence[str]], None] | None = None
        self.on_death: Callable[[Process], None] | None = None
        self._splitter = LineSplitter(_LINE_BYTES)

    def finish(self, found: Exit) -> None:
        try:
            self._drain()
        finally:
            super().finish(found)
        if self.on_death is not None:
            self.on_death(self)

    def read_output(self) -> int:
        """How many bytes were there; 0 at the end. Raises BlockingIOError when there is nothing now."""
        data = os.read(self.output, _CHUNK)
        self._show(self._splitter.feed(data) if data else [self._splitter.rest()])
        return len(data)

    def _show(self, lines: Sequence[bytes]) -> None:
        shown = [line[:_LINE_BYTES].decode("utf-8", "replace").rstrip("\r") for line in lines if line]
        if shown:
            self.tail.extend(line[-_TAIL_CHARS:] for line in shown)
            if self.on_output is not None:
                self.on_output(shown)

    def _drain(self) -> None:
        if self.output < 0:
            return
        read = 0
        try:
            while (size := self.read_output()) and (read := read + size) < _LEFT_BYTES:
                pass
        except OSError:
            pass
        self.close_output()

    def close_output(self) -> None:
        self._show([self._splitter.rest()])
        os.close(self.output)
        self.output = -1
