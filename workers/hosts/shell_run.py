"""One command in a process group of its own: its output is read as it comes, its money messages are answered, and
nothing of the group outlives its leader or its manager."""

from __future__ import annotations

import json
import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from nova.errors import BudgetExceeded, NovaError
from nova.fleet.terms import Resources
from workers.gate import LateRun
from workers.hosts.confines import too_much_processor
from workers.hosts.leader import Ended, Leader, Order, Starter
from workers.hosts.metering import LineSplitter, MalformedMessage, Message, parse

_CHUNK = 65_536
_ERROR_TAIL = 8_000  # more than is shown, so that a secret is found before it is cut in two
_REFUSED_GRACE_S = 1.0
_DRAIN_S = 2.0  # for output that something outside the group still holds open
_PIPE_MAX = 2_000_000  # more than a dead group can have left in its pipes
_XCPU = (-signal.SIGXCPU, 128 + signal.SIGXCPU)  # of the shell itself, and of what the shell waited for
_POLL_S = 0.05  # where the system cannot tell the end of a process on a descriptor


@dataclass(frozen=True, slots=True)
class CommandEnded:
    """`refused`: a budget's answer that ended it. `problem`: what was wrong with its messages."""

    code: int
    stderr: str
    refused: BudgetExceeded | None
    problem: str | None
    cpu_s: float


