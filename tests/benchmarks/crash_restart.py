"""How long from a crash to the next attempt where no backoff is due. Bar: at most 100 ms."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from rig import until

from nova.clock import SystemClock
from nova.ledger.ledger import Ledger
from workers import BaseWorker, RunContext
from workers.hosts.base import Spec
from workers.hosts.leash_client import Leash
from workers.hosts.local import LocalHost
from workers.hosts.services import Services
from workers.instance import Backoff
from workers.logfile import WorkerLogs

crashed: list[float] = []
begun: list[float] = []


class Crasher(BaseWorker):
    def run(self, ctx: RunContext) -> None:
        begun.append(time.monotonic())
        crashed.append(time.monotonic())
        raise ValueError("again")


def main(times: int = 200) -> None:
    clock = SystemClock()
    with tempfile.TemporaryDirectory(prefix="nova-bench-") as folder:
        url = f"sqlite:///{folder}/ledger.db"
        ledger = Ledger.open(url, currency="USD", zone=ZoneInfo("UTC"), clock=clock, grouped=True)
        logs, leash = WorkerLogs(Path(folder) / "logs", clock), Leash("m-bench")
        services = Services("m-bench", ledger, clock, logs, leash, folder, lambda agent, config: (Crasher, config))
        host = LocalHost(services, starts={}, wake=lambda: None, backoff=Backoff(base_s=0))
        spec: dict[str, Any] = {"every_s": 3600.0, "timeout_s": 60.0, "config": {}, "limits": ()}
        host.sync({"w#1": Spec("w", "d", "crasher", "thread", 1, 1, **spec)}, time.monotonic() + 3600)
        until(lambda: len(begun) > times)
        host.stop(2)
        ledger.close()
        logs.close()
    gaps = sorted(after - before for before, after in zip(crashed, begun[1:], strict=False))[:times]
    print(
        f"crash to next attempt: median {statistics.median(gaps) * 1000:.2f} ms, "
        f"worst {gaps[-1] * 1000:.1f} ms (bar 100 ms)"
    )


if __name__ == "__main__":
    main()
