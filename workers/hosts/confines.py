"""What a worker's process may take: limits it sets upon itself, and how it is told in words that one was reached."""

from __future__ import annotations

import math
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

from nova.clock import format_duration
from nova.fleet.terms import Resources

_MEMORY = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS


def confine(limits: Resources) -> None:
    """Of this process and all it starts. What the fork server had in memory already is not counted."""
    _lower(resource.RLIMIT_CORE, 0)
    if limits.memory_bytes is not None:
        _lower(_MEMORY, limits.memory_bytes + _data_bytes())
    if limits.open_files is not None:
        _lower(resource.RLIMIT_NOFILE, limits.open_files)


def confine_processor(limits: Resources, used_s: float) -> None:
    """Before each run: so much more than what the process has used."""
    if limits.cpu_s is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        most = math.ceil(used_s + limits.cpu_s)
        resource.setrlimit(resource.RLIMIT_CPU, (most if hard < 0 else min(most, hard), hard))


def confine_other(pid: int, limits: Resources) -> None:
    """Of a process that has not begun its work. Where the system cannot do that, it is watched all the same."""
    if sys.platform != "linux":
        return
    for kind, soft, hard in bounds_of(limits):
        with suppress(ProcessLookupError):
            resource.prlimit(pid, kind, (soft, hard))


def bounds_of(limits: Resources) -> list[tuple[int, int, int]]:
    """Of a command: what is limited, the bound and the hard one, as far as this process may set them."""
    if limits == Resources():
        return []
    wanted = {
        resource.RLIMIT_CORE: 0,
        _MEMORY: limits.memory_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_CPU: None if limits.cpu_s is None else math.ceil(limits.cpu_s),
    }
    bounds = []
    for kind, most in wanted.items():
        if most is not None:
            _, hard = resource.getrlimit(kind)
            bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
            bounds.append((kind, bound, hard if kind == resource.RLIMIT_CPU else bound))
    return bounds


def _lower(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (bound, bound))


def _data_bytes() -> int:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def too_much_memory(limits: Resources) -> str:
    assert limits.memory_bytes is not None
    return f"used more memory than its limit of {_size(limits.memory_bytes)}"


def too_much_processor(limits: Resources) -> str:
    assert limits.cpu_s is not None
    return f"used more processor time than its limit of {format_duration(limits.cpu_s)}"


def too_many_processes(most: int) -> str:
    return f"had more processes than its limit of {most}"


def how_it_ended(code: int, limits: Resources, *, memory_ran_out: bool = False) -> str:
    """Of a process that ended by itself; `code` as subprocess tells it, -9 for SIGKILL."""
    if code >= 0:
        return f"the process ended in the middle of the run: exit code {code}"
    if -code == signal.SIGXCPU and limits.cpu_s is not None:
        return too_much_processor(limits)
    if -code == signal.SIGKILL and memory_ran_out:
        return "the machine ran out of memory, and the system killed the process"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"the process was killed by {name}"


def _size(size: int) -> str:
    for unit, name in ((1024**3, "GB"), (1024**2, "MB"), (1024, "KB")):
        if size >= unit:
            return f"{size / unit:.4g} {name}"
    return f"{size} bytes"
