"""The program this process runs, so that it can become the same program anew: same process id, no old thread."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from workers.lock import HANDED

_STOPS = (signal.SIGTERM, signal.SIGINT)
_REAP_S = 5.0
_READY_FD = "--ready-fd"


@dataclass(frozen=True, slots=True)
class Image:
    """Taken at the start: what agents do to the environment or the working directory later is not carried on."""

    argv: tuple[str, ...]
    cwd: Path | None
    environ: Mapping[str, str]

    @classmethod
    def of_this_process(cls) -> Image:
        try:
            cwd: Path | None = Path.cwd()
        except OSError:
            cwd = None
        return cls(_without_ready_fd(sys.orig_argv[1:]), cwd, dict(os.environ))

    def again(self, more: Mapping[str, str]) -> NoReturn:
        """Becomes it. What was asked of it meanwhile by signals waits for the new one. Raises OSError."""
        with suppress(OSError):  # it is gone: the program goes on where it is
            os.chdir(self.cwd or "/")
        os.execve(sys.executable, [sys.executable, *self.argv], {**self.environ, **more})  # noqa: S606 - itself


def hold_signals() -> None:
    """From here to `let_signals_in` a signal to stop waits, also from one image to the next.

    Where a thread that does not end takes it meanwhile, the process ends at once: its handler would not be heard.
    """
    for number in _STOPS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)


def let_signals_in() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)


def reap() -> None:
    """Looks after the children that an image before this one left dying; called before this one has any."""
    if HANDED not in os.environ:
        return
    until = time.monotonic() + _REAP_S
    while time.monotonic() < until:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            time.sleep(0.01)


def _without_ready_fd(argv: list[str]) -> tuple[str, ...]:
    """Nobody listens there any more."""
    kept = list(argv)
    while _READY_FD in kept:
        place = kept.index(_READY_FD)
        del kept[place : place + 2]
    return tuple(kept)
