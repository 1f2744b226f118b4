from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from nova.autonomous.evidence import Evidence
from nova.autonomous.gather import Gathered, Traits, gather
from nova.autonomous.office import policy_of
from nova.fleet.documents import BudgetLimit, Step
from nova.ledger.decisions import DecisionRecord
from nova.money import Money
from workers import deployments as services

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def look(
    office: Any, now: datetime, configured: frozenset[str] = frozenset(), traits: Traits | None = None
) -> Gathered:
    snapshot = office.fleet.snapshot()
    return gather(office.ledger, snapshot, policy_of(office, snapshot), now, configured, lambda _: traits or Traits())


def seen(office: Any, now: datetime, **more: Any) -> Evidence:
    return look(office, now, **more).evidence[0]


def test_money_and_runs_of_the_window_are_summed(office: Any, now: datetime) -> None:
    office.deploy("mailer")
    office.history("mailer", cost="0.10", revenue="0.60")
    office.money("mailer", "refund", "1.00", now - HOUR)
    office.money("mailer", "fee", "0.25", now - HOUR)
    office.money("mailer", "revenue", "500", now - 9 * DAY)

    window = seen(office, now).window

    assert (window.runs, window.succeeded) == (168, 168)
    assert str(window.cost) == "16.80"
    assert str(window.revenue) == "99.55"
    assert window.sales.count == 168
    assert window.sales.squares == pytest.approx(168 * 0.36)
    assert window.sales.peak == pytest.approx(0.6)
    assert (window.returns.count, window.fees) == (1, 0.25)


def test_killed_deployments_are_left_out_and_the_rest_come_by_name(office: Any, now: datetime) -> None:
    for name in ("b", "a", "dead"):
        office.deploy(name)
    office.fleet.kill("dead")
    assert [evidence.worker for evidence in look(office, now).evidence] == ["a", "b"]


def test_what_is_recorded_after_now_does_not_count(office: Any, now: datetime) -> None:
    office.deploy("mailer")
    office.history("mailer", cost="1", revenue="2", runs=48, end=now + 24 * HOUR)

    window = seen(office, now).window

    assert window.runs == 24
    assert str(window.cost) == "24.00"
    assert window.sales.count == 24


def test_the_attribution_lag_ends_the_window_earlier(office: Any, now: datetime) -> None:
    office.deploy("mailer")
    office.fleet.set_policy({"attribution_lag": "90m"})
    for minutes in (30, 89, 91, 150):
        office.money("mailer", "revenue", "1", now - timedelta(minutes=minutes))

    window = seen(office, now).window

    assert window.end == now - timedelta(minutes=90)
    assert window.sales.count == 2


def test_a_persons_override_forgets_what_was_before_to_the_minute(office: Any, now: datetime) -> None:
    office.deploy("mailer")
    office.fleet.pause("mailer", "budget")
    since = now - timedelta(minutes=100)
    office.fleet.resume("mailer", since, override=True)
    for minutes in (30, 99, 101, 130):
        office.money("mailer", "cost", "1", now - timedelta(minutes=minutes))
    office.runs("mailer", 200, now, every=timedelta(minutes=1))

    window = seen(office, now).window

    assert window.start == since
    assert str(window.cost) == "2.00"
    assert window.runs == 100


def test_a_window_shorter_than_an_hour_is_exact(office: Any, now: datetime) -> None:
    office.deploy("mailer")
    office.fleet.set_policy({"window": "10m"})
    for minutes in (1, 9, 11):
        office.money("mailer", "cost", "1", now - timedelta(minutes=minutes))
    office.runs("mailer", 60, now, every=timedelta(minutes=1))

    window = seen(office, now).window

    assert str(window.cost) == "2.00"
    assert window.runs == 10


def test_spend_per_replica_and_day_counts_from_the_first_sign_of_life(office: Any, now: datetime) -> None:
    office.deploy("mailer", replicas=2)
    office.history("mailer", cost="1.00", revenue="0", runs=48)

    spend = seen(office, now).spend_per_replica_day

    assert float(spend.to_decimal()) == pytest.approx(48 / 2 / (47.5 / 24), rel=1e-6)


def test_a_step_within_the_window_counts_its_replicas_for_their_time(office: Any, now: datetime) -> None:
    office.deploy("mailer")
    office.history("mailer", cost="1.00", revenue="0", runs=96)
    office.fleet.scale("mailer", 3, step=Step(now - DAY, 1, 3, "d-1"))

    evidence = seen(office, now)

    assert evidence.replica_time == (95.5 - 24) * HOUR + 3 * 24 * HOUR
    assert evidence.last_step is not None
    assert evidence.last_step.after.runs == 24
    assert str(evidence.last_step.after.cost) == "24.00"
    assert evidence.last_step.before is not None
    assert str(evidence.last_step.before.cost) == "71.00"  # without the hour of the step


