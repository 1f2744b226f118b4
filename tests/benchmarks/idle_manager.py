"""What a manager with 200 waiting instances uses. Bars: 120 MB, 3 % of a core."""

from __future__ import annotations

import sys
import time

import psutil
from rig import a_manager, until

from nova.bootstrap import Nova
from nova.fleet.documents import Declaration

INSTANCES = 200


def prepare(nova: Nova) -> None:
    for number in range(INSTANCES // 10):
        config = {"command": "true"}
        nova.fleet.deploy(Declaration(f"w{number}", "d", "shell", replicas=10, every_s=3600, config=config))


def main(seconds: float = 20.0) -> None:
    with a_manager(prepare) as (nova, pid):
        until(lambda: sum(row.state == "waiting" for row in nova.ledger.instances.all()) == INSTANCES, 120)
        time.sleep(12)  # until the threads of the first runs are gone
        process = psutil.Process(pid)
        before, since = sum(process.cpu_times()[:2]), time.monotonic()
        time.sleep(seconds)
        used = 100 * (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - since)
        memory, threads = process.memory_info().rss / 1e6, process.num_threads()
    print(f"{INSTANCES} idle instances: {memory:.0f} MB (bar 120), {used:.2f} % of a core (bar 3), {threads} threads")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
