"""A tiny process that outlives its manager by a moment, and kills what is registered when the manager's pipe closes.

Run as `python -I -S leash.py ID` with the pipe as standard input; nothing but the standard library, nothing of nova.
Lines: `+PGID` and `-PGID`. At the end of input every registered group is killed, and, where /proc is readable,
every process that carries NOVA_MANAGER=ID in its environment (what left its group by setsid).
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def kill_marked(mark: bytes) -> None:
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (place / "environ").read_bytes().split(b"\0") and int(place.name) != os.getpid():
                os.kill(int(place.name), signal.SIGKILL)
        except OSError:
            continue


def main(manager: str) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin.buffer:
        sign, group = line[:1], int(line[1:])
        if sign == b"+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        kill_group(group)
    mark = b"NOVA_MANAGER=" + manager.encode()
    kill_marked(mark)
    kill_marked(mark)  # once more, for what forked meanwhile


if __name__ == "__main__":
    main(sys.argv[1])
