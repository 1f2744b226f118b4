from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from nova.clock import ManualClock
from nova.fleet.terms import Schedule
from workers.agenda import Agenda, Agendas, Never
from workers.hosts.base import Spec
from workers.instance import Backoff, Instance, Order, State

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = 3600.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


def spec(schedule: Schedule, **more: Any) -> Spec:
    values: dict[str, Any] = {"due_now": False, "since": NOON, **more}
    return Spec("w", "d", "w", "thread", 1, 1, 60.0, 300.0, {}, (), schedule=schedule, **values)


def planned(clock: ManualClock, last: datetime | None = None, **schedule: Any) -> Instance:
    agendas = Agendas(clock, ZoneInfo("UTC"))
    agenda = agendas.make(spec(Schedule(**schedule)), last)
    ago = None if last is None else (clock.now() - last).total_seconds()
    return Instance(60.0, 300.0, now=clock.monotonic(), last_start_ago=ago, backoff=Backoff(), agenda=agenda)


def step(instance: Instance, clock: ManualClock) -> Order:
    order, _ = instance.step(clock.monotonic())
    if order is Order.START and instance.agenda is not None:
        instance.agenda.begun(clock.now())
    return order


def test_it_wakes_when_its_time_comes_and_then_for_the_next(clock: ManualClock) -> None:
    instance = planned(clock, cron="0 * * * *")
    assert instance.step(0.0) == (Order.NONE, HOUR)
    clock.advance(HOUR)
    assert step(instance, clock) is Order.START
    instance.ended(clock.monotonic(), crash=False)
    assert instance.step(clock.monotonic()) == (Order.NONE, 2 * HOUR)


def test_what_is_recorded_is_the_time_the_run_is_for(clock: ManualClock) -> None:
    instance = planned(clock, cron="0 * * * *")
    clock.advance(2.5 * HOUR)
    assert instance.step(clock.monotonic())[0] is Order.START and isinstance(instance.agenda, Agenda)
    assert instance.agenda.begun(clock.now()) == NOON + timedelta(hours=2)


def test_a_crash_is_tried_again_after_its_backoff_for_the_same_time(clock: ManualClock) -> None:
    instance = planned(clock, cron="0 * * * *")
    clock.advance(HOUR)
    step(instance, clock)
    instance.ended(clock.monotonic(), crash=True)
    assert instance.step(clock.monotonic()) == (Order.NONE, clock.monotonic() + 1)
    clock.advance(1)
    assert instance.step(clock.monotonic())[0] is Order.START and isinstance(instance.agenda, Agenda)
    assert instance.agenda.begun(clock.now()) == NOON + timedelta(hours=1)


def test_a_crash_is_not_tried_again_outside_the_window(clock: ManualClock) -> None:
    instance = planned(clock, windows=("11:00-12:30",))
    assert step(instance, clock) is Order.START
    clock.advance(0.5 * HOUR)
    instance.ended(clock.monotonic(), crash=True)
    assert instance.step(clock.monotonic()) == (Order.NONE, 23 * HOUR)
    assert instance.state is State.BACKING_OFF


def test_what_was_due_in_a_window_that_has_closed_waits_for_the_next(clock: ManualClock) -> None:
    instance = planned(clock, cron="0 12-13 * * *", windows=("12:30-13:30",))
    clock.advance(3 * HOUR)
    assert instance.step(clock.monotonic()) == (Order.NONE, 24.5 * HOUR)


def test_a_clock_that_is_set_forward_or_back_moves_what_is_due(clock: ManualClock) -> None:
    instance = planned(clock, cron="0 * * * *")
    instance.step(0.0)
    clock.set(NOON + timedelta(minutes=50))
    assert instance.step(0.0) == (Order.NONE, 600.0)
    clock.set(NOON - timedelta(days=30))
    assert instance.step(0.0) == (Order.NONE, HOUR)
    clock.set(NOON + timedelta(hours=3))
    assert step(instance, clock) is Order.START


def test_a_clock_that_was_set_is_noticed_once(clock: ManualClock) -> None:
    agendas = Agendas(clock, ZoneInfo("UTC"))
    clock.advance(500)
    assert not agendas.clock_was_set()
    clock.set(NOON)
    assert agendas.clock_was_set() and not agendas.clock_was_set()


def test_an_interval_is_not_moved_by_a_clock_that_is_set_only_by_its_window(clock: ManualClock) -> None:
    instance = planned(clock, last=NOON, jitter_s=10.0)
    due = instance.step(0.0)[1]
    assert 60 <= due < 70
    clock.set(NOON + timedelta(days=3))
    assert instance.step(0.0)[1] == pytest.approx(due)


def test_a_cooldown_that_is_over_is_the_wait_for_the_next_run(clock: ManualClock) -> None:
    made = Agendas(clock, ZoneInfo("UTC")).make(spec(Schedule(cron="@daily"), due_now=True), NOON)
    assert made is not None and made.due(0.0, inf) == 0.0
    made.begun(clock.now())
    assert made.due(0.0, inf) == 12 * HOUR


def test_a_schedule_that_was_broken_by_hand_is_never_due_and_harms_no_other(clock: ManualClock) -> None:
    made = Agendas(clock, ZoneInfo("UTC")).make(spec(Schedule(cron="often")), None)
    assert isinstance(made, Never) and made.due(0.0, 0.0) == inf


def test_one_whose_run_was_made_stays_and_is_never_due(clock: ManualClock) -> None:
    instance = planned(clock)
    instance.fulfilled = True
    assert instance.step(0.0) == (Order.NONE, inf)
    assert instance.state is State.STOPPED
