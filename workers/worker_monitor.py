"""What runs use: CPU of their threads, CPU and memory of their process groups, and of the manager itself."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workers.hosts.base import Seen
    from workers.hosts.run import Run


@dataclass(frozen=True, slots=True)
class Used:
    """`cpu_s` is what the run used so far; memory and the count of threads only a process group has for itself."""

    cpu_s: float
    memory_bytes: int | None
    threads: int | None


@dataclass(frozen=True, slots=True)
class ProcessUse:
    cpu_percent: float
    memory_bytes: int
    threads: int


def usage_of(runs: Sequence[Run]) -> dict[str, Used]:
    """By run id; one pass over the process table, and only while there are commands."""
    if not runs:
        return {}
    of_threads = _threads()
    groups = {group for run in runs if (group := run.group) is not None}
    of_groups = _groups(groups) if groups else {}
    return {run.id: _of(run, of_threads, of_groups) for run in runs}


def _of(run: Run, of_threads: Mapping[int, float], of_groups: Mapping[int, Used]) -> Used:
    group, thread = run.group, run.thread_id
    if group is not None:
        return of_groups.get(group, Used(0.0, 0, 0))
    return Used(max(0.0, of_threads.get(thread or 0, 0.0) - run.thread_began_s), None, None)


def _threads() -> dict[int, float]:
    """CPU seconds by thread of this process."""
    import psutil

    return {thread.id: thread.user_time + thread.system_time for thread in psutil.Process().threads()}


def _groups(groups: set[int]) -> dict[int, Used]:
    import psutil

    found: dict[int, Used] = {}
    for process in psutil.process_iter():
        try:
            group = os.getpgid(process.pid)
            if group not in groups:
                continue
            with process.oneshot():
                times = process.cpu_times()
                used = Used(times.user + times.system, process.memory_info().rss, process.num_threads())
        except (psutil.Error, OSError):
            continue
        sofar = found.get(group, Used(0.0, 0, 0))
        found[group] = Used(
            sofar.cpu_s + used.cpu_s,
            (sofar.memory_bytes or 0) + (used.memory_bytes or 0),
            (sofar.threads or 0) + (used.threads or 0),
        )
    return found


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
