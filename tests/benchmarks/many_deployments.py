"""5,000 deployments declared, all waiting: how soon a manager has them so, and what it uses then.

Bars: 5 s from its start, 5 % of a core. Run by hand: python tests/benchmarks/many_deployments.py [SECONDS [COUNT]].
Every tenth is due by cron. All have run before, so that none is due.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil
from rig import until
from sqlalchemy import text

from nova.bootstrap import Nova, build
from nova.clock import SystemClock
from nova.config import load_settings
from nova.fleet.documents import Declaration
from nova.fleet.terms import Schedule
from nova.ledger.limits import RunRef
from workers.control import start_background, stop

BY_CRON = Schedule(cron="0 3 1 1 *")


def prepare(nova: Nova, count: int) -> None:
    """Through the fleet for one, and then all of them in one write of its file."""
    now = SystemClock().now()
    first = nova.fleet.deploy(
        Declaration("w", "d", "shell", every_s=86_400.0, config={"command": "true"})
    ).deployment.to_document()
    file = nova.settings.fleet_path
    content = json.loads(file.read_text())
    table = content["deployments"] = {}
    for number in range(count):
        name = f"w{number:04d}"
        timing = {"schedule": {"cron": BY_CRON.cron}} if number % 10 == 0 else {}
        table[name] = {**first, **timing, "name": name}
    file.write_text(json.dumps(content))
    for number in range(count):
        name = f"w{number:04d}"
        run = RunRef(f"r{number}", name, f"{name}#1", "d", "before")
        nova.ledger.runs.started(run, now)
        nova.ledger.runs.ended(run, now, "succeeded")


def main(seconds: float = 20.0, count: float = 5000) -> None:
    with tempfile.TemporaryDirectory(prefix="nova-bench-") as folder:
        os.environ["NOVA_HOME"] = folder
        settings = load_settings(cwd=Path(folder))
        filled = build(settings, grouped=True)
        prepare(filled, int(count))
        filled.close()
        nova = build(settings)
        nova.ledger.runs.totals()
        began = time.monotonic()
        pid = start_background(settings)
        up = time.monotonic() - began
        try:
            until(lambda: _waiting(nova) == count, 120)
            all_waiting = time.monotonic() - began
            time.sleep(5)
            process = psutil.Process(pid)
            before, since = sum(process.cpu_times()[:2]), time.monotonic()
            time.sleep(seconds)
            used = 100 * (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - since)
            memory = process.memory_info().rss / 1e6
        finally:
            stop(settings, 20.0)
            nova.close()
    print(
        f"{count:.0f} deployments: up after {up:.2f} s, all waiting after {all_waiting:.2f} s (bar 5); "
        f"idle {used:.2f} % of a core (bar 5), {memory:.0f} MB"
    )


def _waiting(nova: Nova) -> int:
    with nova.ledger.read() as conn:
        return int(conn.execute(text("SELECT count(*) FROM observations WHERE state = 'waiting'")).scalar_one())


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
