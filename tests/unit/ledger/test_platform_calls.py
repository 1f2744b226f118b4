from __future__ import annotations

from datetime import timedelta

import pytest

from nova.clock import HOUR_US, ManualClock, to_us
from nova.ledger.platform_calls import CallSums, PlatformCalls
from nova.ledger.store import Store


@pytest.fixture
def calls(store: Store) -> PlatformCalls:
    return PlatformCalls(store)


def counted(clock: ManualClock, *, errors: int = 0, seconds: float = 1.0, error: str | None = None) -> CallSums:
    return CallSums("p", to_us(clock.now()) // HOUR_US, 10, errors, 1, seconds, seconds / 2, error)


def test_what_is_counted_adds_up_by_hour_and_the_last_error_stays(calls: PlatformCalls, clock: ManualClock) -> None:
    calls.add([])
    calls.add([counted(clock, errors=2, error="first")])
    calls.add([counted(clock, seconds=3.0)])
    clock.advance(3600)
    calls.add([counted(clock)])
    since, until = clock.now() - timedelta(hours=2), clock.now() + timedelta(seconds=1)
    found = calls.sums(since, until)["p"]
    assert (found.calls, found.errors, found.limited, found.seconds, found.longest_s) == (30, 2, 3, 5.0, 1.5)
    assert (found.last_error, found.error_hour) == ("first", found.hour - 1)
    assert (found.error_rate, round(found.mean_s, 3)) == (2 / 30, 0.167)
    assert [(one.calls, one.last_error) for one in calls.by_hour("p", since, until)] == [(10, None), (20, "first")]
    assert calls.sums(until + timedelta(days=1), until + timedelta(days=2)) == {}


def test_what_is_old_is_forgotten(calls: PlatformCalls, clock: ManualClock) -> None:
    calls.add([counted(clock)])
    assert calls.prune(clock.now() + timedelta(days=90)) == 0
    assert calls.prune(clock.now() + timedelta(days=91)) == 1
