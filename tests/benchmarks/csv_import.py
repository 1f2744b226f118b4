"""Measures `revenue import`: 70,000 rows the first time, and again when nothing is new.

Run: python tests/benchmarks/csv_import.py [ROWS]
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROWS = 70_000
FIRST_BAR_S, AGAIN_BAR_S = 4.0, 3.0
_END = datetime(2026, 6, 1, tzinfo=UTC)


def write_rows(path: Path, count: int, seed: int = 1) -> None:
    draw = random.Random(seed)
    with path.open("w") as out:
        out.write("order,day,paid,who,product\n")
        for number in range(count):
            at = _END - timedelta(seconds=draw.randrange(365 * 86_400))
            paid = f"{draw.randrange(100, 100_000) / 100:.2f}"
            out.write(
                f"{draw.getrandbits(64):016x},{at:%Y-%m-%d %H:%M:%S},{paid},worker-{number % 100},plan {number % 7}\n"
            )


def measure(file: Path, home: Path, *flags: str) -> tuple[float, dict[str, object]]:
    """The command as an operator starts it, with the start of Python."""
    command = [
        str(Path(sys.executable).with_name("nova")),
        "revenue",
        "import",
        str(file),
        "--source",
        "shop",
        "--json",
    ]
    command += ["--at-column", "day", "--amount-column", "paid", "--worker-column", "who", *flags]
    began = time.perf_counter()
    done = subprocess.run(
        command, env={**os.environ, "NOVA_HOME": str(home)}, check=True, capture_output=True, text=True
    )
    return time.perf_counter() - began, json.loads(done.stdout)


def main(rows: int) -> int:
    slow = False
    for flags in (("--id-column", "order"), ()):
        with tempfile.TemporaryDirectory() as name:
            file, home = Path(name) / "sales.csv", Path(name) / "home"
            write_rows(file, rows)
            for label, bar in (("first", FIRST_BAR_S), ("again", AGAIN_BAR_S)):
                seconds, document = measure(file, home, *flags)
                counts = {key: document[key] for key in ("rows", "new", "duplicate")}
                print(
                    f"{rows} rows, {'ids' if flags else 'no ids'}, {label}: {seconds:.2f} s (bar {bar:.0f} s) {counts}"
                )
                slow = slow or seconds > bar
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"peak {peak_mb:.0f} MB")
    return 1 if slow else 0


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS))
