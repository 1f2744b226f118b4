from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova.fleet.terms import HealthRules
from nova.money import MICROS
from workers.breaker import (
    FLOOR,
    LEAST_RUNS,
    MOST_CAUGHT_UP,
    NO_PROGRESS,
    Cost,
    Done,
    ceiling,
    judge,
    normal_of,
    over,
    raised,
)

NOON = datetime(2026, 4, 10, 12, tzinfo=UTC)
OFF = HealthRules(progress_runs=0, velocity=0.0, error_percent=0.0, error_runs=0)
PROGRESS = replace(OFF, progress_runs=5)
ERRORS = replace(OFF, error_percent=50.0, error_runs=10)

statuses = st.lists(st.sampled_from(["succeeded", "failed", "interrupted", "fruitful"]), max_size=60)


def runs(kinds: Any) -> list[Done]:
    """`fruitful` is one that failed and earned something all the same."""
    return [
        Done(
            f"r{n}",
            f"w#{n % 3 + 1}",
            NOON + timedelta(seconds=n),
            "failed" if kind == "fruitful" else kind,
            progressed=kind == "fruitful",
            error=f"boom {n}",
        )
        for n, kind in enumerate(kinds)
    ]


def costs(*amounts: int, every_s: float = 60.0, of: str = "w#1") -> list[Cost]:
    return [Cost(n * every_s, amount, of) for n, amount in enumerate(amounts)]


@given(statuses, st.integers(1, 4))
def test_progress_trips_after_exactly_so_many_fruitless_runs_in_a_row(kinds: list[str], replicas: int) -> None:
    judged = [kind for kind in kinds if kind != "interrupted"]
    streak = next((n for n, kind in enumerate(reversed(judged)) if kind != "failed"), len(judged))
    trip = judge(runs(kinds), PROGRESS, replicas)
    assert (trip is not None) == (streak >= max(5, 2 * replicas))
    if trip is not None:
        assert trip.rule == NO_PROGRESS and trip.evidence["runs"] == streak


@given(statuses, st.integers(1, 8))
def test_the_error_rate_is_that_of_the_last_runs_and_of_no_fewer(kinds: list[str], replicas: int) -> None:
    enough = max(10, 2 * replicas)
    last = [kind != "succeeded" for kind in kinds if kind != "interrupted"][-enough:]
    assert (judge(runs(kinds), ERRORS, replicas) is not None) == (len(last) == enough and 2 * sum(last) >= enough)


@given(statuses, st.integers(1, 8))
def test_interrupted_runs_say_nothing(kinds: list[str], replicas: int) -> None:
    """A budget, a person or the manager ended them."""
    all_rules = replace(PROGRESS, error_percent=50.0, error_runs=10)
    without = [run for run in runs(kinds) if run.status != "interrupted"]
    assert judge(runs(kinds), all_rules, replicas) == judge(without, all_rules, replicas)


@given(statuses)
def test_rules_that_are_off_trip_nothing(kinds: list[str]) -> None:
    assert judge(runs(kinds), OFF, 1) is None
    assert ceiling(costs(*range(1, 40)), OFF.velocity, LEAST_RUNS, 0.0) is None


def test_one_bad_minute_of_many_replicas_is_no_streak() -> None:
    assert judge(runs(["failed"] * 50), replace(PROGRESS, error_percent=50.0, error_runs=20), replicas=50) is None
    assert judge(runs(["failed"] * 100), PROGRESS, replicas=50) is not None


def test_the_reason_ends_with_what_went_wrong_last() -> None:
    trip = judge(runs(["failed"] * 5), PROGRESS, 1)
    assert trip is not None
    assert trip.reason == "5 runs in a row without a success, an earning or a change of state; the last: boom 4"


amounts = st.integers(1, 10**9)


@given(st.lists(amounts, max_size=LEAST_RUNS - 1))
def test_few_runs_set_no_ceiling(known: list[int]) -> None:
    assert ceiling(costs(*known), 3.0, LEAST_RUNS, 0.0) is None


@given(st.lists(amounts, min_size=LEAST_RUNS, max_size=50), st.floats(1.01, 50), st.floats(-1e6, 1e6))
def test_a_ceiling_is_never_below_its_rule_nor_above_what_a_pause_allows(
    known: list[int], velocity: float, later_s: float
) -> None:
    most = ceiling(costs(*known), velocity, LEAST_RUNS, (len(known) - 1) * 60.0 + later_s, "w#1")
    assert most is not None and most.normal == normal_of(known)
    assert 1.0 <= most.caught_up <= MOST_CAUGHT_UP
    assert most.limit >= max(FLOOR, int(most.normal * (velocity - 0.001)))
    assert most.limit <= max(FLOOR, most.normal * (velocity + 0.001) * MOST_CAUGHT_UP + 1)