def test_a_source_never_synced_or_failed_or_old_is_stale(office: Any, now: datetime) -> None:
    office.deploy("mailer")
    assert seen(office, now).stale == ()
    assert seen(office, now, configured=frozenset({"stripe"})).stale == ("stripe",)

    office.money("mailer", "revenue", "9", now - HOUR, source="stripe")
    assert seen(office, now).stale == ("stripe",)

    office.ledger.cursors.succeeded("stripe", "c", now - timedelta(minutes=5), now - timedelta(minutes=5))
    assert seen(office, now).stale == ()
    assert seen(office, now).window.end == now - timedelta(minutes=5)

    office.ledger.cursors.failed("stripe", "down", now)
    assert seen(office, now).stale == ("stripe",)

    office.ledger.cursors.succeeded("stripe", "c", now - timedelta(minutes=31), now - timedelta(minutes=31))
    assert seen(office, now).stale == ("stripe",)


def test_amounts_without_a_rate_are_named(office: Any, now: datetime) -> None:
    office.deploy("mailer")
    from nova.ledger.entries import Entry

    office.ledger.entries.record([Entry("x", "shop", "revenue", Money.parse("5 EUR", "USD"), now - HOUR, "mailer")])
    assert seen(office, now).unconverted == ("EUR",)
    office.ledger.rates.set("EUR", Decimal("1.1"), "dana")
    assert seen(office, now).unconverted == ()


def test_the_size_of_a_sale_is_its_own_or_its_departments_or_the_fleets(office: Any, now: datetime) -> None:
    office.deploy("own")
    office.deploy("sibling")
    office.deploy("stranger", department="sales")
    office.money("own", "revenue", "8", now - 90 * DAY)

    sizes = {evidence.worker: evidence.sale_size for evidence in look(office, now).evidence}

    assert {name: (size.amount, size.known_from) for name, size in sizes.items()} == {
        "own": (8.0, "own"),
        "sibling": (8.0, "department"),
        "stranger": (8.0, "fleet"),
    }


def test_a_sale_moved_to_another_worker_leaves_nothing_behind(office: Any, now: datetime) -> None:
    office.deploy("a")
    office.deploy("b")
    office.money("a", "revenue", "10", now - HOUR)
    stored = office.ledger.entries.find("history/e0")
    office.ledger.entries.reattribute([stored], "b", model="manual", evidence=None, by="dana")

    a, b = look(office, now).evidence

    assert (a.window.sales.count, a.window.returns.count, a.window.revenue.micros) == (0, 0, 0)
    assert (b.window.sales.count, str(b.window.revenue)) == (1, "10.00")


def test_earlier_windows_are_read_where_the_first_is_poor(office: Any, now: datetime) -> None:
    office.deploy("poor")
    office.deploy("rich")
    for name, revenue in (("poor", "1.40"), ("rich", "9")):
        office.history(name, cost="1", revenue=revenue, runs=24 * 22)

    poor, rich = look(office, now, traits=Traits(True, {"tone": ("plain", "warm")})).evidence

    assert [window.runs for window in poor.earlier] == [168, 168]
    assert poor.earlier[0].end == poor.window.start
    assert [change.value for change in poor.untried] == ["plain", "warm"]
    assert rich.earlier == ()


def test_the_first_windows_of_a_deployment_are_not_made_up(office: Any, now: datetime) -> None:
    office.deploy("young")
    office.history("young", cost="1", revenue="1.40", runs=24 * 15)
    assert len(seen(office, now).earlier) == 1


def test_an_outlier_brings_the_other_large_sales_along(office: Any, now: datetime) -> None:
    office.deploy("lucky")
    office.history("lucky", cost="0.10", revenue="0.60")
    office.money("lucky", "revenue", "100", now - 30 * HOUR)

    sales = seen(office, now).window.sales

    assert sales.peaks[0] == 100
    assert len(sales.peaks) > 1


def test_the_lowest_day_budget_over_a_deployment_counts(office: Any, now: datetime) -> None:
    office.deploy("capped", budget=(BudgetLimit("day", Money.parse("30", "USD")),))
    office.deploy("free")
    for name in ("capped", "free"):
        office.history(name, cost="1", revenue="1")
    gathered = look(office, now)

    by_name = {evidence.worker: evidence for evidence in gathered.evidence}
    assert by_name["capped"].budget_scope == "worker:capped"
    assert float(by_name["capped"].budget_left.to_decimal()) == pytest.approx(30 - 24.07, abs=0.01)
    assert by_name["free"].budget_scope == "fleet"
    assert gathered.budget.remaining == by_name["free"].budget_left
    assert str(gathered.budget.spent) == "26.00"  # thirteen hours of today, two deployments
    assert float(gathered.budget.remaining.to_decimal()) == pytest.approx(100 - 2 * 24.07, abs=0.02)


