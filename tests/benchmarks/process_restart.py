"""kill -9 of a process instance to the first line of its replacement, no backoff due. Bar: median 50 ms or less."""

from __future__ import annotations

import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from rig import until

from nova.clock import SystemClock
from nova.ledger.ledger import Ledger
from workers.agents.registry import resolver
from workers.hosts.base import Spec
from workers.hosts.leash_client import Leash
from workers.hosts.local import LocalHost
from workers.hosts.nursery_client import Nursery
from workers.hosts.services import Services
from workers.instance import Backoff
from workers.logfile import WorkerLogs

# Its first line is the process id, with the moment it was written: a clock that all processes of a machine share.
AGENT = """
import os, time
from workers import BaseWorker

class Sleeper(BaseWorker):
    def run(self, ctx):
        with open(os.environ["NOVA_HOME"] + "/lines", "a") as file:
            file.write(f"{time.monotonic()} {os.getpid()}\\n")
        time.sleep(3600)
"""


def main(times: int = 50) -> int:
    clock = SystemClock()
    with tempfile.TemporaryDirectory(prefix="nova-bench-") as folder:
        home = Path(folder)
        os.environ["NOVA_HOME"] = folder
        (home / "agents").mkdir()
        (home / "agents" / "sleeper.py").write_text(AGENT)
        lines = home / "lines"
        lines.touch()
        url = f"sqlite:///{folder}/ledger.db"
        ledger = Ledger.open(url, currency="USD", zone=ZoneInfo("UTC"), clock=clock, grouped=True)
        logs, leash = WorkerLogs(home / "logs", clock), Leash("m-bench")
        nursery = Nursery("m-bench", leash)
        services = Services("m-bench", ledger, clock, logs, leash, folder, resolver(home), nursery=nursery)
        host = LocalHost(services, starts={}, wake=lambda: None, backoff=Backoff(base_s=0))
        terms: dict[str, Any] = {"every_s": 3600.0, "timeout_s": 3600.0, "config": {}, "limits": ()}
        host.sync({"w#1": Spec("w", "d", "sleeper", "process", 1, 1, **terms)}, time.monotonic() + 3600)

        def first_lines() -> list[list[str]]:
            return [line.split() for line in lines.read_text().splitlines()]

        gaps = []
        for number in range(1, times + 1):
            found = until(lambda number=number: len(told := first_lines()) == number and told)
            killed = time.monotonic()
            os.kill(int(found[-1][1]), signal.SIGKILL)
            after = until(lambda number=number: len(told := first_lines()) > number and told)
            gaps.append(float(after[-1][0]) - killed)
        host.stop(3)
        nursery.close()
        leash.close()
        ledger.close()
        logs.close()
    median = statistics.median(gaps) * 1000
    print(f"kill -9 to the first line of the replacement: median {median:.1f} ms, ", end="")
    print(f"worst {max(gaps) * 1000:.1f} ms of {times} (bar: median 50 ms)")
    return 0 if median <= 50 else 1


if __name__ == "__main__":
    sys.exit(main())
