"""The thread of a manager that hears its fork servers, the wardens of its processes, and what these print."""

from __future__ import annotations

import heapq
import logging
import os
import selectors
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress

from workers.hosts.descent import stands_still
from workers.hosts.environment import MARK
from workers.hosts.leash_client import Leash
from workers.hosts.process import Exit, Guarded, Process
from workers.strays import end_marked

log = logging.getLogger(__name__)

_END_S = 12.0
_LOOK_S = 0.2
_ALONE_S = 5.0
_RATE = 4_000_000  # bytes a second taken of what a process prints; one that prints more is slowed
_PAUSE_S = 0.1


class Server:
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


class Watch:
    def __init__(self, leash: Leash) -> None:
        self.awake = threading.Event()  # the server is up
        self.warm = threading.Event()  # it does not import anything just now
        self._leash = leash
        self._selector = selectors.DefaultSelector()
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._lock = threading.Lock()
        self._new: list[Guarded | Server] = []
        self._processes: dict[int, Guarded] = {}  # by the warden
        self._lost: dict[int, Guarded] = {}
        self._swept: set[int] = set()  # wardens whose end the fork server told before it was seen here
        self._servers: dict[str, Server] = {}  # by their marks
        self._allowance: dict[Process, float] = {}
        self._paused: list[tuple[float, int, Process]] = []
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="nursery", daemon=True)
        self._thread.start()

    def add(self, process: Guarded) -> None:
        self._hand(process)

    def serve(self, server: Server) -> None:
        self._hand(server)

    def strike(self) -> None:
        """Kills guardians that stand still while what they guard is to die: somebody has stopped them.

        For any thread, every second. What the fork server does of itself then ends the rest.
        """
        for process in (*self._processes.values(), *self._lost.values()):
            if not process.overdue():
                continue
            if stands_still(process.warden):
                process.kill_warden()
            server = self._servers.get(process.mark)
            if process.warden in self._lost and server is not None and stands_still(server.popen.pid):
                server.popen.kill()

    def doom(self) -> None:
        """Nothing of all this is to live on."""
        for process in tuple(self._processes.values()):
            process.signal(signal.SIGKILL)

    def close(self) -> None:
        """Returns when nothing is left to hear."""
        self._closing = True
        self._poke()
        until = time.monotonic() + _END_S
        while self._thread.is_alive() and time.monotonic() < until:
            self.strike()
            self._thread.join(_LOOK_S)

    def _hand(self, one: Guarded | Server) -> None:
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
            elif isinstance(key.data, Server):
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
            if isinstance(one, Server):
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

    def _hear_server(self, server: Server) -> None:
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

    def _bury(self, server: Server) -> None:
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
