"""A decision cycle over 1,000 deployments and 1,000,000 entries: at most 2 s.

Run by hand: PYTHONPATH=. python tests/benchmarks/cycle.py [DEPLOYMENTS] [ENTRIES]. It prints the bar and what it took.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nova.autonomous.cycle import run_cycle
from nova.autonomous.explain import status
from nova.clock import ManualClock, iso
from nova.config import Settings, load_settings
from nova.fleet.documents import Declaration
from nova.fleet.fleet import Fleet
from nova.fleet.transitions import declared
from nova.ledger.ledger import Ledger
from nova.ledger.runs import RunRecord, import_runs

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
DAYS = 30
BAR_S = 2.0


@dataclass
class Office:
    settings: Settings
    clock: ManualClock
    fleet: Fleet
    ledger: Ledger
    alerts: None = None


def fill(office: Office, deployments: int, entries: int) -> None:
    chance = random.Random(1)
    with office.fleet._changing() as db:  # one write instead of a thousand
        for i in range(deployments):
            asked = Declaration(f"w{i}", f"d{i % 7}", "shell", every_s=3600, config={"command": "true"})
            one = declared(asked, NOW)
            db.documents("deployments").put(one.name, one.to_document())
    office.fleet.set_autonomous(True)
    office.fleet.set_policy({"max_daily_budget": "1000000", "require_approval_above": "1000000"})
    office.ledger.transfer.import_lines(lines(deployments, entries, chance))
    per_worker = entries // deployments // 2
    for i in range(deployments):
        records = []
        for k in range(per_worker):
            at = NOW - timedelta(days=DAYS) * ((k + 0.5) / per_worker)
            records.append(RunRecord(f"{i}-{k}", f"w{i}", f"w{i}#1", at, at + timedelta(seconds=9), "succeeded"))
        office.ledger.apply(lambda conn, records=records: import_runs(conn, records))


def lines(deployments: int, entries: int, chance: random.Random) -> Iterator[str]:
    per_worker = entries // deployments // 2
    roi = [chance.choice((0.4, 1.5, 2.2, 3.0, 3.5, 3.9, 6.0)) for _ in range(deployments)]
    for k in range(per_worker):
        at = iso(NOW - timedelta(days=DAYS) * ((k + 0.5) / per_worker))
        for i in range(deployments):
            for kind, amount in (("cost", 0.1), ("revenue", round(0.1 * roi[i] * chance.uniform(0.5, 1.5), 4))):
                yield (
                    f'{{"type":"entry","id":"{kind}-{i}-{k}","source":"history","kind":"{kind}","worker":"w{i}",'
                    f'"amount":"{amount}","currency":"USD","at":"{at}"}}'
                )


def main() -> None:
    deployments, entries = (int(x) for x in (sys.argv[1:] + ["1000", "1000000"][len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as home:
        settings = load_settings({"NOVA_HOME": home}, Path(home))
        clock = ManualClock(NOW)
        ledger = Ledger.open(settings.database_url, currency="USD", zone=settings.tz, clock=clock)
        office = Office(settings, clock, Fleet(settings.fleet_path, clock, "USD"), ledger)
        started = time.perf_counter()
        fill(office, deployments, entries)
        print(f"filled with {deployments} deployments and {entries} entries in {time.perf_counter() - started:.0f} s")
        for name, options in (("dry run, cold", True), ("dry run", True), ("acting", False), ("acting again", False)):
            started = time.perf_counter()
            result = run_cycle(office, dry_run=options)
            took = time.perf_counter() - started
            kinds = {f"{one.kind} {one.state}" for one in result.decisions}
            counts = {
                kind: sum(f"{one.kind} {one.state}" == kind for one in result.decisions) for kind in sorted(kinds)
            }
            print(f"{name:14} {took:6.2f} s (bar {BAR_S} s)  {counts}")
        started = time.perf_counter()
        status(office)
        print(f"{'status':14} {time.perf_counter() - started:6.2f} s")
        ledger.close()


if __name__ == "__main__":
    main()
