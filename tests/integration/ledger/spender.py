"""One of several processes that spend against the same budget from many threads, in rounds, until all are refused.

Usage: spender.py DATABASE NAME THREADS. It answers `ready`; then every line on stdin lets each thread pay once, all at
the same time, which it answers with `paid` or, when all were refused, with the millionths it was granted.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from zoneinfo import ZoneInfo

from nova.clock import SystemClock
from nova.ledger.budgets import Budgets, Limit, LimitReached, RunRef
from nova.ledger.runs import Runs
from nova.ledger.store import Store
from nova.money import Money

LIMIT = Limit("fleet", "month", Money.parse("10.00", "USD"))
PRICES = [Money.parse(price, "USD") for price in ("0.0077", "0.0133", "0.003109")]


def pay(budgets: Budgets, run: RunRef, price: Money, number: int) -> int:
    """Known prices and reservations in turn; of some reservations only a part is used, some are freed."""
    if number % 2:
        budgets.spend(run, price, [LIMIT])
        return price.micros
    actual = Money(price.micros * (number % 3) // 2, "USD")
    key = budgets.reserve(run, price, [LIMIT])
    if actual and actual <= price:
        budgets.settle(key, actual, [LIMIT])
        return actual.micros
    budgets.release(key)
    return 0


class Spender:
    """One thread's part; None from `pay` when it was refused and nothing is held that could come free again."""

    def __init__(self, budgets: Budgets, run: RunRef, price: Money) -> None:
        self.budgets = budgets
        self.run = run
        self.price = price
        self.granted = 0
        self.rounds = 0

    def pay(self) -> Spender | None:
        self.rounds += 1
        try:
            self.granted += pay(self.budgets, self.run, self.price, self.rounds)
        except LimitReached as refusal:
            return self if refusal.reserved else None
        return self


def main(database: str, name: str, threads: int) -> None:
    store = Store.open(database, currency="USD", zone=ZoneInfo("UTC"), clock=SystemClock(), grouped=True)
    budgets, runs = Budgets(store), Runs(store)
    refs = [RunRef(f"{name}-{number}", name, f"{name}#{number}", "sales", name) for number in range(threads)]
    for ref in refs:
        runs.started(ref, store.clock.now())
    spenders = [Spender(budgets, ref, PRICES[number % len(PRICES)]) for number, ref in enumerate(refs)]
    spending: list[Spender] = spenders
    print("ready", flush=True)
    with ThreadPoolExecutor(threads) as pool:
        while spending and sys.stdin.readline():
            spending = [spender for spender in pool.map(Spender.pay, spending) if spender is not None]
            if spending:
                print("paid", flush=True)
    for ref in refs:
        runs.ended(ref, store.clock.now(), "succeeded")
    store.close()
    print(sum(spender.granted for spender in spenders), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
