"""Measures what `workers status` asks of the ledger, with 100 deployments and ever more entries.

Run: python tests/benchmarks/status_query.py [ENTRIES…]
"""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from ledger_import import WORKERS, write_entries

from nova.clock import SystemClock
from nova.ledger.ledger import Ledger

SIZES = (10_000, 1_000_000)
TIMES = 30
BAR_MS = 20
MOST_GROWTH = 1.10
NOISE_MS = 1


def ask(url: str) -> None:
    """Opens, asks and closes, as a command does."""
    ledger = Ledger.open(url, currency="USD", zone=ZoneInfo("UTC"), clock=SystemClock())
    ledger.reports.totals()
    ledger.runs.totals()
    scopes = [(f"worker:worker-{number}", "day") for number in range(WORKERS)]
    ledger.budgets.usages([("fleet", "day"), *scopes], datetime.now(UTC))
    ledger.close()


def median_ms(folder: Path, count: int) -> float:
    url = f"sqlite:///{folder / 'ledger.db'}"
    write_entries(folder / "entries.jsonl", count)
    ledger = Ledger.open(url, currency="USD", zone=ZoneInfo("UTC"), clock=SystemClock())
    with (folder / "entries.jsonl").open("rb") as lines:
        ledger.transfer.import_lines(lines)
    ledger.close()
    found = []
    for _ in range(TIMES):
        began = time.perf_counter()
        ask(url)
        found.append(time.perf_counter() - began)
    return 1000 * sorted(found)[TIMES // 2]


def main(sizes: list[int]) -> int:
    medians = []
    for count in sizes:
        with tempfile.TemporaryDirectory() as name:
            medians.append(median_ms(Path(name), count))
        print(f"{count:>9} entries: {medians[-1]:.2f} ms")
    growth = max(medians) / min(medians)
    print(f"slowest {max(medians):.2f} ms (bar {BAR_MS})")
    print(f"{growth:.2f} × the fastest (bar {MOST_GROWTH}, or {NOISE_MS} ms)")
    steady = growth <= MOST_GROWTH or max(medians) - min(medians) <= NOISE_MS
    return 0 if max(medians) <= BAR_MS and steady else 1


if __name__ == "__main__":
    raise SystemExit(main([int(text) for text in sys.argv[1:]] or list(SIZES)))