@given(st.lists(st.integers(MICROS // 2, MICROS), min_size=LEAST_RUNS, max_size=50), st.integers(MICROS // 2, MICROS))
def test_costs_that_vary_by_two_never_trip_a_velocity_of_three(known: list[int], more: int) -> None:
    most = ceiling(costs(*known), 3.0, LEAST_RUNS, len(known) * 60.0, "w#1")
    assert most is not None and more <= most.limit


def test_tiny_amounts_trip_nothing() -> None:
    most = ceiling(costs(*[2] * 20), 3.0, LEAST_RUNS, 1200.0, "w#1")
    assert most is not None and most.limit == FLOOR == MICROS // 100


@pytest.mark.parametrize(
    ("at_s", "of", "factor"),
    [
        (20 * 60, "w#1", 1),
        (19 * 60 + 85, "w#1", 1),  # late, and no pause
        (19 * 60 + 600, "w#1", 10),  # ten minutes' work at once
        (19 * 60 + 1e6, "w#1", MOST_CAUGHT_UP),
        (19 * 60 + 600, "w#2", 1),  # another replica, of which nothing is known
        (0, "w#1", 1),  # the clock was set back
    ],
)
def test_after_a_pause_what_was_missed_may_be_made_up_for(at_s: float, of: str, factor: float) -> None:
    most = ceiling(costs(*[MICROS] * 20), 3.0, LEAST_RUNS, at_s, of)
    assert most is not None and most.limit == 3 * MICROS * factor


@pytest.mark.parametrize("spread", [0.3, 0.5])
def test_costs_that_vary_as_those_of_language_models_do_hardly_ever_trip(spread: float) -> None:
    dice, known, tripped = random.Random(7), [MICROS] * LEAST_RUNS, 0
    for _ in range(5_000):
        cost = round(MICROS * dice.lognormvariate(0, spread))
        most = ceiling(costs(*known[-50:]), 3.0, LEAST_RUNS, min(len(known), 50) * 60.0, "w#1")
        assert most is not None
        tripped += cost > most.limit
        known += [cost] if cost <= most.limit else []
    assert tripped <= 5


@given(st.lists(amounts, max_size=24), st.integers(0, 10**11))
def test_a_sale_day_raises_a_ceiling_as_far_as_more_is_earned(earned: list[int], lately: int) -> None:
    most = ceiling(costs(*[MICROS] * 20), 3.0, LEAST_RUNS, 1200.0, "w#1")
    assert most is not None
    found = raised(most, earned, lately)
    assert 1.0 <= found.busier <= MOST_CAUGHT_UP and found.limit >= most.limit
    assert (found == most) == (len(earned) < 5 or lately <= normal_of(earned))


def test_of_few_the_highest_alone_is_not_normal() -> None:
    assert [normal_of(range(1, n + 1)) for n in (1, 2, 5, 10, 20, 50)] == [1, 1, 4, 9, 18, 45]


def test_what_was_made_up_for_after_pauses_is_not_normal() -> None:
    known = [Cost(n * 60.0 + n // 5 * 600.0, 11 * MICROS if n and n % 5 == 0 else MICROS, "w#1") for n in range(50)]
    most = ceiling(known, 3.0, LEAST_RUNS, known[-1].at_s + 60.0, "w#1")
    assert most is not None and most.limit == 3 * MICROS


def test_replicas_that_run_at_the_same_moment_make_no_pause_of_their_rhythm() -> None:
    known = [Cost(n * 60.0, MICROS, f"w#{index}") for n in range(5) for index in range(1, 11)]
    most = ceiling(known, 3.0, LEAST_RUNS, 5 * 60.0, "w#4")
    assert most is not None and most.caught_up == 1.0


def test_an_abnormal_cost_is_told_with_its_figures() -> None:
    most = ceiling(costs(*[400_000] * 12), 3.0, LEAST_RUNS, 12 * 60.0, "w#1")
    assert most is not None
    trip = over(5_110_000, most, "run", 3.0, "USD")
    assert trip.reason == "one run costs $5.11, more than 3 times the $0.40 of its last 12 runs"
    assert trip.evidence["limit"] == "1.20" and trip.evidence["normal"] == "0.40"
