"""The manager's side of the leash: process groups that must not outlive it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

log = logging.getLogger(__name__)

_SCRIPT = Path(__file__).with_name("leash.py")


class Leash:
    """Starts with the first group. If its process dies it is started again with all groups that are registered."""

    def __init__(self, manager: str) -> None:
        self._manager = manager
        self._lock = threading.Lock()
        self._groups: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def add(self, group: int) -> None:
        """Returns when the leash is bound to know: what is in the pipe is read before its end."""
        with self._lock:
            self._groups.add(group)
            if self._process is None:
                self._start()
            else:
                self._send(b"+%d\n" % group)

    def discard(self, group: int) -> None:
        """To be called before the group's leader is reaped, or its number might belong to somebody else by now."""
        with self._lock:
            self._groups.discard(group)
            if self._process is not None:
                self._send(b"-%d\n" % group)

    def beat(self) -> None:
        """Says that the manager lives: from the first beat on, the leash counts on one every second."""
        with self._lock:
            if self._process is not None:
                self._send(b"=\n")

    def ensure(self) -> None:
        """Starts it again if it died; called now and then."""
        with self._lock:
            if self._process is not None and self._process.poll() is not None:
                log.warning("leash_died", extra={"action": "leash_died"})
                self._restart()

    def close(self) -> None:
        """Lets it go; it kills what is still registered."""
        with self._lock:
            if self._process is None:
                return
            os.close(self._pipe)
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process, self._pipe = None, -1

    def _send(self, line: bytes) -> None:
        try:
            os.write(self._pipe, line)
        except BrokenPipeError:
            self._restart()

    def _restart(self) -> None:
        os.close(self._pipe)
        if self._process is not None:
            self._process.wait()
        self._start()

    def _start(self) -> None:
        read, write = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_SCRIPT), self._manager],
                stdin=read,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
                env={},
            )
        except BaseException:
            os.close(write)
            raise
        finally:
            os.close(read)
        self._pipe = write
        for group in self._groups:
            os.write(write, b"+%d\n" % group)
