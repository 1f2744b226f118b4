"""Who descends from a process, and how to end all of them. Nothing but the standard library: wardens use it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Collection
from functools import cache
from pathlib import Path

LINUX = sys.platform == "linux"

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_MANY = 20  # are stopped before they are killed, so that none of them forks meanwhile
_ROUND_S = 0.002


def adopt_orphans() -> None:
    """Makes this process the parent of every descendant whose own parent dies, where the system knows of that."""
    if LINUX:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Killed when the thread that forked it ends. `parent` is who that should be still."""
    if LINUX:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    _libc().prctl(option, value, 0, 0, 0)


def children_of(pid: int) -> list[int]:
    """Its direct children, zombies included; none where the system does not tell."""
    if not LINUX:
        return []
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_bytes().split())
    except OSError:
        pass
    return found


def descendants_of(pid: int, but: Collection[int] = ()) -> list[int]:
    """All below it, without `but` and what is below those."""
    found: list[int] = []
    ahead = [one for one in children_of(pid) if one not in but]
    while ahead:
        one = ahead.pop()
        found.append(one)
        ahead += children_of(one)
    return found


def send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def send_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


def end_descendants(but: Collection[int] = ()) -> int:
    """Kills and reaps whatever descends from this process, however it got away; `but` are spared, and not reaped.

    Returns how many were found alive. Only for a process that has called `adopt_orphans`.
    """
    ended: set[int] = set()
    while True:
        below = [pid for pid in descendants_of(os.getpid(), but) if not _reaped(pid)]
        if not below:
            return len(ended)
        if len(below) > _MANY:
            for pid in below:
                send(pid, signal.SIGSTOP)
        for pid in below:
            send(pid, signal.SIGKILL)
        ended.update(below)
        time.sleep(_ROUND_S)


def _reaped(pid: int) -> bool:
    """Whether it was a child of this process that had ended; then it is gone for good."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False
