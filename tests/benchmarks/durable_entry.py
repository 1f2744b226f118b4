"""Measures one durable entry against the disk's own fsync, alone and with many threads sharing the group commit.

Run: python tests/benchmarks/durable_entry.py
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from zoneinfo import ZoneInfo

from nova.clock import SystemClock
from nova.ledger.entries import Entry
from nova.ledger.ledger import Ledger
from nova.money import Money

TIMES = 2000
TURNS = 20
THREADS = 50
MOST_TIMES_FSYNC = 3
_PAGE = b"x" * 4096


def percentile(seconds: list[float], percent: float) -> float:
    """In milliseconds."""
    return 1000 * sorted(seconds)[int(len(seconds) * percent / 100)]


def timed(step: Callable[[int], object], times: int) -> list[float]:
    found = []
    for number in range(times):
        began = time.perf_counter()
        step(number)
        found.append(time.perf_counter() - began)
    return found


def flush(out: BinaryIO) -> None:
    """Appends and flushes as many pages as one entry changes."""
    out.write(_PAGE * 7)
    out.flush()
    os.fsync(out.fileno())


def record(ledger: Ledger, name: str, number: int) -> None:
    entry = Entry(f"{name}-{number}", "worker:mailer", "cost", Money(412, "USD"), datetime.now(UTC), "mailer")
    ledger.entries.record([entry])


def shared(ledger: Ledger) -> tuple[list[float], float]:
    found: list[float] = []

    def work(name: str) -> None:
        found.extend(timed(lambda number: record(ledger, name, number), TIMES // THREADS * 5))

    threads = [threading.Thread(target=work, args=(f"thread-{name}",)) for name in range(THREADS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found, len(found) / (time.perf_counter() - began)


def measure(ledger: Ledger, out: BinaryIO, mode: str) -> float:
    """In turns with the disk, so that what else the machine does meets both."""
    disk: list[float] = []
    entries: list[float] = []
    for turn in range(TURNS):
        disk += timed(lambda _: flush(out), TIMES // TURNS)
        entries += timed(lambda number, turn=turn: record(ledger, f"turn-{turn}", number), TIMES // TURNS)  # type: ignore[misc]
    ratio = percentile(entries, 99) / percentile(disk, 99)
    for name, found in (("fsync of the disk", disk), (f"one entry, {mode}", entries)):
        print(f"{name:<20} p50 {percentile(found, 50):.3f} ms, p99 {percentile(found, 99):.3f} ms")
    print(f"{'':<20} {ratio:.1f} × fsync at the 99th percentile (bar {MOST_TIMES_FSYNC})")
    return ratio


def main() -> int:
    ratios = []
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        for mode in ("single", "grouped"):
            url = f"sqlite:///{Path(name) / mode}.db"
            ledger = Ledger.open(
                url, currency="USD", zone=ZoneInfo("UTC"), clock=SystemClock(), grouped=mode == "grouped"
            )
            record(ledger, "first", 0)
            with (Path(name) / "plain").open("wb") as out:
                ratios.append(measure(ledger, out, mode))
            if mode == "grouped":
                many, per_s = shared(ledger)
                print(f"{THREADS} threads, grouped  p99 {percentile(many, 99):.1f} ms, {per_s:.0f} durable entries/s")
            ledger.close()
    return 0 if max(ratios) <= MOST_TIMES_FSYNC else 1


if __name__ == "__main__":
    raise SystemExit(main())
