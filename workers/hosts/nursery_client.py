"""The manager's side of the nursery: starts it when a process is first needed, and hears what its processes say."""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from nova.errors import NovaError
from workers.hosts.descent import stands_still
from workers.hosts.environment import MARK, allowed
from workers.hosts.leash_client import Leash
from workers.hosts.process import Exit, Guarded, Process
from workers.hosts.watch import Server, Watch
from workers.hosts.wire import MAX_MESSAGE, Channel

log = logging.getLogger(__name__)

_WARM_S = 60.0  # until a fork server has imported what it needs, on a machine that is busy
_BIRTH_S = 10.0
_END_S = 12.0
_LOOK_S = 0.2


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
        self._watch: Watch | None = None
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
        try:
            self._keep(watch, process)
        except BaseException:
            channel.close()
            raise
        return process

    def start_command(self, pipes: tuple[int, int, int]) -> Guarded:
        """It waits to be told by the first of them what it is; the others are for what it prints. Raises NoProcess."""
        control, there = socket.socketpair()
        watch, mark, born = self._birth(b"c", control, there, *pipes)
        command = Guarded(mark, *born, control)
        self._keep(watch, command)
        return command

    def _keep(self, watch: Watch, one: Guarded) -> None:
        try:
            self._leash.add(one.group)
        except BaseException:
            self._leash.discard(one.group)
            one.finish(Exit(-9, wanted=False))
            raise
        watch.add(one)

    def _birth(
        self, kind: bytes, control: socket.socket, there: socket.socket, *own: int
    ) -> tuple[Watch, str, tuple[int, int]]:
        """Of a warden and what it guards. `control` is closed when it fails."""
        try:
            with there:
                watch, mark = self._ask(kind, (there.fileno(), *own))
            return watch, mark, self._born(control, watch)
        except BaseException:
            control.close()
            raise

    def beat(self) -> None:
        """Says that the manager lives: to be called every second. Without it there is no fence."""
        with self._lock:
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.send(b".", socket.MSG_DONTWAIT)
            watch = self._watch
        if watch is not None:
            watch.strike()

    def close(self) -> None:
        """Ends every process that is left, and returns when they are gone."""
        with self._lock:
            server, watch = self._server, self._watch
            self._server = self._watch = None
            if self._socket is not None:
                with suppress(OSError):  # it is closed already where the server died
                    self._socket.shutdown(socket.SHUT_WR)
                self._socket = None
        if server is not None and watch is not None:
            watch.doom()
            self._await(server, watch)
            watch.close()

    def _ask(self, kind: bytes, fds: Sequence[int]) -> tuple[Watch, str]:
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

    def _born(self, control: socket.socket, watch: Watch) -> tuple[int, int]:
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
            self._watch = Watch(self._leash)
        self._socket, self._warmed = here, False
        self._watch.awake.clear()
        self._watch.warm.set()
        self._watch.serve(Server(self._server, here, self._mark))
        log.info("nursery_started", extra={"action": "nursery_started", "pid": self._server.pid})

    def _end_server(self) -> None:
        if self._server is not None:
            self._server.kill()
            self._server.wait()

    def _await(self, server: subprocess.Popen[bytes], watch: Watch) -> None:
        until = time.monotonic() + _END_S
        while server.poll() is None and time.monotonic() < until and not stands_still(server.pid):
            watch.strike()
            with suppress(subprocess.TimeoutExpired):
                server.wait(_LOOK_S)
        server.kill()
        server.wait()