class ShellRun:
    """`on_message` books a message or raises; `on_output` takes lines of ordinary output and the
    name of their stream.
    """

    def __init__(
        self,
        start: Starter,
        currency: str,
        on_message: Callable[[Message], None],
        on_output: Callable[[Sequence[str], str], None],
        limits: Resources = Resources(),
    ) -> None:
        self._start = start
        self._limits = limits
        self._currency = currency
        self._on_message = on_message
        self._on_output = on_output
        self._lock = threading.Lock()
        self._leader: Leader | None = None
        self._asked: int | None = None
        self._reply = -1
        self._messages = 0
        self._read = 0
        self._kill_at: float | None = None
        self._refused: BudgetExceeded | None = None
        self._problem: str | None = None
        self._tail: deque[str] = deque(maxlen=50)

    @property
    def group(self) -> int | None:
        """The process group while it lives."""
        leader = self._leader
        return leader.pid if leader is not None else None

    @property
    def warden(self) -> int | None:
        """Whose descendants are all that it started, where it has one."""
        leader = self._leader
        return leader.warden if leader is not None else None

    def signal(self, number: int) -> None:
        """To the whole group, from any thread; a signal that comes before the start is sent at the start."""
        with self._lock:
            self._asked = number
            self._signal(number)

    def run(self, command: str, cwd: str | None, env: Mapping[str, str]) -> CommandEnded:
        """Returns when nothing of it is left. Raises OSError or NovaError when it cannot be started."""
        leader, streams = self._spawn(Order(command, cwd, env, self._limits))
        try:
            self._pump(leader, streams)
        finally:
            ended = self._reap(leader, streams)
        self._problem = self._problem or ended.problem
        if self._limits.cpu_s is not None and ended.code in _XCPU:
            self._problem = self._problem or too_much_processor(self._limits)
        tail = "\n".join(self._tail)[-_ERROR_TAIL:]
        return CommandEnded(ended.code, tail, self._refused, self._problem, ended.cpu_s)

    def _spawn(self, order: Order) -> tuple[Leader, tuple[int, int]]:
        go, self._reply = os.pipe()
        output, output_there = os.pipe()
        errors, errors_there = os.pipe()
        try:
            leader = self._start(order, (go, output_there, errors_there))
        except BaseException:
            for fd in (self._reply, output, errors):
                os.close(fd)
            raise
        finally:
            for fd in (go, output_there, errors_there):
                os.close(fd)
        with self._lock:
            self._leader = leader
            if self._asked is not None:
                leader.signal(self._asked)
        with suppress(BrokenPipeError):  # it was killed already
            leader.go(self._reply)
        os.set_blocking(self._reply, False)
        return leader, (output, errors)

    def _pump(self, leader: Leader, ends: tuple[int, int]) -> None:
        streams = {fd: (LineSplitter(), is_output) for fd, is_output in zip(ends, (True, False), strict=True)}
        poll = select.poll()
        for fd in streams:
            os.set_blocking(fd, False)
            poll.register(fd, select.POLLIN)
        if leader.fd >= 0:
            poll.register(leader.fd, select.POLLIN)
        give_up_at: float | None = None
        left = 0
        while streams or give_up_at is None:
            before = self._read
            for fd, _ in poll.poll(self._timeout_ms(leader, give_up_at)):
                if fd in streams and not self._take(fd, *streams[fd]):
                    poll.unregister(fd)
                    del streams[fd]
            now = time.monotonic()
            if self._kill_at is not None and now >= self._kill_at:
                self._kill_at = None
                self.signal(signal.SIGKILL)
            if give_up_at is None and leader.died():
                self.signal(signal.SIGKILL)  # what it left in the background
                give_up_at, left = now + _DRAIN_S, self._read + _PIPE_MAX
                if leader.fd >= 0:
                    poll.unregister(leader.fd)
            if give_up_at is not None and now >= give_up_at and (self._read == before or self._read > left):
                break
        for splitter, is_output in streams.values():
            self._lines([splitter.rest()], is_output)

    def _timeout_ms(self, leader: Leader, give_up_at: float | None) -> float | None:
        if give_up_at is None and leader.fd < 0:
            return _POLL_S * 1000
        moments = [moment for moment in (self._kill_at, give_up_at) if moment is not None]
        return max(0.0, (min(moments) - time.monotonic()) * 1000) + 1 if moments else None

    def _take(self, fd: int, splitter: LineSplitter, is_output: bool) -> bool:
        """False at the end of the stream."""
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return True
        self._read += len(data)
        self._lines(splitter.feed(data) if data else [splitter.rest()], is_output)
        return bool(data)

    def _lines(self, lines: list[bytes], is_output: bool) -> None:
        shown: list[str] = []
        for line in lines:
            if not line or (is_output and self._metered(line)):
                continue
            shown.append(line[:_CHUNK].decode("utf-8", "replace").rstrip("\r"))
        if shown:
            if not is_output:
                self._tail.extend(line[-_ERROR_TAIL:] for line in shown)
            self._on_output(shown, "stdout" if is_output else "stderr")

    def _metered(self, line: bytes) -> bool:
        try:
            message = parse(line, self._currency)
        except MalformedMessage as problem:
            self._fail(problem, end=True)  # money may have gone that nobody counts
            return False
        if message is None:
            return False
        try:
            self._on_message(message)
        except BudgetExceeded as refusal:
            self._refused = self._refused or refusal
            self._answer({"ok": False, "error": "BudgetExceeded", "message": refusal.message})
            self._end()
        except NovaError as problem:
            self._fail(problem, end=isinstance(problem, LateRun))
        else:
            self._answer({"ok": True})
        return True

    def _fail(self, problem: NovaError, *, end: bool) -> None:
        self._problem = self._problem or problem.message
        self._on_output([f"nova: {problem.message}"], "stderr")
        self._answer({"ok": False, "error": type(problem).__name__, "message": problem.message})
        if end:
            self._end()

    def _end(self) -> None:
        if self._kill_at is None and self._asked is None:
            self._kill_at = time.monotonic() + _REFUSED_GRACE_S
            self.signal(signal.SIGTERM)

    def _answer(self, body: dict[str, object]) -> None:
        self._messages += 1
        line = json.dumps({"n": self._messages, **body}, ensure_ascii=True)[: select.PIPE_BUF - 1]
        self._send(line.encode() + b"\n")

    def _send(self, line: bytes) -> None:
        """A command that reads no answers loses them once the pipe is full."""
        try:
            os.write(self._reply, line)
        except (BlockingIOError, BrokenPipeError):
            return

    def _signal(self, number: int) -> None:
        if self._leader is not None:
            self._leader.signal(number)

    def _reap(self, leader: Leader, ends: tuple[int, int]) -> Ended:
        ended = leader.reap()
        with self._lock:
            self._leader = None
        for fd in (self._reply, *ends):
            os.close(fd)
        return ended
