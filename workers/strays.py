"""Commands that are still there although nothing manages them any more: told by the mark in their environment."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

_DEATH_S = 1.0
_ROUNDS = 10  # for what forks meanwhile
_ROUND_S = 0.005


def end_strays(managers: Collection[str], worker: str | None = None) -> int:
    """Kills the commands of these managers, of one worker if given, also those that left their process group.

    This process and those it descends from are spared. Returns how many there were.
    """
    return _end(lambda environ: _is_marked(environ, managers, worker)) if managers else 0


def end_marked(name: str, value: str) -> int:
    """Kills every process that has this in its environment, until there is none."""
    ended = 0
    for _ in range(_ROUNDS):
        found = _end(lambda environ: environ.get(name) == value)
        if not found:
            break
        ended += found
    return ended


def _end(chosen: Callable[[dict[str, str]], bool]) -> int:
    import psutil

    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    ended = []
    for process in psutil.process_iter():
        try:
            if process.pid not in spared and chosen(process.environ()):
                process.kill()
                ended.append(process)
        except (psutil.Error, OSError):
            continue
    deadline = time.monotonic() + _DEATH_S
    while any(map(_is_there, ended)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return len(ended)


def _is_there(process: psutil.Process) -> bool:
    """Asked without waiting for it: the process may be somebody's child."""
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _is_marked(environ: dict[str, str], managers: Collection[str], worker: str | None) -> bool:
    return environ.get("NOVA_MANAGER") in managers and worker in (None, environ.get("NOVA_WORKER"))
