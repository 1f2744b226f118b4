"""`nova workers status` with 100 deployments: at most 0.5 s with 1,000,000 entries, and within 10 % of 10,000.

Run by hand: python tests/benchmarks/status_time.py [ENTRIES ...]. Both ledgers are filled first; then the real
binary is timed on each in turn, so that what else the machine does meets both alike.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nova.bootstrap import Nova, build
from nova.clock import iso
from nova.config import load_settings
from nova.fleet.documents import Declaration

BAR_S = 0.5
GROWTH = 1.1
DEPLOYMENTS = 100
ROUNDS = 15
NOW = datetime.now(UTC).replace(microsecond=0)


def lines(entries: int) -> Iterator[str]:
    """Thirty days of costs and sales, spread over the deployments, and a run for each pair."""
    draw = random.Random(7)
    for number in range(entries // 2):
        worker = f"worker-{draw.randrange(DEPLOYMENTS):03d}"
        at = iso(NOW - timedelta(seconds=draw.randrange(30 * 86400)))
        for kind, amount in (("cost", "0.10"), ("revenue", "0.35")):
            entry = {"type": "entry", "id": f"{kind}-{number}", "source": "history", "kind": kind, "worker": worker}
            yield json.dumps({**entry, "amount": amount, "currency": "USD", "at": at}) + "\n"


def fill(nova: Nova, entries: int) -> None:
    for number in range(DEPLOYMENTS):
        name = f"worker-{number:03d}"
        nova.fleet.deploy(Declaration(name=name, department="research", agent="shell", config={"command": "true"}))
    nova.ledger.transfer.import_lines(lines(entries))


def home_with(folder: Path, entries: int) -> dict[str, str]:
    environment = {"PATH": os.environ["PATH"], "NOVA_HOME": str(folder / f"home-{entries}")}
    nova = build(load_settings(environment, cwd=folder))
    start = time.perf_counter()
    try:
        fill(nova, entries)
    finally:
        nova.close()
    print(f"{entries:,} entries written in {time.perf_counter() - start:.1f} s", flush=True)
    return environment


def status_s(environment: dict[str, str]) -> float:
    command = [str(Path(sys.executable).with_name("nova")), "workers", "status"]
    start = time.perf_counter()
    subprocess.run(command, env=environment, cwd=environment["NOVA_HOME"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main(sizes: list[int]) -> int:
    with tempfile.TemporaryDirectory() as name:
        homes = {entries: home_with(Path(name), entries) for entries in sizes}
        for environment in homes.values():
            status_s(environment)
        rounds = [[status_s(environment) for environment in homes.values()] for _ in range(ROUNDS)]
    medians = dict(zip(sizes, map(statistics.median, zip(*rounds, strict=True)), strict=True))
    for entries, seconds in medians.items():
        print(f"nova workers status, {DEPLOYMENTS} deployments, {entries:,} entries: {seconds:.3f} s (bar: {BAR_S} s)")
    growth = medians[max(sizes)] / medians[min(sizes)]
    print(f"the largest takes {growth:.2f} times the smallest (bar: {GROWTH})")
    return 0 if max(medians.values()) <= BAR_S and growth <= GROWTH else 1


if __name__ == "__main__":
    sys.exit(main([int(text) for text in sys.argv[1:]] or [10_000, 1_000_000]))