def test_what_a_living_run_has_spent_counts_before_it_is_booked(office: Any, now: datetime) -> None:
    from nova.ledger.budgets import RunRef

    office.deploy("mailer")
    run = RunRef("r", "mailer", "mailer#1", "research", "m")
    office.ledger.runs.started(run, now - HOUR)
    office.ledger.budgets.spend(run, Money.parse("3.50", "USD"))

    assert str(seen(office, now).window.cost) == "3.50"


def test_what_a_living_run_spent_after_the_window_does_not_count(office: Any, now: datetime) -> None:
    from nova.ledger.budgets import RunRef

    office.deploy("mailer")
    office.fleet.set_policy({"attribution_lag": "3d"})
    run = RunRef("r", "mailer", "mailer#1", "research", "m")
    office.ledger.runs.started(run, now - HOUR)
    office.ledger.budgets.spend(run, Money.parse("3.50", "USD"))

    assert seen(office, now).window.cost.micros == 0


def spend_a_day(office: Any, now: datetime) -> float:
    return float(seen(office, now).spend_per_replica_day.to_decimal())


def test_replicas_that_a_person_added_do_not_make_the_others_cheap(office: Any, now: datetime) -> None:
    office.deploy("mailer")
    office.history("mailer", cost="1.00", revenue="0", runs=168)
    services.scale(office, "mailer", replicas=3, by="dana")
    declared = {"department": "research", "agent": "shell", "name": "mailer", "config": {"command": "true"}}
    services.declare(office, **declared, replicas=8, by="dana")
    assert office.fleet.get("mailer").replicas == 8
    assert spend_a_day(office, now) == pytest.approx(24, rel=0.01)


def test_steps_before_the_last_one_count_too(office: Any, now: datetime) -> None:
    office.deploy("mailer")
    at = now - 2 * DAY
    office.history("mailer", cost="1.00", revenue="0", runs=120, end=at)
    engine_did(office, "scale_up", at, worker="mailer", from_replicas=1)
    office.history("mailer", cost="2.00", revenue="0", runs=24, end=at + DAY)
    office.fleet.scale("mailer", 4, step=Step(at + DAY, 2, 4, "d-2"))
    office.history("mailer", cost="4.00", revenue="0", runs=24, end=now)
    assert spend_a_day(office, now) == pytest.approx(24, rel=0.01)


def test_time_that_a_person_paused_it_is_not_served(office: Any, now: datetime) -> None:
    office.deploy("mailer")
    office.history("mailer", cost="1.00", revenue="0", runs=24, end=now - 6 * DAY)
    office.clock.set(now - 6 * DAY)
    services.pause(office, "mailer", by="dana")
    office.clock.set(now - DAY)
    services.resume(office, "mailer", by="dana")
    office.clock.set(now)
    office.history("mailer", cost="1.00", revenue="0", runs=24, end=now)
    assert spend_a_day(office, now) == pytest.approx(24, rel=0.02)


def engine_did(office: Any, kind: str, at: datetime, worker: str = "poor", **body: Any) -> None:
    made = DecisionRecord(f"d-{kind}", at, worker, kind, "executed", kind, "because", "engine", kind, body=body)
    office.ledger.decisions.add([made])


@pytest.mark.parametrize(
    ("probed_days_ago", "starts", "ends"),
    [
        (30, [-14, -21], [-7, -14]),  # long ago: the windows follow one another
        (10, [-10, -23], [-7, -16]),  # the second begins with the probe, the third ends with the pause
        (3, [-16, -23], [-9, -16]),  # the first begins with the probe
    ],
)
def test_the_windows_before_leave_out_the_pause_and_nothing_else(
    office: Any, now: datetime, probed_days_ago: int, starts: list[int], ends: list[int]
) -> None:
    hour = now.replace(minute=0)
    office.deploy("poor")
    office.history("poor", cost="1", revenue="1.40", runs=24 * 60)
    engine_did(office, "pause", hour - (probed_days_ago + 6) * DAY)
    engine_did(office, "resume", hour - probed_days_ago * DAY)

    earlier = seen(office, hour).earlier

    assert [(window.start - hour) / DAY for window in earlier] == starts
    assert [(window.end - hour) / DAY for window in earlier] == ends


def test_a_step_is_not_judged_by_what_was_before_a_persons_override(office: Any, now: datetime) -> None:
    office.deploy("mailer")
    office.history("mailer", cost="1.00", revenue="0", runs=96)
    office.fleet.scale("mailer", 3, step=Step(now - 2 * DAY, 1, 3, "d-1"))
    office.fleet.pause("mailer", "roi")
    office.fleet.resume("mailer", now - DAY, override=True)

    step = seen(office, now).last_step

    assert step is not None
    assert step.after.start == now - DAY
    assert step.before is None
