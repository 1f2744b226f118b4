"""The manager's side of the nursery: starts it when a process is first needed, and hears what its processes say."""

from __future__ import annotations

import heapq
import json
import logging
import os
import secrets
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from nova.errors import NovaError
from workers.hosts.environment import MARK, allowed
from workers.hosts.leash_client import Leash
from workers.hosts.process import Exit, Guarded, Process
from workers.hosts.wire import MAX_MESSAGE, Channel
from workers.strays import end_marked

log = logging.getLogger(__name__)

_WARM_S = 60.0  # until a fork server has imported what it needs, on a machine that is busy
_BIRTH_S = 10.0
_END_S = 12.0
_ALONE_S = 5.0
_RATE = 4_000_000  # bytes a second taken of what a process prints; one that prints more is slowed
_PAUSE_S = 0.1


class NoProcess(NovaError):
    """No process could be started."""


class Nursery:
    """Thread-safe. `start` brings a process into the world; one thread hears all of them."""

    def __init__(self, manager: str, leash: Leash) -> None:
        self._mark = ""
        self._manager = manager
        self._leash = leash
        self._lock = threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._watch: _Watch | None = None
        self._warmed = False  # the server was told to import what workers need

    @property
    def pid(self) -> int | None:
        return self._server.pid if self._server else None

    def start(self) -> Process:
        """It waits to be told what it is. Raises NoProcess."""
        control, control_there = socket.socketpair()
        channel, channel_there = socket.socketpair()
        output, output_there = os.pipe()
        try:
            with channel_there:
                watch, mark, born = self._birth(b"f", control, control_there, channel_there.fileno(), output_there)
            os.set_blocking(output, False)
            process = Process(mark, *born, control, Channel(channel, MAX_MESSAGE), output)
        except BaseException:
            channel.close()
            os.close(output)
            raise
        finally:
            os.close(output_there)
        watch.add(process)
        return process

    def start_command(self, pipes: tuple[int, int, int]) -> Guarded:
        """It waits to be told by the first of them what it is; the others are for what it prints. Raises NoProcess."""
        control, there = socket.socketpair()
        watch, mark, born = self._birth(b"c", control, there, *pipes)
        command = Guarded(mark, *born, control)
        watch.add(command)
        return command

    def _birth(
        self, kind: bytes, control: socket.socket, there: socket.socket, *own: int
    ) -> tuple[_Watch, str, tuple[int, int]]:
        """Of a warden and what it guards. `control` is closed when it fails."""
        try:
            with there:
                watch, mark = self._ask(kind, (there.fileno(), *own))
            warden, worker = self._born(control, watch)
        except BaseException:
            control.close()
            raise
        self._leash.add(worker)
        return watch, mark, (warden, worker)

    def beat(self) -> None:
        """Says that the manager lives: to be called every second. Without it there is no fence."""
        with self._lock:
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.send(b".", socket.MSG_DONTWAIT)

    def close(self) -> None:
        """Ends every process that is left, and returns when they are gone."""
        with self._lock:
            server, watch = self._server, self._watch
            self._server = self._watch = None
            if self._socket is not None:
                with suppress(OSError):  # it is closed already where the server died
                    self._socket.shutdown(socket.SHUT_WR)
                self._socket = None
        if server is not None:
            self._await(server)
        if watch is not None:
            watch.close()

    def _ask(self, kind: bytes, fds: Sequence[int]) -> tuple[_Watch, str]:
        with self._lock:
            for attempt in (1, 2):
                if self._server is None or self._server.poll() is not None:
                    self._start_server()
                assert self._socket is not None and self._watch is not None
                try:
                    if kind == b"f" and not self._warmed:
                        self._watch.warm.clear()
                        self._socket.sendall(b"p")
                        self._warmed = True
                    socket.send_fds(self._socket, [kind], fds)
                    return self._watch, self._mark
                except OSError as problem:
                    if attempt == 2:
                        raise NoProcess(f"no process could be started: {problem}") from problem
                    self._end_server()
        raise AssertionError

    def _born(self, control: socket.socket, watch: _Watch) -> tuple[int, int]:
        control.settimeout(_BIRTH_S)
        told = b""
        watch.awake.wait(_WARM_S)
        watch.warm.wait(_WARM_S)
        try:
            while not told.endswith(b"\n"):
                data = control.recv(1)  # what comes after is for the one who watches
                if not data:
                    raise NoProcess("no process could be started: the fork server died")
                told += data
        except TimeoutError:
            with self._lock:
                self._end_server()
            raise NoProcess("no process could be started: the fork server does not answer") from None
        control.setblocking(False)
        born: dict[str, Any] = json.loads(told)
        if "failed" in born:
            raise NoProcess(born["failed"], hint="see `ulimit -u` and what else runs here")
        return born["warden"], born["worker"]

    def _start_server(self) -> None:
        here, there = socket.socketpair()
        self._mark = secrets.token_hex(8)
        with there:
            try:
                self._server = subprocess.Popen(
                    [sys.executable, "-P", "-m", "workers.hosts.nursery", str(there.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=(there.fileno(),),
                    start_new_session=True,
                    env={**allowed(os.environ), "NOVA_MANAGER": self._manager, MARK: self._mark},
                )
            except OSError as problem:
                here.close()
                raise NoProcess(f"the fork server could not be started: {problem}") from problem
        if self._watch is None:
            self._watch = _Watch(self._leash)
        self._socket, self._warmed = here, False
        self._watch.awake.clear()
        self._watch.warm.set()
        self._watch.serve(_Server(self._server, here, self._mark))
        log.info("nursery_started", extra={"action": "nursery_started", "pid": self._server.pid})

    def _end_server(self) -> None:
        if self._server is not None:
            self._server.kill()
            self._server.wait()

    def _await(self, server: subprocess.Popen[bytes]) -> None:
        try:
            server.wait(_END_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


class _Server:
    """A fork server as it is watched."""

    def __init__(self, popen: subprocess.Popen[bytes], end: socket.socket, mark: str) -> None:
        self.popen = popen
        self.socket = end
        self.mark = mark
        self.silenced = False
        self._rest = b""

    def words(self) -> list[bytes] | None:
        """None when it is gone."""
        try:
            data = self.socket.recv(4096)
        except OSError:
            data = b""
        *whole, self._rest = (self._rest + data).split(b"\n")
        return whole if data else None


class _Watch:
    """The thread that hears wardens, fork servers, and what processes print."""

    def __init__(self, leash: Leash) -> None:
        self.awake = threading.Event()  # the server is up
        self.warm = threading.Event()  # it does not import anything just now
        self._leash = leash
        self._selector = selectors.DefaultSelector()
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._lock = threading.Lock()
        self._new: list[Guarded | _Server] = []
        self._processes: dict[int, Guarded] = {}  # by the warden
        self._lost: dict[int, Guarded] = {}
        self._swept: set[int] = set()  # wardens whose end the fork server told before it was seen here
        self._servers: dict[str, _Server] = {}  # by their marks
        self._allowance: dict[Process, float] = {}
        self._paused: list[tuple[float, int, Process]] = []
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="nursery", daemon=True)
        self._thread.start()

    def add(self, process: Guarded) -> None:
        self._hand(process)

    def serve(self, server: _Server) -> None:
        self._hand(server)

    def close(self) -> None:
        self._closing = True
        self._poke()
        self._thread.join(_END_S)

    def _hand(self, one: Guarded | _Server) -> None:
        with self._lock:
            self._new.append(one)
        self._poke()

    def _poke(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._wake, b".")

    def _loop(self) -> None:
        while not (self._closing and not self._processes and not self._servers and not self._lost):
            try:
                self._turn()
            except Exception:
                log.exception("nursery_watch_failed", extra={"action": "nursery_watch_failed"})
        self._selector.close()
        os.close(self._woken)
        os.close(self._wake)

    def _turn(self) -> None:
        wait_s = max(0.0, self._paused[0][0] - time.monotonic()) if self._paused else None
        for key, _ in self._selector.select(wait_s):
            if key.data is None:
                os.read(self._woken, 4096)
                self._take_new()
            elif isinstance(key.data, _Server):
                self._hear_server(key.data)
            elif key.fd == key.data.control.fileno():
                self._hear_warden(key.data)
            elif isinstance(key.data, Process) and key.fd == key.data.output:
                self._read(key.data)
        self._resume()

    def _take_new(self) -> None:
        with self._lock:
            new, self._new = self._new, []
        for one in new:
            if isinstance(one, _Server):
                self._servers[one.mark] = one
                self._selector.register(one.socket, selectors.EVENT_READ, one)
            else:
                self._processes[one.warden] = one
                self._selector.register(one.control, selectors.EVENT_READ, one)
                if isinstance(one, Process):
                    self._selector.register(one.output, selectors.EVENT_READ, one)

    def _hear_warden(self, process: Guarded) -> None:
        facts = process.facts()
        if facts is None:
            self._lose(process)
            return
        for fact in facts:
            if "over" in fact:
                process.went_over(fact["over"])
            elif "ended" in fact:
                process.died()
                self._leash.discard(process.group)
                process.acknowledge()
            elif "gone" in fact:
                status = fact["status"]
                code = os.waitstatus_to_exitcode(status) if status >= 0 else -9
                self._finish(process, Exit(code, fact["cpu_s"], fact["escaped"], fact["wanted"]))
                return

    def _lose(self, process: Guarded) -> None:
        """Its warden was killed. The worker dies with that; the server ends the rest, and says so."""
        log.warning("warden_lost", extra={"action": "warden_lost", "pid": process.warden})
        self._selector.unregister(process.control)
        self._lost[process.warden] = process
        process.kill_alone(_ALONE_S)
        process.died()
        self._leash.discard(process.group)
        if process.warden in self._swept:
            self._swept.discard(process.warden)
            self._found_lost(process.warden)
        elif process.mark not in self._servers:
            self._sweep(process.mark)

    def _hear_server(self, server: _Server) -> None:
        words = server.words()
        if words is None:
            self._bury(server)
            return
        for word in words:
            if word == b"ready":
                self.awake.set()
            elif word == b"warm":
                self.warm.set()
            elif word == b"silence":
                server.silenced = True
            elif word.startswith(b"swept"):
                self._found_lost(int(word.split()[1]))

    def _found_lost(self, warden: int) -> None:
        """Nothing is left of what it guarded."""
        process = self._lost.pop(warden, None)
        if process is None:
            self._swept.add(warden)
        else:
            self._finish(process, Exit(-9, wanted=False))

    def _bury(self, server: _Server) -> None:
        self._selector.unregister(server.socket)
        del self._servers[server.mark]
        self.awake.set()  # nobody need wait for it any more
        self.warm.set()
        server.socket.close()
        code = server.popen.wait()
        if server.silenced or code:
            log.warning("nursery_died", extra={"action": "nursery_died", "code": code, "silence": server.silenced})
        self._sweep(server.mark)

    def _sweep(self, mark: str) -> None:
        """Where warden and fork server are both gone, what is left is found by its mark."""
        lost = [process for process in self._lost.values() if process.mark == mark]
        if lost:
            end_marked(MARK, mark)
        for process in lost:
            del self._lost[process.warden]
            self._finish(process, Exit(-9, wanted=False))

    def _finish(self, process: Guarded, found: Exit) -> None:
        self._processes.pop(process.warden, None)
        ends = [process.control.fileno()]
        if isinstance(process, Process):
            self._allowance.pop(process, None)
            ends.append(process.output)
        for end in ends:
            if end >= 0:
                with suppress(KeyError):
                    self._selector.unregister(end)
        process.finish(found)

    def _read(self, process: Process) -> None:
        try:
            size = process.read_output()
        except BlockingIOError:
            return
        if size == 0:
            self._selector.unregister(process.output)
            process.close_output()
            return
        left = self._allowance.get(process, _RATE * _PAUSE_S) - size
        self._allowance[process] = left
        if left < 0:
            self._selector.unregister(process.output)
            heapq.heappush(self._paused, (time.monotonic() + _PAUSE_S, process.warden, process))

    def _resume(self) -> None:
        now = time.monotonic()
        while self._paused and self._paused[0][0] <= now:
            process = heapq.heappop(self._paused)[2]
            self._allowance.pop(process, None)
            if process.output >= 0 and not process.dead.is_set():
                self._selector.register(process.output, selectors.EVENT_READ, process)
