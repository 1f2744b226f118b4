from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from nova.clock import ManualClock
from nova.errors import Unreachable
from nova.fleet.documents import Declaration
from nova.fleet.fleet import Fleet
from nova.fleet.terms import Breaker, HealthRules
from nova.ledger.entries import Entry
from nova.ledger.ledger import Ledger
from nova.ledger.limits import RunRef
from nova.money import MICROS, Money
from workers.breaker import Trip
from workers.normals import Meter, Normals

NOON = datetime(2026, 4, 10, 12, tzinfo=UTC)
DIME = MICROS // 10


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def ledger(home: Path, clock: ManualClock) -> Iterator[Ledger]:
    opened = Ledger.open(f"sqlite:///{home / 'ledger.db'}", currency="USD", zone=ZoneInfo("UTC"), clock=clock)
    yield opened
    opened.close()


class Bench:
    """Runs that meter themselves as the desk does."""

    def __init__(self, home: Path, ledger: Ledger, clock: ManualClock) -> None:
        self.ledger, self.clock = ledger, clock
        self.fleet = Fleet(home / "fleet.json", clock, "USD")
        self.fleet.deploy(Declaration("w", "d", "shell", health=HealthRules()))
        self.number = 0
        self.restart()

    def restart(self) -> None:
        """As a manager that knows nothing but what the ledger does."""
        self.normals = Normals(self.ledger, self.clock)
        self.look()

    def look(self) -> None:
        self.normals.watch(self.fleet.snapshot())

    def run(self, micros: int, status: str = "succeeded", *, replica: int = 1, every_s: float = 60.0) -> Trip | None:
        """Why it has to be stopped, where it has to be."""
        self.number += 1
        self.clock.advance(every_s)
        ref = RunRef(f"r{self.number}", "w", f"w#{replica}", "d", "m")
        meter = self.meter(replica)
        self.ledger.runs.started(ref, self.clock.now())
        booked = self.ledger.budgets.spent(ref, Money(micros, "USD")) if micros else None
        trip = meter.took(booked.total) if booked is not None and booked.total is not None else None
        if status == "succeeded":
            meter.succeeded(micros)
        self.ledger.runs.ended(ref, self.clock.now(), status)
        return trip

    def meter(self, replica: int = 1) -> Meter:
        return self.normals.meter("w", f"w#{replica}", self.clock.now())

    def runs(self, count: int, micros: int = DIME, **more: Any) -> None:
        for _ in range(count):
            assert self.run(micros, **more) is None


@pytest.fixture
def bench(home: Path, ledger: Ledger, clock: ManualClock) -> Bench:
    return Bench(home, ledger, clock)


def test_the_tenth_run_sets_what_is_normal(bench: Bench) -> None:
    bench.runs(9)
    assert bench.run(50 * DIME) is None, "too few to say"
    trip = bench.run(50 * DIME)
    assert trip is not None and trip.evidence["normal"] == "0.10"


def test_a_run_is_stopped_in_its_middle(bench: Bench) -> None:
    bench.runs(12)
    meter = bench.meter()
    assert [meter.took(n * DIME) is None for n in (1, 2, 3, 4)] == [True, True, True, False]
    assert bench.meter().weigh(3 * DIME) is None and bench.meter().weigh(4 * DIME) is not None


def test_a_restarted_manager_knows_what_was_normal(bench: Bench) -> None:
    bench.runs(12)
    assert bench.ledger.runs.get("r1").status == "succeeded"
    bench.restart()
    assert bench.run(4 * DIME) is not None


