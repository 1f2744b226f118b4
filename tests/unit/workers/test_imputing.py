"""What a run costs by its declaration, over a real ledger and a clock that stands still."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova.clock import ManualClock
from nova.errors import BudgetExceeded
from nova.fleet.terms import ImputedCost
from nova.ledger.ledger import Ledger
from nova.ledger.limits import Limit
from nova.money import Money
from workers.hosts.base import BudgetHit, Fact, Spec
from workers.hosts.cell import Cell
from workers.hosts.outcome import Outcome
from workers.hosts.run import Run
from workers.hosts.services import Services

DAY = datetime(2026, 4, 10, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(DAY)


@pytest.fixture
def ledger(home: Path, clock: ManualClock) -> Iterator[Ledger]:
    opened = Ledger.open(f"sqlite:///{home / 'ledger.db'}", currency="USD", zone=ZoneInfo("UTC"), clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def facts() -> list[Fact]:
    return []


@pytest.fixture
def begin(ledger: Ledger, clock: ManualClock, facts: list[Fact]) -> Callable[..., Run]:
    """A run that has begun, as its thread begins it."""

    def begin_one(imputed: str, limit: str | None = None, timeout_s: float = 86_400.0) -> Run:
        limits = (Limit("worker:w", "total", Money.parse(limit, "USD")),) if limit else ()
        spec = Spec(
            "w", "d", "shell", "thread", 1, 1, 60.0, timeout_s, {}, limits, imputed=ImputedCost.parse(imputed, "USD")
        )
        services = Services("m1", ledger, clock, *cast(Any, (None, None, "/", None)))
        run = Run(spec, services, Cell(), facts.append)
        ledger.runs.started(run.ref, run.started_at)
        if run.imputing is not None:
            run.imputing.begin()
        return run

    return begin_one


def total(ledger: Ledger) -> tuple[str, str]:
    usage = ledger.budgets.usage("worker:w", "total")
    return str(usage.spent), str(usage.reserved)


def costs(ledger: Ledger) -> list[tuple[int, str]]:
    with ledger.read() as conn:
        rows = conn.exec_driver_sql("SELECT booked_micros, note FROM entries ORDER BY seq").all()
    return [tuple(row) for row in rows]


def hits(facts: list[Fact]) -> list[str]:
    return [fact.kind for fact in facts if isinstance(fact, BudgetHit)]


def pass_time(run: Run, clock: ManualClock, seconds: float, look_s: float = 15.0) -> None:
    """As the host looks at it."""
    for _ in range(int(seconds / look_s)):
        clock.advance(look_s)
        run.imputing.go_on()


def test_an_amount_per_run_is_spent_before_the_run_begins_and_once(
    begin: Callable[..., Run], ledger: Ledger, clock: ManualClock
) -> None:
    run = begin("0.02/run")
    assert total(ledger) == ("0.02", "0.00")
    pass_time(run, clock, 300)
    run.end(Outcome("failed", crash=True))
    assert costs(ledger) == [(20_000, "imputed 0.02 USD/run")] and total(ledger) == ("0.02", "0.00")


def test_a_run_that_cannot_be_afforded_does_not_begin(
    begin: Callable[..., Run], ledger: Ledger, facts: list[Fact]
) -> None:
    for _ in range(5):
        begin("0.02/run", "0.10").end(Outcome("succeeded"))
    for imputed in ("0.02/run", "36/hour"):
        with pytest.raises(BudgetExceeded):
            begin(imputed, "0.10")
    assert total(ledger) == ("0.10", "0.00")
    assert hits(facts) == ["near", "refused", "refused"]


def test_an_hourly_cost_is_booked_to_the_millionth_of_the_time_it_took(
    begin: Callable[..., Run], ledger: Ledger, clock: ManualClock
) -> None:
    run = begin("0.50/hour")
    pass_time(run, clock, 615)
    clock.advance(2.5)
    run.end(Outcome("succeeded"))
    assert costs(ledger) == [(85_764, "imputed 0.50 USD/hour")]  # 617.5 s
    assert total(ledger) == ("0.085764", "0.00") and ledger.verify().first_bad is None
    assert run.cost == 85_764


def test_a_budget_stops_a_run_in_its_middle_with_nothing_overshot(
    begin: Callable[..., Run], ledger: Ledger, clock: ManualClock, facts: list[Fact]
) -> None:
    run = begin("6/hour", "1.00")  # ten minutes of it
    while not run.stopping.is_set():
        pass_time(run, clock, 15)
        assert clock.monotonic() < 700
    assert 540 <= clock.monotonic() <= 600 - 15 and run.overdrawn
    hit = next(fact for fact in facts if isinstance(fact, BudgetHit) and fact.kind == "refused")
    left = ledger.budgets.left(run.spec.limits)
    clock.advance(25)  # until it is dead
    run.end(Outcome("interrupted"))
    assert all(after < (hit.asked or after) for after in ledger.budgets.left(left).values())  # it does not begin again
    spent, reserved = total(ledger)
    assert (Money.parse(spent, "USD") <= Money.parse("1.00", "USD"), reserved) == (True, "0.00")
    assert hits(facts)[-1] == "refused" and "broken" not in hits(facts)


def test_what_was_reserved_ahead_comes_back(begin: Callable[..., Run], ledger: Ledger, clock: ManualClock) -> None:
    run = begin("60/hour")
    assert total(ledger) == ("0.00", "1.00")
    clock.advance(6)
    run.end(Outcome("succeeded"))
    assert total(ledger) == ("0.10", "0.00")
    begin("60/hour", timeout_s=6.0)
    assert total(ledger) == ("0.10", "0.266667")  # a short run asks for no more than it may take, with its end


def test_what_is_reserved_lasts_until_a_run_that_is_refused_more_has_ended(
    begin: Callable[..., Run], ledger: Ledger, clock: ManualClock, facts: list[Fact]
) -> None:
    with pytest.raises(BudgetExceeded):
        begin("60/hour", "0.49")  # it would be looked at only when this is used up
    facts.clear()
    run = begin("60/hour", "0.50")
    pass_time(run, clock, 15)
    assert run.overdrawn
    clock.advance(10)  # until it is dead
    run.end(Outcome("interrupted"))
    assert hits(facts) == ["refused"] and total(ledger) == ("0.416667", "0.00")


def test_a_run_is_refused_no_time_that_it_cannot_take(
    begin: Callable[..., Run], ledger: Ledger, clock: ManualClock, facts: list[Fact]
) -> None:
    run = begin("60/hour", "0.50", timeout_s=20.0)
    pass_time(run, clock, 15)
    assert not run.stopping.is_set() and total(ledger) == ("0.00", "0.50")
    clock.advance(14)
    run.end(Outcome("failed"))
    assert hits(facts) == [] and total(ledger) == ("0.483333", "0.00")


def test_time_that_nobody_looked_is_booked_when_somebody_does(
    begin: Callable[..., Run], ledger: Ledger, clock: ManualClock
) -> None:
    """The machine slept for a night."""
    run = begin("3.60/hour")
    clock.advance(10 * 3600)
    run.imputing.go_on()
    assert total(ledger) == ("36.00", "0.06")
    clock.advance(10)
    run.end(Outcome("succeeded"))
    assert total(ledger) == ("36.01", "0.00")


def test_the_time_of_a_manager_that_died_is_booked_to_the_end_of_what_was_reserved(
    begin: Callable[..., Run], ledger: Ledger, clock: ManualClock
) -> None:
    run = begin("60/hour")
    pass_time(run, clock, 90)
    ledger.runs.recover(["m1"])
    assert total(ledger) == ("3.00", "0.00")  # the third minute was asked for
    run.imputing.go_on()
    assert total(ledger) == ("3.00", "0.00")


def test_nothing_at_all_is_asked_of_the_ledger_for_a_cost_of_nothing(begin: Callable[..., Run], ledger: Ledger) -> None:
    for imputed in ("0/run", "0/hour", "0.000001/hour"):
        begin(imputed).end(Outcome("succeeded"))
    assert costs(ledger) == []


@given(
    st.integers(0, 10**12),
    st.lists(st.floats(0, 10_000, allow_nan=False, allow_infinity=False), min_size=1, max_size=20),
)
def test_the_parts_of_a_run_add_up_to_what_is_due_for_the_whole(micros: int, parts: list[float]) -> None:
    cost = ImputedCost(Money(micros, "USD"), "hour")
    moments = [0.0]
    for part in parts:
        moments.append(moments[-1] + part)
    pieces = [cost.due(end) - cost.due(start) for start, end in pairwise(moments)]
    assert Money.total(pieces, "USD") == cost.due(moments[-1])
    assert all(piece.micros >= 0 for piece in pieces)
    exact = micros * round(moments[-1] * 1_000_000)
    assert abs(cost.due(moments[-1]).micros * 3_600_000_000 - exact) * 2 <= 3_600_000_000


@pytest.mark.parametrize(("micros", "due"), [(3600, 1), (1800, 0), (5400, 2), (9000, 2), (1801, 1)])
def test_half_a_millionth_rounds_to_even(micros: int, due: int) -> None:
    assert ImputedCost(Money(micros, "USD"), "hour").due(1.0).micros == due
