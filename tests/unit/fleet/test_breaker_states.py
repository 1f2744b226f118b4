from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nova.clock import ManualClock
from nova.errors import RevisionConflict
from nova.fleet.documents import Declaration
from nova.fleet.fleet import Fleet
from nova.fleet.terms import Breaker, HealthRules

NOON = datetime(2026, 4, 10, 12, tzinfo=UTC)
SOON = timedelta(minutes=5)
OPEN = Breaker("no_progress")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def fleet(home: Path, clock: ManualClock) -> Fleet:
    fleet = Fleet(home / "fleet.json", clock, "USD")
    deploy(fleet)
    return fleet


def deploy(fleet: Fleet, **more: Any) -> None:
    fleet.deploy(Declaration("w", "d", "shell", **{"health": HealthRules(), **more}))


def test_a_breaker_opens_what_runs_and_nothing_that_was_stopped_otherwise(fleet: Fleet, clock: ManualClock) -> None:
    for stop in (
        lambda: fleet.pause("w", "operator"),
        lambda: fleet.pause("w", "roi"),
        lambda: fleet.pause("w", "budget", NOON + SOON),
        lambda: fleet.park("w"),
    ):
        stop()
        before = fleet.get("w")
        assert fleet.trip("w", OPEN, NOON + SOON) == before
        fleet.resume("w")
    fleet.cool_down("w", NOON + SOON)
    opened = fleet.trip("w", OPEN, NOON + SOON)
    assert (opened.state, opened.pause_reason, opened.state_until, opened.breaker) == (
        "paused", "breaker", NOON + SOON, OPEN,
    )  # fmt: skip


def test_one_probe_goes_when_it_is_due_and_no_second_one(fleet: Fleet, clock: ManualClock) -> None:
    fleet.trip("w", OPEN, NOON + SOON)
    assert not fleet.probe("w")
    clock.advance(300)
    assert fleet.probe("w") and not fleet.probe("w")
    half = fleet.get("w")
    assert half.state == "paused" and half.breaker == Breaker("no_progress", 1, probing=True)
    closed = fleet.recover("w")
    assert (closed.state, closed.breaker, closed.cleared_at) == ("active", None, clock.now())
    assert fleet.recover("w") == closed


def test_a_clock_that_was_set_back_does_not_put_the_probe_off_for_ever(fleet: Fleet, clock: ManualClock) -> None:
    fleet.trip("w", OPEN, NOON + SOON)
    clock.set(NOON - timedelta(days=400))
    assert fleet.probe("w")


def test_without_a_probe_a_person_decides(fleet: Fleet, clock: ManualClock) -> None:
    fleet.trip("w", OPEN, None)
    clock.advance(10**6)
    assert not fleet.probe("w")
    after = fleet.resume("w", clock.now(), override=True)
    assert (after.breaker, after.cleared_at, after.evidence_since) == (None, clock.now(), clock.now())


@pytest.mark.parametrize("probing", [False, True])
def test_what_a_person_says_ends_the_breaker(fleet: Fleet, clock: ManualClock, probing: bool) -> None:
    fleet.trip("w", OPEN, NOON)
    if probing:
        fleet.probe("w")
    paused = fleet.pause("w", "operator")
    assert (paused.pause_reason, paused.breaker, paused.state_until) == ("operator", None, None)
    assert fleet.recover("w") == paused and not fleet.probe("w")


def test_weaker_pauses_do_not_hide_an_open_breaker(fleet: Fleet) -> None:
    opened = fleet.trip("w", OPEN, NOON + SOON)
    for reason in ("budget", "roi"):
        assert fleet.pause("w", reason, NOON) == opened  # type: ignore[arg-type]
    assert fleet.kill("w").breaker is None


def test_only_the_caller_who_saw_it_as_it_is_may_close_it(fleet: Fleet) -> None:
    fleet.trip("w", OPEN, NOON)
    fleet.probe("w")
    with pytest.raises(RevisionConflict):
        fleet.recover("w", expected_revision=1)


def test_another_pace_makes_another_normal_and_a_budget_does_not(fleet: Fleet, clock: ManualClock) -> None:
    assert fleet.get("w").changed_at is None
    deploy(fleet, timeout_s=9.0)
    assert fleet.get("w").changed_at is None
    clock.advance(1)
    fleet.scale("w", 2)
    assert fleet.get("w").changed_at == clock.now()
    clock.advance(1)
    deploy(fleet, timeout_s=9.0, every_s=5.0)
    assert fleet.get("w").changed_at == clock.now()


def test_the_wait_doubles_up_to_an_hour() -> None:
    rules = HealthRules(probe_s=600.0)
    assert [rules.wait(n) for n in (1, 2, 3, 4, 99)] == [timedelta(minutes=m) for m in (10, 20, 40, 60, 60)]
    assert HealthRules(probe_s=7200.0).wait(3) == timedelta(hours=2)
    assert HealthRules(probe_s=0.0).wait(1) is None
