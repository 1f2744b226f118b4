"""Fifty workers over sixty days with few sales that are paid late: bare thresholds against nova's engine.

Run by hand: PYTHONPATH=. python tests/benchmarks/engine_simulation.py [SEEDS]. Everything is seeded, and the table is
what docs/deciding.md quotes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from nova.autonomous.decision import Kind
from nova.autonomous.engine import decide
from nova.autonomous.evidence import Evidence, SaleSize, StepEvidence, Window
from nova.autonomous.interval import Takings
from nova.autonomous.policy import Policy
from nova.money import MICROS, Money

WORKERS, DAYS, RUNS_A_DAY, MOST = 50, 60, 24, 8
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass(slots=True)
class Worker:
    """`demand` is how many replicas find customers; more only cost. ROI is that of a replica within the demand."""

    name: str
    roi: float
    cost: float
    size: float
    delay: float
    demand: int
    replicas: int = 1
    alive: bool = True
    paused_on: int | None = None
    probing_on: int | None = None
    poor_days: int = 0
    step: tuple[int, int, int] | None = None
    served: list[int] = field(default_factory=list)
    sales: list[tuple[float, float]] = field(default_factory=list)  # (paid on day, amount)
    earned: float = 0.0

    def best(self) -> float:
        """What the best fixed size earns over all the days; nothing where none earns."""
        gain = self.cost * self.roi / 100
        return max(0.0, DAYS * gain * min(self.demand, MOST))

    def live(self, day: int, random: np.random.Generator) -> None:
        running = self.replicas if self.alive and self.paused_on is None else 0
        self.served.append(running)
        rate = self.cost * (1 + self.roi / 100) * min(running, self.demand) / self.size
        amounts = random.lognormal(-0.32, 0.8, random.poisson(rate)) * self.size
        paid = day + random.random(len(amounts)) + random.exponential(self.delay, len(amounts))
        self.sales += list(zip(paid.tolist(), amounts.tolist(), strict=True))
        self.earned += self.cost * (1 + self.roi / 100) * min(running, self.demand) - running * self.cost


def population(seed: int) -> tuple[list[Worker], np.random.Generator]:
    random = np.random.default_rng(seed)
    made = []
    for i in range(WORKERS):
        roi = float(random.choice([random.uniform(-90, 0), random.uniform(0, 150), random.uniform(150, 700)]))
        cost = float(random.uniform(1, 6))
        size = cost * float(random.uniform(0.5, 12))
        delay = float(random.uniform(0.5, 5))
        made.append(Worker(f"w{i}", roi, cost, size, delay, int(random.integers(1, MOST + 1))))
    return made, random


def window(worker: Worker, first: int, last: int) -> Window:
    """What is on the books at the end of day `last` about the days from `first`."""
    first = max(first, 0)
    came = Takings.of(amount for paid, amount in worker.sales if first <= paid < last)
    days = worker.served[first:last]
    return Window(
        START + first * DAY,
        START + last * DAY,
        Money(round(sum(days) * worker.cost * MICROS), "USD"),
        Money(round(came.total * MICROS), "USD"),
        succeeded=RUNS_A_DAY * sum(days),
        sales=came,
    )


Engine = Callable[[Worker, int, list[Worker]], None]


def bare(worker: Worker, day: int, _: list[Worker]) -> None:
    """The thresholds on lifetime ROI after twenty runs."""
    if not worker.alive or worker.paused_on is not None:
        return
    roi = window(worker, 0, day).roi
    if roi is None:
        return
    if roi < 0:
        worker.alive = False
    elif roi < 150:
        worker.paused_on = day
    elif roi > 300:
        worker.replicas = min(MOST, worker.replicas * 2)


def knowing(worker: Worker, _: int, __: list[Worker]) -> None:
    """The thresholds on the true ROI and the true demand: no engine can do better with them."""
    if worker.roi < 0:
        worker.alive = False
    elif worker.roi > 300:
        worker.replicas = worker.demand


def nova(policy: Policy) -> Engine:
    lag = policy.attribution_lag // DAY
    span = policy.window // DAY

    def act(worker: Worker, day: int, fleet: list[Worker]) -> None:
        if not worker.alive:
            return
        decision = decide(evidence(worker, day, fleet), policy, START + day * DAY)
        if decision.kind is Kind.KILL:
            worker.alive = False
        elif decision.kind is Kind.PAUSE:
            worker.paused_on, worker.probing_on = day, None
        elif decision.kind is Kind.RESUME:
            worker.paused_on, worker.probing_on, worker.replicas, worker.step = None, day, 1, None
        elif decision.kind in (Kind.SCALE_UP, Kind.SCALE_DOWN):
            worker.step = (day, worker.replicas, decision.to_replicas)
            worker.replicas = decision.to_replicas

    def evidence(worker: Worker, day: int, fleet: list[Worker]) -> Evidence:
        last = worker.paused_on if worker.paused_on is not None else max(day - lag, 0)
        first = max(last - span, worker.probing_on or 0)
        seen = window(worker, first, last)
        paid = [amount for at, amount in worker.sales if at < day]
        others = paid or [amount for other in fleet for at, amount in other.sales if at < day]
        total = sum(others)
        earlier = [window(worker, first - span * i, first - span * (i - 1)) for i in (1, 2) if first - span * i >= 0]
        return Evidence(
            worker=worker.name,
            department="all",
            state="active" if worker.paused_on is None else "paused",
            pause_reason=None if worker.paused_on is None else "roi",
            state_since=START + (worker.paused_on or 0) * DAY,
            replicas=worker.replicas,
            max_replicas=MOST,
            window=seen,
            replica_time=sum(worker.served[first:last]) * DAY,
            budget_left=Money(10**12, "USD"),
            first_run_at=START,
            earlier=tuple(earlier),
            sale_size=SaleSize(sum(x * x for x in others) / total, "own" if paid else "fleet") if total else None,
            last_step=step(worker, last, span),
            probing_since=START + worker.probing_on * DAY if worker.probing_on is not None else None,
        )

    def step(worker: Worker, last: int, span: int) -> StepEvidence | None:
        if worker.step is None:
            return None
        at, before, after = worker.step
        seen = window(worker, max(at, last - span), last) if last > at else window(worker, at, at)
        return StepEvidence(START + at * DAY, before, after, window(worker, at - span, at), seen)

    return act


def play(engine: Engine, seed: int) -> tuple[int, int, float, float]:
    """How many truly exceed 150 %, how many of these were ended or paused, what was earned and what could have been."""
    fleet, random = population(seed)
    for day in range(DAYS):
        for worker in fleet:
            worker.live(day, random)
        for worker in fleet:
            engine(worker, day + 1, fleet)
    good = [worker for worker in fleet if worker.roi > 150]
    lost = sum(not worker.alive or worker.paused_on is not None for worker in good)
    return len(good), lost, sum(worker.earned for worker in fleet), sum(worker.best() for worker in fleet)


def main() -> None:
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    money = Money.parse("100000", "USD")
    defaults = Policy(require_approval_above=money, max_daily_budget=money)
    engines = {"thresholds on the truth": knowing, "bare thresholds": bare, "nova, as installed": nova(defaults)}
    for lag in ("3d", "7d"):
        engines[f"nova, attribution_lag {lag}"] = nova(Policy.from_overrides(defaults, {"attribution_lag": lag}))
    engines["nova, lag 3d and window 14d"] = nova(
        Policy.from_overrides(defaults, {"attribution_lag": "3d", "window": "14d"})
    )
    print(
        f"{WORKERS} workers, {DAYS} days, {len(seeds)} seeds; lost: ended or paused though the true ROI exceeds 150 %"
    )
    print(f"{'':30}{'good':>6}{'lost':>6}{'':>7}{'profit kept':>14}")
    for name, engine in engines.items():
        good, lost, earned, best = np.sum([play(engine, seed) for seed in seeds], axis=0)
        print(f"{name:30}{good:6.0f}{lost:6.0f}{lost / good:7.0%}{earned / best:14.0%}")


if __name__ == "__main__":
    main()
