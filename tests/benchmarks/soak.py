"""Three managers under random faults, as long as you like; then every invariant is checked, and memory must be flat.

`soak.py [--minutes 10] [--seed N] [--longest-lock 35]`. A manager that is never killed is watched for its memory.
Exit code 1 where something did not hold; the same seed strikes in the same order.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from rig import until
from soak_cast import STEADY, deploy, traders
from soak_checks import broken
from soak_faults import DEPARTMENTS, Strikes

from nova.bootstrap import Nova, build
from nova.config import load_settings
from nova.money import Money
from workers.control import running_managers, start_background, stop
from workers.lock import ManagerInfo

_STEEP = 20.0  # MB an hour; in its first half an hour SQLite's caches fill, 2 MB for each connection
_LONG_H = 0.08  # a shorter look tells nothing of a slope


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--longest-lock", type=float, default=35.0)
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.minutes:g} minutes", flush=True)
    with tempfile.TemporaryDirectory(prefix="nova-soak-") as folder:
        os.environ.update({"NOVA_HOME": folder, "WORKER_MAX_CRASHES": "100000"})
        nova = build(load_settings(cwd=Path(folder)))
        deploy(nova, Path(folder))
        problems = _soak(nova, Path(folder), options)
        nova.close()
    print("every invariant holds" if not problems else "NOT HELD:\n" + "\n".join(f"- {one}" for one in problems))
    sys.exit(bool(problems))


def _soak(nova: Nova, home: Path, options: argparse.Namespace) -> list[str]:
    strikes = Strikes(nova, random.Random(options.seed), options.longest_lock)
    watch = _Watch(start_background(nova.settings, STEADY))
    for department in DEPARTMENTS[1:]:
        start_background(nova.settings, department)
    nova.fleet.set_budget("department:tight", "day", Money.parse(f"{strikes.limit:.6f}", "USD"))
    end = time.monotonic() + options.minutes * 60
    try:
        next_at = time.monotonic() + 5.0
        while time.monotonic() < end:
            watch.look(running_managers(nova.settings))
            strikes.undo()
            if time.monotonic() >= next_at:
                strikes.strike()
                next_at = time.monotonic() + strikes.chance.uniform(0.3, 3.0)
            time.sleep(0.2)
        strikes.settle()
        _all_work_again(nova)
        watch.look(running_managers(nova.settings))
    finally:
        killed = stop(nova.settings, 60.0).killed
    print(f"faults: {', '.join(f'{name} {count}' for name, count in sorted(strikes.counts.items()))}")
    totals = nova.ledger.runs.totals().values()
    print(
        f"runs: {sum(one.succeeded for one in totals)} succeeded, {sum(one.failed for one in totals)} failed, "
        f"{sum(one.interrupted for one in totals)} interrupted"
    )
    problems = [*strikes.problems, *broken(nova, home, watch.seen, strikes.limit), *watch.problems()]
    return [*problems, *(f"the manager {pid} did not stop by itself" for pid in killed)]


def _all_work_again(nova: Nova) -> None:
    live = [name for name, department, *_ in traders() if department != "tight"]
    for name in live:
        nova.fleet.resume(name)
    before = nova.ledger.runs.totals()
    until(lambda: all(nova.ledger.runs.totals()[name].succeeded > before[name].succeeded + 2 for name in live), 120)


class _Watch:
    """Every process there ever was below the managers, and what the manager that is never killed holds over time."""

    def __init__(self, manager: int) -> None:
        self.seen: dict[int, float] = {}
        self._manager = psutil.Process(manager)
        self._began = time.monotonic()
        self._samples: list[tuple[float, float, int, int]] = []  # hours, MB, descriptors, threads

    def look(self, managers: list[ManagerInfo]) -> None:
        for info in managers:
            try:
                family = [psutil.Process(info.pid), *psutil.Process(info.pid).children(recursive=True)]
                self.seen |= {process.pid: process.create_time() for process in family}
            except psutil.Error:
                continue
        manager = self._manager
        hours = (time.monotonic() - self._began) / 3600
        try:
            memory = manager.memory_info().rss / 1e6
            self._samples.append((hours, memory, manager.num_fds(), manager.num_threads()))
        except psutil.Error:
            return

    def problems(self) -> Iterator[str]:
        """Prints the slope; Theil and Sen's, because a sample now and then stands far out. The first third warms up."""
        from scipy.stats import theilslopes

        kept = self._samples[len(self._samples) // 3 :]
        slope, _, low, high = theilslopes([one[1] for one in kept], [one[0] for one in kept], 0.95)
        first, last = kept[0], kept[-1]
        print(
            f"the manager's memory: {first[1]:.1f} to {last[1]:.1f} MB, slope {slope:+.1f} MB/h "
            f"(95 %: {low:+.1f} to {high:+.1f}); descriptors {first[2]} to {last[2]}, threads {first[3]} to {last[3]}"
        )
        if low > _STEEP and kept[-1][0] - kept[0][0] > _LONG_H:
            yield f"the manager's memory grows by {low:.1f} MB an hour or more"
        if last[2] > first[2] + 30:
            yield f"the manager's descriptors grow from {first[2]} to {last[2]}"


if __name__ == "__main__":
    main()
