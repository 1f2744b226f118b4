from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from nova.autonomous.decision import Kind
from nova.autonomous.engine import decide, marginal_roi
from nova.autonomous.evidence import Change, SaleSize, StepEvidence

DAY = timedelta(days=1)
WINNER = [0.6] * 168
LOSER = [0.1] * 168


def verdict(given: Any, evidence: Any, **policy: str) -> Any:
    return decide(evidence, given.policy(**policy), given.now)


def winner(given: Any, **changes: Any) -> Any:
    return given.evidence(given.window(WINNER, cost="16.80"), **changes)


def test_a_credible_winner_is_scaled_up_one_step(given: Any) -> None:
    decision = verdict(given, winner(given))

    assert (decision.kind, decision.rule) == (Kind.SCALE_UP, "scale_up")
    assert (decision.from_replicas, decision.to_replicas) == (1, 2)
    assert str(decision.daily_cost_impact) == "2.40"
    assert decision.roi_percent == 500
    assert 300 < decision.roi_low < 500 < decision.roi_high
    assert "300%" in decision.reason


def test_a_credible_loser_is_killed(given: Any) -> None:
    decision = verdict(given, given.evidence(given.window(LOSER, cost="84"), replicas=3, replica_time=21 * DAY))

    assert decision.kind is Kind.KILL
    assert decision.to_replicas == 0
    assert str(decision.daily_cost_impact) == "-12.00"
    assert decision.risk == "high"
    assert decision.roi_high < 0


def test_no_one_is_killed_while_the_upper_bound_is_above(given: Any) -> None:
    unlucky = given.evidence(given.window([50.0], cost="84"), sale_size=SaleSize(50, "own"))

    decision = verdict(given, unlucky)

    assert decision.kind is Kind.HOLD
    assert decision.roi_percent < 0 < decision.roi_high


def test_one_of_anything_is_worded_as_one(given: Any) -> None:
    one_sale = verdict(given, given.evidence(given.window([50.0], cost="84"), sale_size=SaleSize(50, "own")))
    assert "1 sale;" in one_sale.reason
    assert "1 run since" in verdict(given, given.evidence(given.window(runs=1))).reason
    assert "at most 1 replica" in verdict(given, winner(given, max_replicas=1)).reason


def test_between_the_thresholds_it_holds(given: Any) -> None:
    assert verdict(given, given.evidence(given.window([3.0] * 168, cost="168"))).rule == "in_band"


def test_few_large_sales_do_not_scale_up(given: Any) -> None:
    decision = verdict(given, given.evidence(given.window([250.0, 250.0], cost="100")))

    assert decision.roi_percent == 400
    assert decision.rule == "uncertain"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"first_run_at": None, "evidence_since": None}, "scale_up"),
        ({"stale": ("stripe",)}, "stale_revenue"),
        ({"unconverted": ("EUR",)}, "unconverted"),
        ({"scalable": False}, "not_scalable"),
        ({"replicas": 10}, "at_max_replicas"),
        ({"replicas": 0}, "no_replicas"),
        ({"state": "cooling_down"}, "cooling_down"),
        ({"state": "parked"}, "parked"),
        ({"state": "killed"}, "killed"),
        ({"state": "paused", "pause_reason": "operator"}, "paused_by_operator"),
        ({"state": "paused", "pause_reason": "budget"}, "paused_by_budget"),
    ],
)
def test_what_stands_in_the_way_is_named(given: Any, changes: dict[str, Any], rule: str) -> None:
    decision = verdict(given, winner(given, **changes))

    assert decision.rule == rule
    assert decision.kind is (Kind.SCALE_UP if rule == "scale_up" else Kind.HOLD)


def test_too_few_runs_hold_whatever_they_earned(given: Any) -> None:
    decision = verdict(given, given.evidence(given.window(WINNER, cost="16.80", runs=19)))
    assert decision.rule == "too_few_runs"
    assert "19 runs" in decision.reason


def test_a_young_deployment_warms_up(given: Any) -> None:
    assert verdict(given, winner(given, first_run_at=given.now - timedelta(minutes=59))).rule == "warming_up"
    assert verdict(given, winner(given, first_run_at=given.now - timedelta(minutes=60))).rule == "scale_up"


def test_an_override_by_a_person_warms_up_again(given: Any) -> None:
    assert verdict(given, winner(given, evidence_since=given.now - timedelta(minutes=5))).rule == "warming_up"


def test_without_a_cost_roi_is_unknown_and_not_zero(given: Any) -> None:
    decision = verdict(given, given.evidence(given.window([], cost="0")))

    assert decision.rule == "no_cost"
    assert decision.roi_percent is decision.roi_low is decision.roi_high is decision.confidence is None


def test_failing_runs_keep_a_winner_from_growing(given: Any) -> None:
    evidence = given.evidence(given.window(WINNER, cost="16.80", failed=60))
    assert verdict(given, evidence).rule == "low_success"


def test_a_recent_step_cools_down(given: Any) -> None:
    assert verdict(given, winner(given, last_action_at=given.now - timedelta(minutes=14))).rule == "cooling_down"
    assert verdict(given, winner(given, last_action_at=given.now - timedelta(minutes=15))).rule == "scale_up"


