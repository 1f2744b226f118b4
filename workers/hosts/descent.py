"""Who descends from a process, and how to end all of them. Nothing but the standard library: wardens use it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Set
from contextlib import suppress
from functools import cache
from pathlib import Path

LINUX = sys.platform == "linux"

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
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


def descendants_of(pid: int) -> list[int]:
    """All below it."""
    found: list[int] = []
    ahead = children_of(pid)
    while ahead:
        one = ahead.pop()
        found.append(one)
        ahead += children_of(one)
    return found


def stands_still(pid: int) -> bool:
    """Whether it was stopped, by a signal or by who traces it; false where the system does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1] in (b"T", b"t")
    except OSError:
        return False


def send(pid: int, number: int) -> bool:
    """False where it belongs to somebody else, such as what was started by sudo."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return True


def send_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


def kill_descendants(spared: Set[int] = frozenset()) -> set[int]:
    """Kills whatever descends from this process, and returns what was found alive. It is not reaped.

    Each is stopped before its children are read, so that not even what forks all the time can get away. Children in
    `spared`, and all below them, are left alone.
    """
    killed: set[int] = set()
    while True:
        found = set()
        ahead = [pid for pid in children_of(os.getpid()) if pid not in spared]
        while ahead:
            pid = ahead.pop()
            if pid not in killed and pid not in found:
                send(pid, signal.SIGSTOP)
                found.add(pid)
            ahead += children_of(pid)
        if not found:
            return killed
        for pid in found:
            send(pid, signal.SIGKILL)
        killed |= found


def end_descendants(spared: Set[int] = frozenset()) -> None:
    """Kills and reaps all of them that it may. Only for a process that has called `adopt_orphans`."""
    while True:
        kill_descendants(spared)
        for pid in set(children_of(os.getpid())) - spared:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if not any(send(pid, 0) for pid in set(children_of(os.getpid())) - spared):
            return
        time.sleep(_ROUND_S)
