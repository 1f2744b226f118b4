"""What runs use: CPU of their threads, CPU and memory of their process groups, and of the manager itself."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workers.hosts.confines import too_many_processes, too_much_memory, too_much_processor
from workers.processes import Table, descendants, proportional_bytes, table

if TYPE_CHECKING:
    from nova.fleet.terms import Resources
    from workers.hosts.base import Seen
    from workers.hosts.run import Run


@dataclass(frozen=True, slots=True)
class Used:
    """`cpu_s` is what a run used so far; memory and threads are known only of what has processes for itself: `pids`."""

    cpu_s: float
    memory_bytes: int | None
    threads: int | None
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ProcessUse:
    cpu_percent: float
    memory_bytes: int
    threads: int


def usage_of(runs: Sequence[Run], idle: Mapping[str, int]) -> dict[str, Used]:
    """By run id, and by instance for those that have a process (by its warden) but no run.

    One pass over the process table, and only while there are processes.
    """
    if not runs and not idle:
        return {}
    of_threads = _threads() if runs else {}
    roots = {run.warden for run in runs} | set(idle.values())
    groups = {run.group for run in runs}
    rows = table() if (roots | groups) - {None} else {}
    below = descendants(rows, {root for root in roots if root is not None})
    members: dict[int, list[int]] = {}
    for pid, row in rows.items():
        if row.group in groups:
            members.setdefault(row.group, []).append(pid)
    found = {instance: _sum(rows, below[warden]) for instance, warden in idle.items()}
    for run in runs:
        warden, group = run.warden, run.group
        if warden is not None:
            used = _sum(rows, below.get(warden, ()))
            found[run.id] = replace(used, cpu_s=max(0.0, used.cpu_s - run.process_cpu_s))
        elif group is not None:
            found[run.id] = _sum(rows, members.get(group, ()))
        else:
            cpu_s = of_threads.get(run.thread_id or 0, 0.0) - run.thread_began_s
            found[run.id] = Used(max(0.0, cpu_s), None, None)
    return found


def _sum(rows: Table, pids: Iterable[int]) -> Used:
    mine = [rows[pid] for pid in pids]
    return Used(
        sum(row.cpu_s for row in mine),
        sum(row.memory_bytes for row in mine),
        sum(row.threads for row in mine),
        tuple(pids),
    )


def excess(limits: Resources, used: Used) -> str | None:
    """In words, what it takes beyond its limits. What it shares with others is counted in part only."""
    if limits.memory_bytes is not None and (used.memory_bytes or 0) > limits.memory_bytes:
        parts = [proportional_bytes(pid) for pid in used.pids]
        known = None not in parts
        if not known or sum(part or 0 for part in parts) > limits.memory_bytes:
            return too_much_memory(limits)
    if limits.cpu_s is not None and used.pids and used.cpu_s > limits.cpu_s:
        return too_much_processor(limits)
    if limits.processes is not None and len(used.pids) > limits.processes:
        return too_many_processes(limits.processes)
    return None


def _threads() -> dict[int, float]:
    """CPU seconds by thread of this process."""
    import psutil

    return {thread.id: thread.user_time + thread.system_time for thread in psutil.Process().threads()}


class CpuRates:
    """Turns CPU seconds that only grow into percent of a core over the time since the last look."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, float]] = {}

    def percent(self, seen: Iterable[Seen], now: float) -> dict[str, float]:
        """By instance; what is seen for the first time has no rate yet."""
        rates = {}
        latest = {}
        for one in seen:
            before = self._last.get(one.instance)
            latest[one.instance] = (now, one.cpu_s)
            if before is not None and now > before[0]:
                rates[one.instance] = round(100 * max(0.0, one.cpu_s - before[1]) / (now - before[0]), 2)
        self._last = latest
        return rates


class ManagerMonitor:
    """CPU, memory and threads of this process since the last look."""

    def __init__(self) -> None:
        self._last = (time.monotonic(), time.process_time())

    def read(self) -> ProcessUse:
        import psutil

        now = (time.monotonic(), time.process_time())
        span = now[0] - self._last[0]
        percent = 100 * (now[1] - self._last[1]) / span if span > 0 else 0.0
        self._last = now
        process = psutil.Process()
        with process.oneshot():
            return ProcessUse(round(percent, 2), process.memory_info().rss, process.num_threads())
