"""The first process of a command's group, told what to run when all that guards it is in place."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from nova.fleet.terms import Resources
from workers.hosts.confines import bounds_of, confine_other, too_many_processes
from workers.hosts.descent import LINUX, send_group
from workers.hosts.environment import MARK

if TYPE_CHECKING:
    from workers.hosts.leash_client import Leash
    from workers.hosts.nursery_client import Nursery
    from workers.hosts.process import Guarded

# The command waits for a line, so that a manager which dies before the leash knows the group leaves nothing behind.
# The same pipe then is descriptor 3, on which answers come.
_STUB = 'read -r _ && exec /bin/sh -c "$0" 3<&0 </dev/null'
_COUNT_MS = 100


@dataclass(frozen=True, slots=True)
class Order:
    command: str
    cwd: str | None
    env: Mapping[str, str]
    limits: Resources = Resources()


class Leader(Protocol):
    @property
    def pid(self) -> int: ...

    @property
    def warden(self) -> int | None: ...

    @property
    def fd(self) -> int:
        """Becomes readable when it dies; -1 where the system cannot tell."""
        ...

    def go(self, pipe: int) -> None:
        """Lets it begin, by its standard input."""
        ...

    def died(self) -> bool: ...

    def signal(self, number: int) -> None:
        """To its whole group, while there is one."""
        ...

    def reap(self) -> Ended:
        """Kills what is left of it, and returns when that is dead."""
        ...


@dataclass(frozen=True, slots=True)
class Ended:
    """`problem` says in words what ended it, where that was neither the command nor a signal of nova's."""

    code: int
    cpu_s: float = 0.0
    problem: str | None = None


Starter = Callable[[Order, tuple[int, int, int]], Leader]


def starter(nursery: Nursery | None, leash: Leash | None) -> Starter:
    """Starts it under a warden, where the system lets one find whatever descends from it."""

    def start(order: Order, pipes: tuple[int, int, int]) -> Leader:
        if nursery is not None and LINUX:
            return _Warded(nursery.start_command(pipes), order)
        return _Child(order, pipes, leash)

    return start


class _Warded:
    def __init__(self, process: Guarded, order: Order) -> None:
        self._process = process
        self._order = order
        self._watch = _Watch(process.death_fd())
        self.pid = process.group
        self.warden: int | None = process.warden
        if order.limits.processes is not None:
            process.limit_processes(order.limits.processes, _COUNT_MS)

    @property
    def fd(self) -> int:
        return self._watch.fd

    def go(self, pipe: int) -> None:
        order = self._order
        env = {**order.env, MARK: self._process.mark}
        told = {"command": order.command, "cwd": order.cwd or "/", "env": env, "bounds": bounds_of(order.limits)}
        rest = memoryview(json.dumps(told).encode() + b"\n")
        while rest:
            rest = rest[os.write(pipe, rest) :]

    def died(self) -> bool:
        return self._watch.died()

    def signal(self, number: int) -> None:
        self._process.signal(number)

    def reap(self) -> Ended:
        process = self._process
        process.signal(9)
        process.dead.wait()
        self._watch.close()
        found = process.exit
        assert found is not None
        problem = None
        if found.over is not None:
            problem = too_many_processes(self._order.limits.processes or 0)
        elif not found.wanted:
            problem = "what guarded the command was killed, and the command with it"
        return Ended(found.code, found.cpu_s, problem)


class _Child:
    """Without a leash, something else sees to it that the group does not outlive its manager."""

    def __init__(self, order: Order, pipes: tuple[int, int, int], leash: Leash | None) -> None:
        self._leash = leash
        self._limits = order.limits
        self._lock = threading.Lock()
        self._ended = False
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _STUB, order.command],
            stdin=pipes[0],
            stdout=pipes[1],
            stderr=pipes[2],
            cwd=order.cwd,
            env=dict(order.env),
            start_new_session=True,
        )
        self.pid = self._process.pid
        self.warden: int | None = None
        if leash is not None:
            leash.add(self.pid)
        self._watch = _Watch(os.pidfd_open(self.pid) if sys.platform == "linux" else -1)

    @property
    def fd(self) -> int:
        return self._watch.fd

    def go(self, pipe: int) -> None:
        confine_other(self.pid, self._limits)
        os.write(pipe, b"go\n")

    def died(self) -> bool:
        return self._watch.died() if self.fd >= 0 else self._process.poll() is not None

    def signal(self, number: int) -> None:
        with self._lock:
            if not self._ended:
                send_group(self.pid, number)

    def reap(self) -> Ended:
        """Order matters: the number of the group is ours until its leader is reaped."""
        with self._lock:
            send_group(self.pid, 9)
            self._ended = True
            if self._leash is not None:
                self._leash.discard(self.pid)
        self._watch.close()
        if self._process.returncode is not None:
            return Ended(self._process.returncode)
        _, status, usage = os.wait4(self.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return Ended(self._process.returncode, usage.ru_utime + usage.ru_stime)


class _Watch:
    """Tells that a process ended without reaping it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._poll = select.poll()
        if fd >= 0:
            self._poll.register(fd, select.POLLIN)

    def died(self) -> bool:
        return bool(self._poll.poll(0))

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
