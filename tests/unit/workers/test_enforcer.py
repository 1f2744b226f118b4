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
from nova.ledger.limits import Limit, LimitReached, RunRef
from nova.money import Money
from workers.enforcement import CrashPolicy
from workers.enforcer import Enforcer
from workers.hosts.base import BudgetHit, RunEnded

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


def test_crashes_of_what_was_paused_meanwhile_do_not_count(
    enforcer: Enforcer, fleet: Fleet, ledger: Ledger, clock: ManualClock
) -> None:
    fleet.pause("w", "operator")
    for number in range(1, 8):
        assert not enforcer.run_ended(crash(ledger, clock, number), fleet.snapshot())
    fleet.resume("w")
    for number in range(8, 12):
        assert not enforcer.run_ended(crash(ledger, clock, number), fleet.snapshot())
    assert enforcer.run_ended(crash(ledger, clock, 12), fleet.snapshot())
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


class Told:
    """Keeps what people would be told."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    def send(self, event: str, title: str, body: str) -> None:
        self.titles.append(title)


def declare(fleet: Fleet, budget: str) -> None:
    fleet.deploy(Declaration("w", "d", "shell", budget=(BudgetLimit.parse(budget, "USD"),)))


def refused(ledger: Ledger, run: RunRef, amount: str, limit: Limit) -> BudgetHit:
    """As the desk does it."""
    with pytest.raises(LimitReached) as refusal:
        ledger.budgets.spend(run, Money.parse(amount, "USD"), [limit])
    return BudgetHit("refused", "w", run.run, refusal.value.refused, refusal.value.asked)


def goes_on(enforcer: Enforcer, fleet: Fleet) -> bool:
    return enforcer.let_go_on(fleet.snapshot(), limits, lambda one: True)


def test_a_total_that_refuses_stops_a_deployment_until_it_is_raised_far_enough(
    enforcer: Enforcer, fleet: Fleet, ledger: Ledger, clock: ManualClock
) -> None:
    declare(fleet, "10/total")
    run = RunRef("r1", "w", "w#1", "d", "m")
    ledger.budgets.spend(run, Money.parse("9.50", "USD"))
    hit = refused(ledger, run, "0.60", Limit("worker:w", "total", TEN))
    assert enforcer.budget_hit(hit, fleet.snapshot())
    stopped = fleet.get("w")
    assert (stopped.pause_reason, stopped.state_until, str(stopped.needs)) == ("budget", None, "0.60")
    clock.advance(400 * 86_400)
    assert not enforcer.timers(fleet.snapshot(), lambda one: True) and not goes_on(enforcer, fleet)
    declare(fleet, "10.09/total")
    assert not goes_on(enforcer, fleet)
    declare(fleet, "10.10/total")
    assert goes_on(enforcer, fleet) and not goes_on(enforcer, fleet)
    assert (fleet.get("w").state, fleet.get("w").needs) == ("active", None)
    assert [one.rule for one in ledger.decisions.history(worker="w")] == ["budget_room", "budget"]


def test_money_that_broke_a_total_stops_until_a_correction_makes_room(
    enforcer: Enforcer, fleet: Fleet, ledger: Ledger, clock: ManualClock
) -> None:
    declare(fleet, "10/total")
    ledger.entries.record([Entry("b1", "bills", "cost", Money.parse("15", "USD"), clock.now(), "w")])
    assert check(enforcer, fleet) and not goes_on(enforcer, fleet)
    fleet.resume("w", clock.now(), override=True)
    assert check(enforcer, fleet)
    ledger.entries.adjust("bills/b1", Money.parse("-5", "USD"), "typo", "dana")
    assert goes_on(enforcer, fleet) and fleet.get("w").state == "active"


def test_a_total_that_was_taken_away_holds_nobody(enforcer: Enforcer, fleet: Fleet, ledger: Ledger) -> None:
    fleet.pause("w", "budget", None, needs=TEN)
    assert goes_on(enforcer, fleet)


def test_a_day_that_has_turned_does_not_let_go_what_a_total_holds(
    enforcer: Enforcer, fleet: Fleet, ledger: Ledger, clock: ManualClock
) -> None:
    """Both refuse at once: the longer lasting one counts."""
    day, total = Limit("worker:w", "day", TEN), Limit("worker:w", "total", TEN)
    run = RunRef("r1", "w", "w#1", "d", "m")
    with pytest.raises(LimitReached) as refusal:
        ledger.budgets.spend(run, Money.parse("11", "USD"), [day, total])
    hit = BudgetHit("refused", "w", "r1", tuple(reversed(refusal.value.refused)), refusal.value.asked)
    assert enforcer.budget_hit(hit, fleet.snapshot()) and fleet.get("w").state_until is None


def test_each_tier_of_a_window_is_told_once_whoever_reaches_it(
    fleet: Fleet, ledger: Ledger, clock: ManualClock
) -> None:
    told = Told()
    declare(fleet, "10/total")
    watched = Limit("worker:w", "total", TEN, tiers=(50, 80))
    run = RunRef("r1", "w", "w#1", "d", "m")

    def look() -> list[str]:
        """By a manager that was started anew each time."""
        enforcer = Enforcer(fleet, ledger, clock, CrashPolicy(), told)
        enforcer.check_spent(fleet.snapshot(), lambda one: (watched,), lambda one: True)
        return told.titles

    ledger.entries.record([Entry("b1", "bills", "cost", Money.parse("6", "USD"), clock.now(), "w")])
    assert look() == look() == ["worker:w has used 50% of its budget"]
    booked = ledger.budgets.spend(run, Money.parse("2.5", "USD"), [watched])
    hit = BudgetHit("near", "w", "r1", booked.near)
    for _ in range(2):
        Enforcer(fleet, ledger, clock, CrashPolicy(), told).budget_hit(hit, fleet.snapshot())
    assert look() == ["worker:w has used 50% of its budget", "worker:w has used 80% of its budget"]
    watched = Limit("worker:w", "total", Money.parse("17", "USD"), tiers=(50, 80))
    assert look()[2:] == ["worker:w has used 50% of its budget"]
    assert [row.action for row in ledger.audit.log()].count("budget_warned") == 3
