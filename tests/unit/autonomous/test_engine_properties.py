from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nova.autonomous.decision import Kind
from nova.autonomous.engine import decide
from nova.autonomous.evidence import Change, Evidence, SaleSize, StepEvidence

# From the worst that can happen to a deployment to the best.
RANK = {kind: place for place, kind in enumerate(
    (Kind.KILL, Kind.SCALE_DOWN, Kind.PAUSE, Kind.OPTIMIZE, Kind.HOLD, Kind.SCALE_UP)
)}  # fmt: skip
DAY = timedelta(days=1)
sale_lists = st.lists(st.floats(0.01, 500).map(lambda x: round(x, 2)), max_size=10)


@st.composite
def cases(draw: st.DrawFn, builders: Any) -> tuple[Evidence, Any]:
    cost = st.decimals("0.01", "300", places=2).map(str)
    window = builders.window(
        draw(sale_lists),
        cost=draw(cost),
        runs=draw(st.integers(0, 60)),
        returns=draw(st.lists(st.floats(0.01, 100), max_size=2)),
        fees=draw(st.floats(0, 20)),
    )
    earlier = [builders.window(cost="90", end=builders.now - 7 * DAY * i) for i in range(1, 3)]
    at = builders.now - 2 * DAY
    step = StepEvidence(
        at, 1, 2,
        builders.window(draw(sale_lists), cost=draw(cost), end=at, length=5 * DAY),
        builders.window(draw(sale_lists), cost=draw(cost), length=2 * DAY),
    )  # fmt: skip
    most = draw(st.integers(1, 12))
    evidence = builders.evidence(
        window,
        replicas=draw(st.integers(0, most)),
        max_replicas=most,
        earlier=tuple(earlier[: draw(st.integers(0, 2))]),
        sale_size=draw(st.none() | st.floats(0.01, 500).map(lambda size: SaleSize(size, "own"))),
        last_step=draw(st.none() | st.just(step)),
        untried=draw(st.sampled_from([(), (Change("a", 1),)])),
        stale=draw(st.sampled_from([(), (), ("stripe",)])),
        budget_left=builders.usd(draw(cost)),
    )
    policy = builders.policy(confidence=draw(st.sampled_from(["0.8", "0.9", "0.95"])))
    return evidence, policy


def sold(builders: Any, evidence: Evidence, sales: list[float]) -> Evidence:
    old = evidence.window
    new = builders.window(
        sales, cost=str(old.cost), runs=old.runs, returns=old.returns.peaks, fees=old.fees, failed=old.failed
    )
    return replace(evidence, window=new)


@settings(max_examples=300)
@given(data=st.data())
def test_the_same_evidence_gives_the_same_decision(data: st.DataObject, builders: Any) -> None:
    evidence, policy = data.draw(cases(builders))
    assert decide(evidence, policy, builders.now) == decide(evidence, policy, builders.now)


@settings(max_examples=300)
@given(data=st.data())
def test_a_further_sale_never_worsens_the_verdict(data: st.DataObject, builders: Any) -> None:
    evidence, policy = data.draw(cases(builders))
    more = sold(builders, evidence, [*evidence.window.sales.peaks, data.draw(st.floats(0.01, 5000))])
    before = decide(evidence, policy, builders.now)
    after = decide(more, policy, builders.now)
    assert RANK[after.kind] >= RANK[before.kind], (before, after)


@settings(max_examples=300)
@given(data=st.data())
def test_larger_sales_never_worsen_the_verdict(data: st.DataObject, builders: Any) -> None:
    evidence, policy = data.draw(cases(builders))
    times = data.draw(st.floats(1, 20))
    more = sold(builders, evidence, [x * times for x in evidence.window.sales.peaks])
    before = decide(evidence, policy, builders.now)
    after = decide(more, policy, builders.now)
    assert RANK[after.kind] >= RANK[before.kind], (before, after)


@settings(max_examples=300)
@given(data=st.data())
def test_no_verdict_leaves_its_limits(data: st.DataObject, builders: Any) -> None:
    evidence, policy = data.draw(cases(builders))
    decision = decide(evidence, policy, builders.now)
    if decision.kind is Kind.SCALE_UP:
        assert evidence.replicas < decision.to_replicas <= evidence.max_replicas
        assert decision.daily_cost_impact <= evidence.budget_left
        assert decision.roi_low is not None
        assert decision.roi_low >= policy.scale_roi
    if decision.kind is Kind.KILL:
        assert decision.roi_high is not None
        assert decision.roi_high <= policy.kill_roi
    if decision.kind is Kind.HOLD:
        assert decision.to_replicas == decision.from_replicas
        assert not decision.daily_cost_impact


@given(data=st.data())
def test_without_data_it_holds(data: st.DataObject, builders: Any) -> None:
    evidence, policy = data.draw(cases(builders))
    nothing = replace(evidence, window=builders.window(cost="0", runs=data.draw(st.integers(0, 200))))
    assert decide(nothing, policy, builders.now).kind is Kind.HOLD
    assume(evidence.stale)
    assert decide(evidence, policy, builders.now).kind is Kind.HOLD
