"""The budgets against a plain model of them: whatever is done in whatever order, both hold the same."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import func, select

from nova.clock import ManualClock
from nova.errors import LedgerConflict, NotFound, Refused
from nova.ledger.budgets import Budgets, Limit, LimitReached, RunRef
from nova.ledger.deployments import Deployments
from nova.ledger.limits import local_day
from nova.ledger.runs import Runs
from nova.ledger.schema import budget_usage, entries, reservations, run_accounts
from nova.ledger.store import Store
from nova.money import Money

ZONE = ZoneInfo("America/New_York")
LIMITS = {
    ("worker:a", "day"): 3_000_000,
    ("fleet", "day"): 5_000_000,
    ("department:sales", "total"): 8_000_000,
    ("run", "run"): 2_000_000,
}
DEPARTMENTS = {"a": "sales", "b": "sales", "c": "growth"}
amounts = st.integers(1, 2_100_000)
parts = st.sampled_from([0, 1, 333_333, 1_000_000, 1_000_001, 1_700_000])  # millionths of the ceiling
index = st.integers(0, 1000)


@dataclass
class Held:
    run: RunRef
    micros: int
    day: str
    safe: bool
    settled: int | None = None


def limits_of(run: RunRef) -> list[Limit]:
    return [
        Limit(scope, per, Money(most, "USD"))
        for (scope, per), most in LIMITS.items()
        if scope in ("fleet", "run", f"worker:{run.worker}", f"department:{run.department}")
    ]


class Spending(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.home = tempfile.mkdtemp()
        self.clock = ManualClock(datetime(2026, 11, 30, 20, 0, tzinfo=UTC))
        self.store = Store.open(f"sqlite:///{self.home}/ledger.db", currency="USD", zone=ZONE, clock=self.clock)
        self.budgets, self.runs = Budgets(self.store), Runs(self.store)
        for worker, department in DEPARTMENTS.items():
            Deployments(self.store).note(worker, department, "shell")
        self.started: list[RunRef] = []
        self.living: set[str] = set()
        self.held: dict[str, Held] = {}
        self.accounts: dict[tuple[str, str], int] = defaultdict(int)
        self.booked: dict[tuple[str, str], int] = defaultdict(int)
        self.forced: dict[tuple[str, str], int] = defaultdict(int)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.home)

    # The model

    def today(self) -> str:
        return local_day(self.clock.now(), ZONE)

    def usage(self) -> dict[tuple[str, str], tuple[int, int]]:
        spent: dict[tuple[str, str], int] = defaultdict(int)
        reserved: dict[tuple[str, str], int] = defaultdict(int)
        by_id = {run.run: run for run in self.started}
        for sums in (self.accounts, self.booked):
            for (id, day), micros in sums.items():
                for key in by_id[id].keys(day):
                    spent[key] += micros
        for held in self.held.values():
            if held.settled is None:
                for key in held.run.keys(held.day):
                    reserved[key] += held.micros
        keys = {key for key in (*spent, *reserved) if key[1] != "run" or key[0].removeprefix("run:") in self.living}
        return {key: (spent[key], reserved[key]) for key in keys if spent[key] or reserved[key]}

    def allowed(self, run: RunRef, asked: int) -> bool:
        usage = self.usage()
        return all(
            sum(usage.get(limit.key(run, self.today()), (0, 0))) + asked <= limit.amount.micros
            for limit in limits_of(run)
        )

    def force(self, run: RunRef, micros: int) -> None:
        for key in run.keys(self.today()):
            self.forced[key] += micros

    def finish(self, run: RunRef) -> None:
        self.living.discard(run.run)
        for key, held in list(self.held.items()):
            if held.run == run:
                if held.settled is None and not held.safe:
                    self.accounts[run.run, held.day] += held.micros
                del self.held[key]
        for account in [account for account in self.accounts if account[0] == run.run]:
            self.booked[account] += self.accounts.pop(account)

    def pick(self, at: int) -> RunRef:
        return self.started[at % len(self.started)]

    # The steps

    @rule(worker=st.sampled_from("abc"), manager=st.sampled_from(["m1", "m2"]))
    def start(self, worker: str, manager: str) -> None:
        number = len(self.started)
        run = RunRef(f"r{number}", worker, f"{worker}#1", DEPARTMENTS[worker], manager)
        self.runs.started(run, self.clock.now())
        self.started.append(run)
        self.living.add(run.run)

    @precondition(lambda self: self.started)
    @rule(at=index, micros=amounts)
    def spend(self, at: int, micros: int) -> None:
        run, amount = self.pick(at), Money(micros, "USD")
        if run.run not in self.living:
            with pytest.raises(Refused):
                self.budgets.spend(run, amount, limits_of(run))
        elif self.allowed(run, micros):
            self.budgets.spend(run, amount, limits_of(run))
            self.accounts[run.run, self.today()] += micros
        else:
            with pytest.raises(LimitReached):
                self.budgets.spend(run, amount, limits_of(run))

    @precondition(lambda self: self.started)
    @rule(at=index, micros=amounts)
    def spent(self, at: int, micros: int) -> None:
        run = self.pick(at)
        booked = self.budgets.spent(run, Money(micros, "USD"), limits_of(run))
        target = self.accounts if run.run in self.living else self.booked
        target[run.run, self.today()] += micros
        self.force(run, micros)
        usage = self.usage()
        broken = [
            limit
            for limit in limits_of(run)
            if usage.get(limit.key(run, self.today()), (0, 0))[0] > limit.amount.micros
        ]
        assert [breach.limit for breach in booked.breaches] == broken

    @precondition(lambda self: self.started)
    @rule(at=index, micros=amounts, safe=st.booleans())
    def reserve(self, at: int, micros: int, safe: bool) -> None:
        run, amount = self.pick(at), Money(micros, "USD")
        if run.run in self.living and self.allowed(run, micros):
            key = self.budgets.reserve(run, amount, limits_of(run), release_on_death=safe)
            self.held[key] = Held(run, micros, self.today(), safe)
        else:
            with pytest.raises(Refused):
                self.budgets.reserve(run, amount, limits_of(run))

    @precondition(lambda self: self.held)
    @rule(at=index, part=parts)
    def settle(self, at: int, part: int) -> None:
        key = sorted(self.held)[at % len(self.held)]
        held = self.held[key]
        micros = held.micros * part // 1_000_000
        amount = Money(micros, "USD")
        if held.settled not in (None, micros):
            with pytest.raises(LedgerConflict):
                self.budgets.settle(key, amount, limits_of(held.run))
            return
        self.budgets.settle(key, amount, limits_of(held.run))
        if held.settled is None:
            held.settled = micros
            within = min(micros, held.micros)
            self.accounts[held.run.run, held.day] += within
            self.accounts[held.run.run, self.today()] += micros - within
            self.force(held.run, micros - within)

    @precondition(lambda self: self.started)
    @rule(at=index, status=st.sampled_from(["succeeded", "failed"]))
    def end(self, at: int, status: str) -> None:
        run = self.pick(at)
        assert self.runs.end(run, self.clock.now(), status) is (run.run in self.living)
        if run.run in self.living:
            gone = [key for key, held in self.held.items() if held.run == run]
            self.finish(run)
            for key in gone[:1]:
                with pytest.raises(NotFound):
                    self.budgets.settle(key, Money(1, "USD"))

    @rule(manager=st.sampled_from(["m1", "m2"]))
    def die(self, manager: str) -> None:
        dead = [run for run in self.started if run.manager == manager and run.run in self.living]
        found = self.runs.recover([manager])
        assert {run.id for run in found.runs} == {run.run for run in dead}
        for run in dead:
            self.finish(run)

    @rule(minutes=st.sampled_from([-60, 1, 30, 240]))
    def pass_time(self, minutes: int) -> None:
        self.clock.advance(minutes * 60)

    # What must hold after every step

    @invariant()
    def both_hold_the_same(self) -> None:
        with self.store.read() as conn:
            usage = {
                (row.scope, row.window): (row.spent_micros, row.reserved_micros)
                for row in conn.execute(select(budget_usage))
                if row.spent_micros or row.reserved_micros
            }
            costs = {
                (row.worker, row.micros)
                for row in conn.execute(
                    select(entries.c.worker, func.sum(entries.c.booked_micros).label("micros")).group_by(
                        entries.c.worker
                    )
                )
            }
            unbooked = conn.execute(select(func.coalesce(func.sum(run_accounts.c.micros), 0))).scalar_one()
            kept = conn.execute(select(func.count()).select_from(reservations)).scalar_one()
        assert usage == self.usage()
        worker_of = {run.run: run.worker for run in self.started}
        sums: dict[str, int] = defaultdict(int)
        for (id, _), micros in self.booked.items():
            sums[worker_of[id]] += micros
        assert costs == {(worker, micros) for worker, micros in sums.items() if micros}
        assert unbooked == sum(self.accounts.values()) and kept == len(self.held)

    @invariant()
    def no_limit_is_overshot_but_by_money_that_was_gone(self) -> None:
        for (scope, window), sums in self.usage().items():
            most = LIMITS.get(("run" if window == "run" else scope, window.split(":")[0]))
            if most is not None:
                assert sum(sums) <= most + self.forced[scope, window]


TestSpending = Spending.TestCase
TestSpending.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