def test_runs_that_cost_nothing_failed_or_were_stopped_are_not_what_is_normal(bench: Bench) -> None:
    bench.runs(12)
    for status, micros in (("succeeded", 0), ("failed", DIME // 50), ("interrupted", DIME // 50)):
        for _ in range(20):
            bench.run(micros, status)
    for _ in range(2):
        assert bench.run(3 * DIME) is None
        bench.restart()


def test_another_pace_and_a_persons_word_make_another_normal(bench: Bench, clock: ManualClock) -> None:
    for change in (
        lambda: bench.fleet.scale("w", 4),
        lambda: bench.fleet.configure("w", {"model": "large"}, {}),
        lambda: (bench.fleet.pause("w", "budget"), bench.fleet.resume("w", clock.now(), override=True)),
    ):
        bench.runs(12)
        assert bench.meter().weigh(40 * DIME) is not None
        change()
        bench.look()
        assert bench.run(40 * DIME) is None
        bench.restart()
        assert bench.run(40 * DIME) is None
        bench.fleet.change("w", lambda one: one)
        clock.advance(86_400 * 8)


def test_a_persons_word_counts_for_what_is_under_way_too(bench: Bench, clock: ManualClock) -> None:
    bench.runs(12)
    meter = bench.meter()
    assert meter.took(DIME) is None
    bench.fleet.trip("w", Breaker("spend_velocity"), None)
    bench.fleet.resume("w", clock.now(), override=True)
    bench.look()
    assert meter.took(40 * DIME) is None


def test_what_a_person_ran_in_the_terminal_is_not_what_is_normal(bench: Bench) -> None:
    bench.runs(12, replica=0)
    bench.restart()
    assert bench.run(50 * DIME) is None


def busy_hours(bench: Bench, count: int) -> None:
    """Six runs of 0.10 in each."""
    for _ in range(count * 6):
        bench.run(DIME, every_s=600.0)


def test_an_hour_of_many_cheap_runs_is_stopped_too(bench: Bench) -> None:
    busy_hours(bench, 7)
    seen = [bench.run(DIME, every_s=10.0) for _ in range(40)]
    trip = next(trip for trip in seen if trip is not None)
    assert trip.evidence["span"] == "hour" and trip.evidence["normal"] == "0.60"
    assert sum(one is None for one in seen) <= 18


def test_hours_are_known_after_a_restart_and_few_of_them_say_nothing(bench: Bench) -> None:
    busy_hours(bench, 3)
    assert all(bench.run(DIME, every_s=1.0) is None for _ in range(40))
    busy_hours(bench, 6)
    bench.restart()
    assert any(bench.run(DIME, every_s=1.0) is not None for _ in range(40))


@pytest.mark.parametrize("jump", [timedelta(hours=-1), timedelta(days=-30), timedelta(hours=5), timedelta(days=400)])
def test_a_clock_that_jumps_makes_no_hour_dearer(bench: Bench, clock: ManualClock, jump: timedelta) -> None:
    busy_hours(bench, 7)
    for _ in range(3):
        clock.set(clock.now() + jump)
        for _ in range(12):
            assert bench.run(DIME, every_s=600.0) is None


def test_after_a_pause_an_hour_may_cost_what_was_missed(bench: Bench, clock: ManualClock) -> None:
    busy_hours(bench, 7)
    clock.advance(6 * 3600)
    assert all(bench.run(DIME, every_s=1.0) is None for _ in range(60))


def test_on_the_day_of_a_sale_it_may_spend_more_as_it_earns_more(bench: Bench) -> None:
    def order() -> Trip | None:
        trip = bench.run(DIME, every_s=60.0)
        earned = Entry(f"o{bench.number}", "worker:w", "revenue", Money(MICROS, "USD"), bench.clock.now(), "w")
        bench.ledger.entries.record([earned])
        return trip

    for _ in range(7):
        assert [order() for _ in range(4)] == [None] * 4
        bench.clock.advance(3600 - 4 * 60)
    assert [order() for _ in range(50)] == [None] * 50
    idle = [bench.run(DIME, every_s=1.0) for _ in range(130)]
    assert idle[60] is None and idle[-1] is not None and "times what it normally does" in idle[-1].reason


def test_an_hour_that_cost_too_much_rests_until_it_is_over(bench: Bench, clock: ManualClock) -> None:
    busy_hours(bench, 7)
    trips = [trip for _ in range(40) if (trip := bench.run(DIME, every_s=10.0)) is not None]
    left_s = 3600 - (clock.now() - clock.now().replace(minute=0, second=0)).total_seconds()
    assert trips[-1].rest_s == pytest.approx(left_s)
    clock.advance(trips[-1].rest_s)
    assert bench.meter().took(DIME) is None


def test_what_cannot_be_read_stops_no_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.runs(12)
    bench.restart()

    def locked(*_: object) -> None:
        raise Unreachable("the ledger is locked")

    monkeypatch.setattr(bench.ledger.conduct, "costs_of_runs", locked)
    assert bench.meter().weigh(50 * DIME) is None


def test_a_rule_that_is_off_and_a_worker_that_is_gone_stop_nothing(bench: Bench) -> None:
    bench.runs(12)
    bench.fleet.deploy(Declaration("w", "d", "shell", health=HealthRules(velocity=0.0)))
    bench.look()
    assert bench.meter().weigh(50 * DIME) is None
    bench.fleet.retire("w")
    bench.look()
    assert bench.meter().weigh(50 * DIME) is None
