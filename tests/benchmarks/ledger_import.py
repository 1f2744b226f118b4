"""Measures `ledger import`: entries a second and peak memory, with random ids over 100 workers and a year.

Run: python tests/benchmarks/ledger_import.py [ENTRIES…]
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from nova.clock import SystemClock, iso
from nova.ledger.ledger import Ledger

SIZES = (100_000, 1_000_000)
WORKERS = 100
BAR_PER_S = 25_000
MOST_GROWTH_MB = 64  # SQLite's page cache while it imports
_END = datetime(2026, 6, 1, tzinfo=UTC)


def write_entries(path: Path, count: int, seed: int = 1) -> None:
    draw = random.Random(seed)
    with path.open("w") as out:
        for _ in range(count):
            kind = draw.choice(("revenue", "cost"))
            line = {
                "type": "entry",
                "id": f"{draw.getrandbits(96):024x}",
                "source": "history",
                "kind": kind,
                "worker": f"worker-{draw.randrange(WORKERS)}",
                "amount": f"{draw.randrange(1, 100_000) / 100:.2f}",
                "currency": "USD",
                "at": iso(_END - timedelta(seconds=draw.randrange(365 * 86_400))),
                "attribution": {"model": "direct", "evidence": "import"},
                "note": None,
            }
            out.write(json.dumps(line) + "\n")


def measure(home: Path, lines: Path) -> None:
    """In a process of its own, because peak memory is a process's."""
    ledger = Ledger.open(f"sqlite:///{home / 'ledger.db'}", currency="USD", zone=ZoneInfo("UTC"), clock=SystemClock())
    for name in ("first", "again"):
        began, worked = time.perf_counter(), time.process_time()
        with lines.open("rb") as source:
            imported = ledger.transfer.import_lines(source)
        seconds = time.perf_counter() - began
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        cpu_us = round(1e6 * (time.process_time() - worked) / imported.lines, 1)
        counts = {
            "cpu_us": cpu_us,
            "new": imported.new,
            "duplicate": imported.duplicate,
            "rejected": imported.rejections,
        }
        speed = {"per_s": round(imported.lines / seconds), "peak_mb": round(peak_mb)}
        print(json.dumps({"pass": name, **speed, **counts}))
    ledger.close()


def main(sizes: list[int]) -> int:
    peaks, slowest = [], float("inf")
    for count in sizes:
        with tempfile.TemporaryDirectory() as name:
            home = Path(name)
            write_entries(home / "entries.jsonl", count)
            command = [sys.executable, __file__, "--measure", str(home), str(home / "entries.jsonl")]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            passes = [json.loads(line) for line in done.stdout.splitlines()]
            for line in passes:
                shown = f"{line['per_s']:>7} entries/s ({line['cpu_us']} µs of a core each), peak {line['peak_mb']} MB"
                print(f"{count:>9} entries, {line['pass']}: {shown}, {line['new']} new, {line['duplicate']} duplicate")
            peaks.append(passes[0]["peak_mb"])
            slowest = min(slowest, passes[0]["per_s"])
    growth = max(peaks) - min(peaks)
    print(f"slowest {slowest:.0f} entries/s (bar {BAR_PER_S})")
    print(f"memory grew by {growth} MB (bar {MOST_GROWTH_MB}, the page cache)")
    return 0 if slowest >= BAR_PER_S and growth <= MOST_GROWTH_MB else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        raise SystemExit(main([int(text) for text in sys.argv[1:]] or list(SIZES)))
