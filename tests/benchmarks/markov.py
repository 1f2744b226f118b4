"""Markov's removal effects over 100,000 paths of up to 10 touches by 20 workers: seconds and peak memory.

`python tests/benchmarks/markov.py [PATHS [WORKERS]]`. Aim: at most 10 s and 500 MB.
"""

from __future__ import annotations

import random
import resource
import sys
import time

from nova.revenue.attribution.markov import removal_effects

TOUCHES = 10


def main(paths: int = 100_000, workers: int = 20) -> None:
    rng = random.Random(1)
    names = [f"worker-{n}" for n in range(workers)]
    sold = [tuple(rng.choices(names, k=rng.randint(1, TOUCHES))) for _ in range(paths)]
    started = time.perf_counter()
    effects = removal_effects(sold)
    took = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{paths:,} paths, {workers} workers: {took:.2f} s, peak {peak:.0f} MB, {len(effects)} effects")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