def test_a_step_stops_at_the_most_replicas_allowed(given: Any) -> None:
    decision = verdict(given, winner(given, replicas=3, max_replicas=5))
    assert decision.to_replicas == 5
    assert verdict(given, winner(given, replicas=3), scale_factor="1.5").to_replicas == 5


def test_a_step_beyond_the_days_budget_holds(given: Any) -> None:
    decision = verdict(given, winner(given, budget_left=given.usd("2.39"), budget_scope="department:research"))

    assert decision.rule == "no_budget"
    assert "department:research" in decision.reason
    assert decision.daily_cost_impact.micros == 0


def stepped(given: Any, after_sales: list[float], after_cost: str, runs: int = 60) -> StepEvidence:
    at = given.now - 2 * DAY
    return StepEvidence(
        at=at,
        from_replicas=1,
        to_replicas=2,
        before=given.window([0.6] * 120, cost="12", end=at, length=5 * DAY),
        after=given.window(after_sales, cost=after_cost, runs=runs, length=2 * DAY),
    )


def test_a_step_that_did_not_pay_is_taken_back(given: Any) -> None:
    step = stepped(given, [0.6] * 48, "9.6")  # twice the cost, the same sales

    decision = verdict(given, winner(given, replicas=2, last_step=step))

    assert (decision.kind, decision.to_replicas) == (Kind.SCALE_DOWN, 1)
    assert decision.daily_cost_impact.micros < 0


def test_a_step_that_paid_may_be_followed_by_another(given: Any) -> None:
    step = stepped(given, [0.6] * 96, "9.6")
    evidence = winner(given, replicas=2, last_step=step)

    assert marginal_roi(evidence, given.policy()).mid == pytest.approx(500)
    assert verdict(given, evidence).to_replicas == 4


def test_an_unripe_step_is_neither_taken_back_nor_followed(given: Any) -> None:
    step = stepped(given, [0.6] * 48, "9.6", runs=19)
    assert verdict(given, winner(given, replicas=2, last_step=step)).rule == "step_immature"


def test_a_step_taken_back_is_not_repeated_for_a_window(given: Any) -> None:
    back = StepEvidence(given.now - DAY, 2, 1, None, given.window(WINNER, cost="3", length=DAY))
    assert verdict(given, winner(given, last_step=back)).rule == "step_immature"


def test_added_replicas_without_a_cost_are_not_judged(given: Any) -> None:
    evidence = winner(given, replicas=2, last_step=stepped(given, [0.6] * 48, "4.8"))
    assert marginal_roi(evidence, given.policy()) is None


def poor(given: Any, windows: int, **changes: Any) -> Any:
    each = [given.window([1.0] * 168, cost="120", end=given.now - 7 * DAY * i) for i in range(windows)]
    return given.evidence(each[0], earlier=tuple(each[1:]), **changes)


def test_a_poor_window_alone_holds(given: Any) -> None:
    assert verdict(given, poor(given, 1)).rule == "below_band"
    assert verdict(given, poor(given, 2)).rule == "below_band"


def test_three_poor_windows_tune_first_and_then_pause(given: Any) -> None:
    tuning = verdict(given, poor(given, 3, untried=(Change("tone", "plain"), Change("tone", "warm"))))
    assert (tuning.kind, tuning.change) == (Kind.OPTIMIZE, Change("tone", "plain"))
    assert tuning.daily_cost_impact.micros == 0

    pause = verdict(given, poor(given, 3))
    assert (pause.kind, pause.to_replicas) == (Kind.PAUSE, 0)
    assert pause.daily_cost_impact.micros < 0


def test_a_window_with_few_runs_breaks_the_row(given: Any) -> None:
    evidence = poor(given, 3)
    first, second = evidence.earlier
    thin = replace(second, succeeded=5)
    assert verdict(given, replace(evidence, earlier=(first, thin))).rule == "below_band"


def paused(given: Any, since: timedelta, **changes: Any) -> Any:
    return poor(given, 3, state="paused", pause_reason="roi", state_since=given.now - since, replicas=4, **changes)


def test_paused_by_roi_it_probes_after_the_interval(given: Any) -> None:
    assert verdict(given, paused(given, timedelta(hours=23))).rule == "paused_by_roi"

    probe = verdict(given, paused(given, timedelta(hours=24)))
    assert (probe.kind, probe.from_replicas, probe.to_replicas) == (Kind.RESUME, 0, 1)
    assert probe.daily_cost_impact.micros > 0


def test_a_probe_needs_budget(given: Any) -> None:
    assert verdict(given, paused(given, DAY, budget_left=given.usd("0"))).rule == "no_budget"


def test_while_probing_nothing_is_decided(given: Any) -> None:
    loser = given.evidence(given.window(LOSER), probing_since=given.now - timedelta(hours=5))
    assert verdict(given, loser).rule == "probing"
    assert verdict(given, replace(loser, probing_since=given.now - timedelta(hours=6))).kind is Kind.KILL


def test_where_no_sale_is_known_the_first_days_without_one_prove_nothing(given: Any) -> None:
    two = given.evidence(given.window(cost="24", length=2 * DAY), sale_size=None)
    three = given.evidence(given.window(cost="36", length=3 * DAY), sale_size=None)

    assert verdict(given, two).kind is Kind.HOLD
    assert verdict(given, three).kind is Kind.KILL
