"""The process table of this machine, read in one pass: whose child a process is, its group, and what it uses."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Row:
    """`cpu_s` includes that of children it has waited for."""

    parent: int
    group: int
    cpu_s: float
    memory_bytes: int
    threads: int


Table = Mapping[int, Row]


def table() -> Table:
    """All processes that this one may see."""
    return dict(_of_proc() if (_PROC / "self" / "stat").exists() else _of_psutil())


def descendants(rows: Table, roots: set[int]) -> dict[int, list[int]]:
    """By root, all below it; a root is not below itself."""
    children: dict[int, list[int]] = {}
    for pid, row in rows.items():
        children.setdefault(row.parent, []).append(pid)
    found = {}
    for root in roots:
        below: list[int] = []
        ahead = list(children.get(root, ()))
        while ahead:
            pid = ahead.pop()
            below.append(pid)
            ahead += children.get(pid, ())
        found[root] = below
    return found


def proportional_bytes(pid: int) -> int | None:
    """Its memory, with what it shares divided among those who share it; None where the system does not tell."""
    try:
        with (_PROC / str(pid) / "smaps_rollup").open("rb") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith(b"Pss:")), None)
    except OSError:
        return None


def _of_proc() -> Iterator[tuple[int, Row]]:
    for entry in os.scandir(_PROC):
        if entry.name.isdigit():
            try:
                with open(f"/proc/{entry.name}/stat", "rb") as file:  # noqa: PTH123 - hot
                    told = file.read()
            except OSError:
                continue
            rest = told[told.rindex(b")") + 2 :].split()  # a name may hold blanks and brackets
            ticks = sum(map(int, rest[11:15]))
            yield (
                int(entry.name),
                Row(int(rest[1]), int(rest[2]), ticks / _ticks(), int(rest[21]) * _page(), int(rest[17])),
            )


def _of_psutil() -> Iterator[tuple[int, Row]]:
    import psutil

    for process in psutil.process_iter():
        try:
            with process.oneshot():
                times, group = process.cpu_times(), os.getpgid(process.pid)
                memory = process.memory_info().rss
                yield process.pid, Row(process.ppid(), group, times.user + times.system, memory, process.num_threads())
        except (psutil.Error, OSError):
            continue


@cache
def _ticks() -> int:
    return os.sysconf("SC_CLK_TCK")


@cache
def _page() -> int:
    return os.sysconf("SC_PAGE_SIZE")
