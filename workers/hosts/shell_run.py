"""One command in a process group of its own: its output is read as it comes, its money messages are answered, and
nothing of the group outlives its leader or its manager."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from nova.errors import BudgetExceeded, NovaError
from nova.fleet.terms import Resources
from workers.gate import LateRun
from workers.hosts.confines import confine_other, too_much_processor
from workers.hosts.leash_client import Leash
from workers.hosts.metering import LineSplitter, MalformedMessage, Message, parse

# The command waits for a line, so that a manager which dies before the leash knows the group leaves nothing behind.
# The same pipe then is descriptor 3, on which answers come.
_STUB = 'read -r _ && exec /bin/sh -c "$0" 3<&0 </dev/null'
_CHUNK = 65_536
_ERROR_TAIL = 4_000
_REFUSED_GRACE_S = 1.0
_DRAIN_S = 2.0  # for output that something outside the group still holds open
_PIPE_MAX = 2_000_000  # more than a dead group can have left in its pipes
_XCPU = (-signal.SIGXCPU, 128 + signal.SIGXCPU)  # of the shell itself, and of what the shell waited for
_POLL_S = 0.05  # where the system cannot tell the end of a process on a descriptor

REPLY_FD = 3


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

    Without a leash, something else sees to it that the group does not outlive its manager.
    """

    def __init__(
        self,
        leash: Leash | None,
        currency: str,
        on_message: Callable[[Message], None],
        on_output: Callable[[Sequence[str], str], None],
        limits: Resources = Resources(),
    ) -> None:
        self._leash = leash
        self._limits = limits
        self._currency = currency
        self._on_message = on_message
        self._on_output = on_output
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False
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
        with self._lock:
            return self._process.pid if self._process is not None and not self._ended else None

    def signal(self, number: int) -> None:
        """To the whole group, from any thread; a signal that comes before the start is sent at the start."""
        with self._lock:
            self._asked = number
            self._signal(number)

    def run(self, command: str, cwd: str | None, env: Mapping[str, str]) -> CommandEnded:
        """Returns when the leader and its group are gone. Raises OSError when it cannot be started."""
        process = self._spawn(command, cwd, env)
        try:
            self._pump(process)
        finally:
            cpu_s = self._reap(process)
        if self._limits.cpu_s is not None and process.returncode in _XCPU:
            self._problem = self._problem or too_much_processor(self._limits)
        return CommandEnded(
            process.returncode, "\n".join(self._tail)[-_ERROR_TAIL:], self._refused, self._problem, cpu_s
        )

    def _spawn(self, command: str, cwd: str | None, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        go, self._reply = os.pipe()
        try:
            process = subprocess.Popen(
                ["/bin/sh", "-c", _STUB, command],
                stdin=go,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
                env=dict(env),
                start_new_session=True,
            )
        except BaseException:
            os.close(self._reply)
            raise
        finally:
            os.close(go)
        os.set_blocking(self._reply, False)
        with self._lock:
            self._process = process
            if self._leash is not None:
                self._leash.add(process.pid)
            if self._asked is not None:
                self._signal(self._asked)
        confine_other(process.pid, self._limits)
        self._send(b"go\n")
        return process

    def _pump(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None and process.stderr is not None
        streams = {process.stdout.fileno(): (LineSplitter(), True), process.stderr.fileno(): (LineSplitter(), False)}
        poll = select.poll()
        for fd in streams:
            os.set_blocking(fd, False)
            poll.register(fd, select.POLLIN)
        with _DeathWatch(process) as watch:
            if watch.fd >= 0:
                poll.register(watch.fd, select.POLLIN)
            give_up_at: float | None = None
            left = 0
            while streams or give_up_at is None:
                before = self._read
                for fd, _ in poll.poll(self._timeout_ms(watch, give_up_at)):
                    if fd in streams and not self._take(fd, *streams[fd]):
                        poll.unregister(fd)
                        del streams[fd]
                now = time.monotonic()
                if self._kill_at is not None and now >= self._kill_at:
                    self._kill_at = None
                    self.signal(signal.SIGKILL)
                if give_up_at is None and watch.died():
                    self.signal(signal.SIGKILL)  # what it left in the background
                    give_up_at, left = now + _DRAIN_S, self._read + _PIPE_MAX
                    if watch.fd >= 0:
                        poll.unregister(watch.fd)
                if give_up_at is not None and now >= give_up_at and (self._read == before or self._read > left):
                    break
        for splitter, is_output in streams.values():
            self._lines([splitter.rest()], is_output)

    def _timeout_ms(self, watch: _DeathWatch, give_up_at: float | None) -> float | None:
        if give_up_at is None and watch.fd < 0:
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
        if self._process is not None and not self._ended:
            try:
                os.killpg(self._process.pid, number)
            except (ProcessLookupError, PermissionError):
                return

    def _reap(self, process: subprocess.Popen[bytes]) -> float:
        """Order matters: the number of the group is ours until its leader is reaped."""
        with self._lock:
            self._signal(signal.SIGKILL)
            self._ended = True
            if self._leash is not None:
                self._leash.discard(process.pid)
        os.close(self._reply)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        if process.returncode is not None:
            return 0.0
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_utime + usage.ru_stime


class _DeathWatch:
    """Tells that a child ended without reaping it, where the system can (`fd` becomes readable)."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._poll = select.poll()
        self.fd = -1
        if sys.platform == "linux":
            self.fd = os.pidfd_open(process.pid)
            self._poll.register(self.fd, select.POLLIN)

    def died(self) -> bool:
        return bool(self._poll.poll(0)) if self.fd >= 0 else self._process.poll() is not None

    def __enter__(self) -> _DeathWatch:
        return self

    def __exit__(self, *_: object) -> None:
        if self.fd >= 0:
            os.close(self.fd)
