"""Stopping 1,000 thread and 50 process instances, half of them busy, five deaf to TERM. Bar: confirmed within 10 s."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import psutil
from rig import a_manager, until

from nova.bootstrap import Nova
from nova.fleet.documents import Declaration
from workers.control import stop

THREADS, PROCESSES, DEAF = 1_000, 50, 5
BAR_S = 10.0

AGENTS = """
import signal, time
from workers import BaseWorker

class Idle(BaseWorker):
    def run(self, ctx):
        return None

class Busy(BaseWorker):
    def run(self, ctx):
        while not ctx.sleep(0.5):
            sum(range(1000))

class Deaf(BaseWorker):
    def run(self, ctx):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(0.5)
"""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="nova-bench-") as folder:
        path = Path(folder) / "crowd.py"
        path.write_text(AGENTS)
        _measure(path)


def _measure(path: Path) -> None:
    def prepare(nova: Nova) -> None:
        for kind, runtime, count in (
            ("Idle", "thread", THREADS // 2),
            ("Busy", "thread", THREADS - THREADS // 2),
            ("Idle", "process", PROCESSES // 2),
            ("Busy", "process", PROCESSES - PROCESSES // 2 - DEAF),
            ("Deaf", "process", DEAF),
        ):
            nova.fleet.deploy(
                Declaration(
                    f"{kind}-{runtime}".lower(), "d", "python", runtime, replicas=count, max_replicas=count,
                    every_s=3600.0, timeout_s=3600.0, config={"target": f"{path}:{kind}"},
                )
            )  # fmt: skip

    with a_manager(prepare) as (nova, pid):
        busy = THREADS - THREADS // 2 + PROCESSES - PROCESSES // 2
        until(lambda: _count(nova, "running") == busy and _count(nova, "waiting") == THREADS + PROCESSES - busy, 180)
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        began = time.monotonic()
        done = stop(nova.settings, BAR_S)
        took = time.monotonic() - began
        left = [process.pid for process in family if process.is_running() and process.status() != "zombie"]
        open_runs = sum(run.ended_at is None for name in nova.fleet.snapshot().deployments
                        for run in nova.ledger.runs.recent(name, 2000))  # fmt: skip
    print(
        f"stopped {THREADS} thread and {PROCESSES} process instances ({busy} busy, {DEAF} deaf to TERM, "
        f"{len(family)} processes) in {took:.1f} s (bar {BAR_S:g} s); "
        f"killed managers: {len(done.killed)}, processes left: {len(left)}, open runs: {open_runs}"
    )
    sys.exit(took > BAR_S or bool(done.killed or left or open_runs))


def _count(nova: Nova, state: str) -> int:
    return sum(row.state == state for row in nova.ledger.instances.all())


if __name__ == "__main__":
    main()
