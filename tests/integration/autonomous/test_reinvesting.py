"""Profit goes back as budget: once, within every limit, and with a person's word where it is much."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nova.autonomous.approvals import approve, reject
from nova.autonomous.explain import explain
from nova.autonomous.reinvesting import proposal
from nova.errors import Refused
from nova.fleet.documents import BudgetLimit
from nova.money import Money

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def usd(amount: str) -> Money:
    return Money.parse(amount, "USD")


def deploy(office: Any, name: str, budget: str | None = "5/day", **given: Any) -> None:
    limits = (BudgetLimit.parse(budget, "USD"),) if budget else ()
    office.deploy(name, budget=limits, max_replicas=1, **given)


def earn(office: Any, name: str, *, cost: str = "0.20", revenue: str = "2.00", **given: Any) -> None:
    """For eight days, spent in full of a budget of 5 a day."""
    office.history(name, cost=cost, revenue=revenue, runs=200, **given)


def limit(office: Any, name: str) -> str:
    return str(office.fleet.get(name).budget[0].limit)


def budgets(result: Any) -> list[tuple[str, str, str]]:
    return [(one.worker, one.state, one.rule) for one in result.decisions if one.kind == "budget"]


@pytest.fixture
def winner(office: Any) -> Any:
    """43.20 of profit yesterday, of which a fifth is 8.64."""
    deploy(office, "winner")
    earn(office, "winner")
    office.enable(reinvest_share="20", max_daily_budget="100", scale_roi="100000")
    return office


def test_by_default_nothing_goes_back(office: Any) -> None:
    deploy(office, "winner")
    earn(office, "winner")
    office.enable()
    assert budgets(office.cycle()) == []
    assert proposal(office)["rows"][0]["amount"] == "0.00"
    assert proposal(office, share=20)["rows"][0]["amount"] == "5.00"


def test_a_share_of_yesterdays_profit_widens_the_budget_once(winner: Any) -> None:
    result = winner.cycle()
    assert budgets(result) == [("winner", "executed", "reinvest")]
    assert limit(winner, "winner") == "10.00"
    winner.clock.advance(3600)
    assert budgets(winner.cycle()) == []
    assert limit(winner, "winner") == "10.00"
    (record,) = [one for one in result.decisions if one.kind == "budget"]
    words = explain(winner, record.id)
    assert "5.00 to 10.00 (day)" in words
    assert "of the profit of 2026-11-20" in words
    assert winner.ledger.audit.verify().ok


def test_the_next_days_share_takes_the_place_of_the_one_before(winner: Any) -> None:
    winner.cycle()
    winner.clock.advance(86400)
    end = winner.clock.now()
    winner.history("winner", cost="0.42", revenue="2.00", runs=24, end=end)
    assert budgets(winner.cycle()) == [("winner", "executed", "reinvest")]
    assert limit(winner, "winner") == "10.00"  # 5 and what the next day earned, not 5 and both


def test_what_was_put_back_is_taken_again_when_its_day_is_over_and_nothing_follows(winner: Any) -> None:
    winner.cycle()
    winner.enable(reinvest_share="0")
    winner.clock.advance(86400)
    assert budgets(winner.cycle()) == [("winner", "executed", "reinvest_over")]
    assert limit(winner, "winner") == "5.00"
    winner.clock.advance(3600)
    assert budgets(winner.cycle()) == []


def test_a_limit_that_a_person_set_since_stays(winner: Any) -> None:
    winner.cycle()
    winner.fleet.set_budget("worker:winner", "day", usd("7"))
    winner.enable(reinvest_share="0")
    winner.clock.advance(86400)
    assert budgets(winner.cycle()) == []
    assert limit(winner, "winner") == "7.00"


def test_a_budget_in_total_keeps_what_it_was_given(office: Any) -> None:
    deploy(office, "winner", "41/total")
    earn(office, "winner")
    office.enable(reinvest_share="10", max_daily_budget="100", scale_roi="100000")
    office.cycle()
    assert limit(office, "winner") == "45.32"
    office.enable(reinvest_share="0")
    office.clock.advance(86400)
    assert budgets(office.cycle()) == []
    assert limit(office, "winner") == "45.32"


def test_much_waits_for_a_person_and_is_carried_out_when_approved(winner: Any) -> None:
    winner.enable(require_approval_above="1")
    (record,) = [one for one in winner.cycle().decisions if one.kind == "budget"]
    assert record.state == "pending"
    assert limit(winner, "winner") == "5.00"
    winner.clock.advance(600)
    assert budgets(winner.cycle()) == []
    assert winner.ledger.decisions.get(record.id).state == "pending"
    assert approve(winner, record.id, "dana").state == "executed"
    assert limit(winner, "winner") == "10.00"
    winner.clock.advance(600)
    assert budgets(winner.cycle()) == []


def test_what_a_person_rejects_is_not_put_back_elsewhere(winner: Any) -> None:
    winner.enable(require_approval_above="1")
    (record,) = [one for one in winner.cycle().decisions if one.kind == "budget"]
    reject(winner, record.id, "dana")
    winner.clock.advance(600)
    assert budgets(winner.cycle()) == []


def test_an_approval_for_a_budget_that_was_changed_since_is_refused(winner: Any) -> None:
    winner.enable(require_approval_above="1")
    (record,) = [one for one in winner.cycle().decisions if one.kind == "budget"]
    winner.fleet.set_budget("worker:winner", "day", usd("6"))
    with pytest.raises(Refused):
        approve(winner, record.id, "dana")
    assert limit(winner, "winner") == "6.00"


def test_an_approval_for_profit_that_was_refunded_since_is_refused(winner: Any) -> None:
    winner.enable(require_approval_above="1")
    (record,) = [one for one in winner.cycle().decisions if one.kind == "budget"]
    winner.money("winner", "refund", "500", winner.clock.now() - timedelta(minutes=1))
    with pytest.raises(Refused):
        approve(winner, record.id, "dana")
    assert limit(winner, "winner") == "5.00"


def test_what_waits_for_yesterdays_profit_is_superseded_by_todays(winner: Any) -> None:
    winner.enable(require_approval_above="1", approval_expiry="7d")
    (old,) = [one for one in winner.cycle().decisions if one.kind == "budget"]
    winner.clock.advance(86400)
    winner.history("winner", cost="0.21", revenue="2.00", runs=24, end=winner.clock.now())
    (new,) = [one for one in winner.cycle().decisions if one.kind == "budget"]
    assert winner.ledger.decisions.get(old.id).state == "superseded"
    assert new.state == "pending"


def test_the_fleets_day_bounds_it(winner: Any) -> None:
    winner.enable(max_daily_budget="6")  # 4.80 a day is spent already
    winner.cycle()
    assert limit(winner, "winner") == "6.18"


def test_no_profit_comes_from_nobodys_or_unconverted_money_and_refunds_count(winner: Any) -> None:
    yesterday = datetime(2026, 11, 20, 12, tzinfo=UTC)
    winner.money(None, "revenue", "1000", yesterday)
    winner.money("winner", "revenue", "1000 EUR", yesterday)
    winner.money("winner", "refund", "30", yesterday)
    winner.money(None, "cost", "3.20", yesterday)
    assert proposal(winner)["profit"] == "10.00"


def test_what_nobody_is_charged_with_comes_off_the_profit(winner: Any) -> None:
    winner.money(None, "fee", "3.20", datetime(2026, 11, 20, 12, tzinfo=UTC))
    assert proposal(winner)["profit"] == "40.00"


@pytest.mark.parametrize("kind", ["refund", "dispute"])
def test_what_was_refunded_since_is_not_put_back(winner: Any, kind: str) -> None:
    sold = winner.ledger.reports.report("worker", since=datetime(2026, 11, 21, tzinfo=UTC)).total.revenue
    winner.money("winner", kind, str(sold + usd("40")), winner.clock.now() - timedelta(minutes=1))
    assert proposal(winner)["profit"] == "3.20"
    assert proposal(winner)["available"] == "0.64"


def test_what_was_refunded_beyond_a_days_sales_comes_off_the_days_that_follow(winner: Any) -> None:
    """48.00 were sold a day: 60.00 given back on the 18th leave 12.00 to the 19th, which brought more than that."""
    winner.money("winner", "refund", "60", datetime(2026, 11, 18, 12, tzinfo=UTC))
    assert proposal(winner)["profit"] == "43.20"
    winner.money("winner", "refund", "60", datetime(2026, 11, 19, 12, tzinfo=UTC))
    assert proposal(winner)["profit"] == "19.20"  # 12.00 of each of the two days before


@pytest.mark.parametrize("kind", ["refund", "fee"])
def test_what_was_given_back_without_a_rate_makes_no_profit_certain(winner: Any, kind: str) -> None:
    winner.money("other", kind, "1 EUR", datetime(2026, 11, 20, 12, tzinfo=UTC))
    assert proposal(winner)["problem"] == "costs, refunds or fees in EUR have no rate: no profit is certain"
    assert budgets(winner.cycle()) == []


def test_a_cost_without_a_rate_makes_no_profit_certain(winner: Any) -> None:
    winner.money("other", "cost", "1 EUR", datetime(2026, 11, 20, 12, tzinfo=UTC))
    assert "EUR" in proposal(winner)["problem"]
    assert budgets(winner.cycle()) == []


def test_a_period_is_not_closed_before_the_lag(winner: Any) -> None:
    assert proposal(winner)["period"] == "2026-11-20"
    winner.enable(attribution_lag="1d")
    assert proposal(winner)["period"] == "2026-11-19"
    winner.enable(attribution_lag="0", reinvest_period="month")
    assert proposal(winner)["period"] == "2026-10"


def test_the_better_margin_wins_over_the_better_mean(office: Any, now: datetime) -> None:
    """`tired` has the better ROI in all, but what it spent more lately brought nothing more."""
    for name in ("tired", "steady"):
        deploy(office, name)
    office.history("tired", cost="0.10", revenue="3.00", runs=168, end=now - timedelta(days=7))
    office.history("tired", cost="0.20", revenue="3.00", runs=168)
    office.history("steady", cost="0.10", revenue="1.00", runs=168, end=now - timedelta(days=7))
    office.history("steady", cost="0.20", revenue="2.00", runs=168)
    office.enable(reinvest_share="5", max_daily_budget="100", scale_roi="100000")
    rows = {row["worker"]: row for row in proposal(office)["rows"]}
    assert "than in the 7.0d before" in rows["steady"]["reason"]
    assert float(rows["steady"]["amount"]) > 0
    assert rows["tired"]["amount"] == "0.00"


@pytest.mark.parametrize(
    ("budget", "cost", "why"),
    [(None, "0.20", "no budget of its own"), ("500/day", "0.20", "spent only $4.80 of the $500.00")],
)
def test_who_has_no_use_for_more_gets_none(office: Any, budget: str | None, cost: str, why: str) -> None:
    deploy(office, "winner", budget)
    earn(office, "winner", cost=cost)
    office.enable(reinvest_share="20", max_daily_budget="1000", scale_roi="100000")
    (row,) = proposal(office)["rows"]
    assert (row["amount"], why in row["reason"]) == ("0.00", True)


def test_what_is_protected_leaves_the_share_to_others(winner: Any) -> None:
    deploy(winner, "second")
    earn(winner, "second", revenue="1.50")
    winner.enable(protected="winner", max_actions_per_cycle="5")
    assert budgets(winner.cycle()) == [("second", "executed", "reinvest")]


def test_the_share_goes_to_the_best_and_then_to_the_next(winner: Any) -> None:
    deploy(winner, "second")
    earn(winner, "second", revenue="1.50")
    winner.enable(reinvest_share="10", max_actions_per_cycle="5")
    winner.cycle()
    assert (limit(winner, "winner"), limit(winner, "second")) == ("10.00", "7.44")  # 10% of 43.20 + 31.20, 5.00 first


def test_with_the_switch_off_it_only_advises(winner: Any) -> None:
    winner.fleet.set_autonomous(False)
    assert budgets(winner.cycle()) == [("winner", "advised", "reinvest")]
    assert limit(winner, "winner") == "5.00"


def test_a_cycle_that_was_cut_short_gives_nothing_twice(winner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import nova.autonomous.cycle as cycle

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cycle, "close", cut)
        with pytest.raises(KeyboardInterrupt):
            winner.cycle()
    assert limit(winner, "winner") == "10.00"
    winner.clock.advance(600)
    assert budgets(winner.cycle()) == []
    assert limit(winner, "winner") == "10.00"
