"""Measures what `workers status` asks of the ledger, with 100 deployments and ever more entries: the fastest of many.

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


def fastest_ms(folder: Path, count: int) -> float:
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
    return 1000 * min(found)


def main(sizes: list[int]) -> int:
    fastest = []
    for count in sizes:
        with tempfile.TemporaryDirectory() as name:
            fastest.append(fastest_ms(Path(name), count))
        print(f"{count:>9} entries: {fastest[-1]:.2f} ms")
    growth = fastest[-1] / fastest[0]
    print(f"slowest {max(fastest):.2f} ms (bar {BAR_MS})")
    print(f"{growth:.2f} × as long as with the fewest (bar {MOST_GROWTH}, or {NOISE_MS} ms)")
    steady = growth <= MOST_GROWTH or fastest[-1] - fastest[0] <= NOISE_MS
    return 0 if max(fastest) <= BAR_MS and steady else 1


if __name__ == "__main__":
    raise SystemExit(main([int(text) for text in sys.argv[1:]] or list(SIZES)))
