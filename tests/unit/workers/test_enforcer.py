from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from nova.clock import ManualClock
from nova.fleet.documents import BudgetLimit, Declaration, Deployment
from nova.fleet.fleet import Fleet
from nova.ledger.entries import Entry
from nova.ledger.ledger import Ledger
from nova.ledger.limits import Limit, RunRef
from nova.money import Money
from workers.enforcement import CrashPolicy
from workers.enforcer import Enforcer
from workers.hosts.base import RunEnded

NOON = datetime(2026, 4, 10, 12, tzinfo=UTC)
TEN = Money.parse("10", "USD")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def ledger(home: Path, clock: ManualClock) -> Iterator[Ledger]:
    opened = Ledger.open(f"sqlite:///{home / 'ledger.db'}", currency="USD", zone=ZoneInfo("UTC"), clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def fleet(home: Path, clock: ManualClock) -> Fleet:
    fleet = Fleet(home / "fleet.json", clock, "USD")
    fleet.deploy(Declaration("w", "d", "shell", budget=(BudgetLimit("month", TEN),)))
    return fleet


@pytest.fixture
def enforcer(fleet: Fleet, ledger: Ledger, clock: ManualClock) -> Enforcer:
    return Enforcer(fleet, ledger, clock, CrashPolicy(), None)


def crash(ledger: Ledger, clock: ManualClock, number: int) -> RunEnded:
    """As the host does it: in the ledger first, then told."""
    run = RunRef(f"r{number}", "w", f"w#{number}", "d", "m")
    ledger.runs.started(run, clock.now())
    clock.advance(1)
    ledger.runs.ended(run, clock.now(), "failed", "boom", True)
    return RunEnded("w", run.instance, run.run, "failed", True, "boom", clock.now() - timedelta(seconds=1), clock.now())


def limits(one: Deployment) -> tuple[Limit, ...]:
    return tuple(Limit(f"worker:{one.name}", limit.per, limit.limit) for limit in one.budget)


def check(enforcer: Enforcer, fleet: Fleet) -> bool:
    return enforcer.check_spent(fleet.snapshot(), limits, lambda one: True)


def test_crashes_that_are_in_the_ledger_before_they_are_told_count_once(
    enforcer: Enforcer, fleet: Fleet, ledger: Ledger, clock: ManualClock
) -> None:
    facts = [crash(ledger, clock, number) for number in range(5)]
    for fact in facts[:4]:
        assert not enforcer.run_ended(fact, fleet.snapshot())
    assert enforcer.run_ended(facts[4], fleet.snapshot())
    assert fleet.get("w").state == "cooling_down"


def test_crashes_under_the_manager_before_count(fleet: Fleet, ledger: Ledger, clock: ManualClock) -> None:
    for number in range(4):
        crash(ledger, clock, number)
    after = Enforcer(fleet, ledger, clock, CrashPolicy(), None)
    assert after.run_ended(crash(ledger, clock, 4), fleet.snapshot())
    assert fleet.get("w").state == "cooling_down"


def test_an_override_holds_for_the_window_it_was_given_in_and_no_longer(
    enforcer: Enforcer, fleet: Fleet, ledger: Ledger, clock: ManualClock
) -> None:
    clock.set(datetime(2026, 3, 31, 18, tzinfo=UTC))
    ledger.entries.record([Entry("b1", "bills", "cost", Money.parse("15", "USD"), clock.now(), "w")])
    assert check(enforcer, fleet)
    fleet.resume("w", clock.now(), override=True)
    assert not check(enforcer, fleet)
    clock.set(NOON)
    ledger.entries.record([Entry("b2", "bills", "cost", Money.parse("15", "USD"), clock.now(), "w")])
    assert check(enforcer, fleet)
    assert fleet.get("w").state_until == datetime(2026, 5, 1, tzinfo=UTC)


def test_who_has_spent_nothing_is_not_stopped_by_a_budget_that_others_broke(
    enforcer: Enforcer, fleet: Fleet, ledger: Ledger, clock: ManualClock
) -> None:
    fleet.deploy(Declaration("idle", "d", "shell"))
    ledger.entries.record([Entry("b1", "bills", "cost", Money.parse("15", "USD"), clock.now(), "w")])
    shared = (Limit("fleet", "day", TEN),)
    assert enforcer.check_spent(fleet.snapshot(), lambda one: shared, lambda one: True)
    states = {name: one.state for name, one in fleet.snapshot().deployments.items()}
    assert states == {"w": "paused", "idle": "active"}
