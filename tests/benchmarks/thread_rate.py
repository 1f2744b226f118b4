"""1,000 thread instances at one run a second, every run recorded.

Bars: scheduling lag (start minus due) p99 50 ms, 30 % of a core, 250 MB. Run by hand: python
tests/benchmarks/thread_rate.py [SECONDS]. The worker counts its own runs in a file, which must equal the ledger's.
"""

from __future__ import annotations

import sys
import time
from itertools import groupby, pairwise

import psutil
from rig import a_manager, until
from sqlalchemy import text

from nova.bootstrap import Nova
from nova.fleet.documents import Declaration
from workers.control import stop

DEPLOYMENTS, REPLICAS = 100, 10
WARM_UP_S = 20.0
AGENT = """
import os
from workers import BaseWorker, RunContext, RunResult

COUNT = os.open(os.environ["NOVA_HOME"] + "/count", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

class Tick(BaseWorker):
    \"\"\"Counts.\"\"\"
    def run(self, ctx: RunContext) -> RunResult | None:
        os.write(COUNT, b".")
        return None
"""


def prepare(nova: Nova) -> None:
    agents = nova.settings.nova_home / "agents"
    agents.mkdir()
    (agents / "tick.py").write_text(AGENT)
    for number in range(DEPLOYMENTS):
        nova.fleet.deploy(
            Declaration(f"t{number:03d}", "d", "tick.py:Tick", replicas=REPLICAS, max_replicas=REPLICAS, every_s=1.0)
        )


def lags(nova: Nova, since_us: int) -> list[float]:
    """Seconds by which each run began later than one second after the one before it."""
    query = text("SELECT instance, started_us FROM runs WHERE started_us >= :since ORDER BY instance, started_us")
    with nova.ledger.read() as conn:
        rows = conn.execute(query, {"since": since_us}).all()
    starts = [[row.started_us for row in group] for _, group in groupby(rows, key=lambda row: row.instance)]
    return sorted((later - earlier) / 1e6 - 1.0 for each in starts for earlier, later in pairwise(each))


def main(seconds: float = 30.0) -> None:
    with a_manager(prepare) as (nova, pid):
        until(lambda: len(nova.ledger.runs.last_starts()) == DEPLOYMENTS * REPLICAS, 120)
        time.sleep(WARM_UP_S)
        process = psutil.Process(pid)
        before, began, since_us = sum(process.cpu_times()[:2]), time.monotonic(), time.time_ns() // 1000
        time.sleep(seconds)
        used = 100 * (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began)
        memory, threads = process.memory_info().rss / 1e6, process.num_threads()
        late = lags(nova, since_us)
        stop(nova.settings, 20.0)
        made = (nova.settings.nova_home / "count").stat().st_size
        with nova.ledger.read() as conn:
            recorded = conn.execute(text("SELECT count(*) FROM runs WHERE status = 'succeeded'")).scalar_one()
    p50, p99 = (1000 * late[int(len(late) * share)] for share in (0.5, 0.99))
    print(
        f"{DEPLOYMENTS * REPLICAS} instances, {len(late) / (seconds - 1):.0f} runs/s: lag p50 {p50:.1f} ms, "
        f"p99 {p99:.1f} ms (bar 50), most {1000 * late[-1]:.0f} ms; {used:.0f} % of a core (bar 30), "
        f"{memory:.0f} MB (bar 250), {threads} threads; {made} runs made, {recorded} recorded"
    )


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
