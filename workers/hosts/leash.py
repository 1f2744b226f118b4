"""A tiny process that outlives its manager by a moment, and kills what is registered when the manager's pipe closes.

Run as `python -I -S leash.py ID` with the pipe as standard input; nothing but the standard library, nothing of nova.
Lines: `+PGID`, `-PGID`, and `=` every second. At the end of input every registered group is killed, and, where /proc is
readable, every process that carries NOVA_MANAGER=ID in its environment (what left its group by setsid). The same when
nothing was heard for SELF_FENCE_S: another manager may take over by then what this one ran.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path

SELF_FENCE_S = 6.0


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


class Groups:
    """What is registered. `heard` takes lines as they come, in whatever pieces."""

    def __init__(self) -> None:
        self.registered: set[int] = set()
        self.armed = False  # a manager that beats once is counted on to go on
        self._rest = b""

    def heard(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line[:1] == b"+":
                self.registered.add(int(line[1:]))
            elif line[:1] == b"-":
                self.registered.discard(int(line[1:]))
            else:
                self.armed = True

    def kill(self, manager: str) -> None:
        for group in self.registered:
            kill_group(group)
        self.registered.clear()
        mark = b"NOVA_MANAGER=" + manager.encode()
        kill_marked(mark)
        kill_marked(mark)  # once more, for what forked meanwhile


def main(manager: str) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups = Groups()
    fenced = False
    while True:
        waits = groups.armed and not fenced
        if not select.select([0], [], [], SELF_FENCE_S if waits else None)[0]:
            groups.kill(manager)
            fenced = True  # until something is heard again
            continue
        fenced = False
        data = os.read(0, 65_536)
        if not data:
            break
        groups.heard(data)
    groups.kill(manager)


if __name__ == "__main__":
    main(sys.argv[1])
