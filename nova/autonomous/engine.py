"""`decide`: one deployment's evidence in, one verdict out. Pure: the same evidence always gives the same verdict."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from nova.autonomous.decision import Decision, Kind
from nova.autonomous.evidence import Change, Evidence, StepEvidence
from nova.autonomous.interval import Bounds, difference
from nova.autonomous.policy import Policy
from nova.money import MICROS, Money
from nova.words import count, money, percent, span, threshold, when

POOR_WINDOWS = 3


def decide(evidence: Evidence, policy: Policy, now: datetime) -> Decision:
    """The first rule that has an answer gives the verdict; the last one always has."""
    roi = evidence.window.roi_bounds(evidence.size_of_a_sale, policy.confidence)
    case = _Case(evidence, policy, now, roi)
    rules = _ACTIVE_RULES if evidence.state in ("active", "cooling_down") else _RESTING_RULES
    return next(verdict for rule in rules if (verdict := rule(case)) is not None)


def unmatured(step: StepEvidence, policy: Policy) -> str | None:
    """What the evidence of a step still lacks before another may follow, in words; None once it is mature.

    A step that was taken back keeps its lesson for a whole window, or the replicas would go up and down for ever.
    """
    if step.to_replicas < step.from_replicas and step.after.end - step.at < policy.window:
        tried = count(step.from_replicas, "replica")
        return f"{tried} did not pay, and that is tried again after {span(policy.window)}"
    if step.after.runs < policy.min_runs:
        return f"{count(step.after.runs, 'run')} since then, {policy.min_runs} are needed"
    rest = max(policy.warmup, policy.cooldown)
    if step.after.end - step.at < rest:
        return f"its evidence covers less than {span(rest)}"
    return None


def marginal_roi(evidence: Evidence, policy: Policy) -> Bounds | None:
    """ROI in percent of the replicas the last step added: what daily revenue rose by over what daily cost rose by.

    None where there was no step up, nothing to compare with, or where the added replicas cost nothing.
    """
    step = evidence.last_step
    if step is None or step.before is None or step.to_replicas <= step.from_replicas:
        return None
    if step.before.days <= 0 or step.after.days <= 0:
        return None
    cost = step.after.cost.micros / step.after.days - step.before.cost.micros / step.before.days
    if cost <= 0:
        return None
    size = evidence.size_of_a_sale
    after = step.after.revenue_bounds(size, policy.confidence).times(1 / step.after.days)
    before = step.before.revenue_bounds(size, policy.confidence).times(1 / step.before.days)
    return difference(after, before).times(100 * MICROS / cost).plus(-100)


@dataclass(frozen=True, slots=True)
class _Case:
    evidence: Evidence
    policy: Policy
    now: datetime
    roi: Bounds | None

    def verdict(self, kind: Kind, rule: str, reason: str, to: int, change: Change | None = None) -> Decision:
        seen = self.evidence
        added = to - seen.replicas if kind is not Kind.RESUME else to
        impact = seen.spend_per_replica_day * added
        roi = self.roi
        return Decision(
            worker=seen.worker,
            kind=kind,
            rule=rule,
            reason=reason,
            from_replicas=0 if kind is Kind.RESUME else seen.replicas,
            to_replicas=to,
            daily_cost_impact=impact,
            policy_version=self.policy.version,
            roi_percent=seen.window.roi,
            roi_low=round(roi.low, 2) if roi else None,
            roi_high=round(roi.high, 2) if roi else None,
            confidence=self.policy.confidence if roi else None,
            risk=_risk(kind, impact, self.policy),
            change=change,
        )

    def hold(self, rule: str, reason: str) -> Decision:
        return self.verdict(Kind.HOLD, rule, reason, self.evidence.replicas)

    def below(self, limit: float) -> bool:
        return self.roi is not None and self.roi.high < limit

    def above(self, limit: float) -> bool:
        return self.roi is not None and self.roi.low > limit

    def figures(self) -> str:
        roi, window = self.roi, self.evidence.window
        if roi is None:
            return "ROI is unknown"
        sales = count(window.sales.count, "sale")
        return (
            f"ROI is {percent(window.roi)} over {span(window.end - window.start)} "
            f"({money(window.revenue)} from {money(window.cost)}, {sales}; "
            f"with {self.policy.confidence:.0%} confidence each way {percent(roi.low)} to {percent(roi.high)})"
        )


Rule = Callable[[_Case], Decision | None]


def _killed(case: _Case) -> Decision | None:
    return case.hold("killed", "it is killed") if case.evidence.state == "killed" else None


def _parked(case: _Case) -> Decision | None:
    return case.hold("parked", "it is parked after repeated crashes") if case.evidence.state == "parked" else None


def _paused_by_others(case: _Case) -> Decision | None:
    reason = case.evidence.pause_reason or "operator"
    return None if reason == "roi" else case.hold(f"paused_by_{reason}", f"it is paused ({reason})")


def _probe(case: _Case) -> Decision:
    seen, policy = case.evidence, case.policy
    due = (seen.state_since or case.now) + policy.probe_interval
    if case.now < due:
        return case.hold("paused_by_roi", f"it is paused for its ROI; the next probe is due at {when(due)}")
    found = (
        f"it has been paused for its ROI for {span(policy.probe_interval)}: one instance may show for "
        f"{span(policy.probe_window)} whether that has changed"
    )
    return _within_budget(case, case.verdict(Kind.RESUME, "probe", found, 1))


def _probing(case: _Case) -> Decision | None:
    since = case.evidence.probing_since
    if since is None or case.now >= since + case.policy.probe_window:
        return None
    return case.hold("probing", f"one instance probes until {when(since + case.policy.probe_window)}")


def _too_few_runs(case: _Case) -> Decision | None:
    window, needed = case.evidence.window, case.policy.min_runs
    if window.runs >= needed:
        return None
    return case.hold("too_few_runs", f"{count(window.runs, 'run')} since {when(window.start)}, {needed} are needed")


def _warming_up(case: _Case) -> Decision | None:
    seen, warmup = case.evidence, case.policy.warmup
    if seen.first_run_at is None:
        return None
    begun = max(seen.first_run_at, seen.evidence_since or seen.first_run_at)
    if case.now - begun >= warmup:
        return None
    return case.hold("warming_up", f"its evidence began at {when(begun)}, less than {span(warmup)} ago")


def _no_cost(case: _Case) -> Decision | None:
    if case.evidence.window.cost.micros > 0:
        return None
    return case.hold("no_cost", "no cost is recorded in the window, so its ROI is unknown")


def _stale_revenue(case: _Case) -> Decision | None:
    sources = ", ".join(case.evidence.stale)
    return case.hold("stale_revenue", f"revenue may be missing: {sources} was not synced in time") if sources else None


def _unconverted(case: _Case) -> Decision | None:
    if not case.evidence.unconverted:
        return None
    return case.hold("unconverted", f"amounts in {', '.join(case.evidence.unconverted)} have no rate")


def _kill(case: _Case) -> Decision | None:
    limit = case.policy.kill_roi
    if not case.below(limit):
        return None
    return case.verdict(Kind.KILL, "kill", f"{case.figures()}: credibly below the {threshold(limit)} that kill", 0)


def _undo_step(case: _Case) -> Decision | None:
    step, policy = case.evidence.last_step, case.policy
    if step is None or unmatured(step, policy) or case.evidence.replicas != step.to_replicas:
        return None
    gained = marginal_roi(case.evidence, policy)
    if gained is None or gained.high >= policy.min_roi:
        return None
    return case.verdict(
        Kind.SCALE_DOWN,
        "undo_step",
        f"the step from {step.from_replicas} to {step.to_replicas} replicas did not pay: the ROI of what it added is "
        f"{percent(gained.mid)} and credibly below {threshold(policy.min_roi)} (at most {percent(gained.high)})",
        max(step.from_replicas, 1),
    )


def _scale_up(case: _Case) -> Decision | None:
    seen, policy = case.evidence, case.policy
    if not case.above(policy.scale_roi):
        return None
    blocked = _why_not_more(case)
    found = f"{case.figures()}: credibly above the {threshold(policy.scale_roi)} that scale up"
    if blocked:
        return case.hold(blocked[0], f"{found}, but {blocked[1]}")
    to = min(seen.max_replicas, max(seen.replicas + 1, _ceil(seen.replicas * policy.scale_factor)))
    step = case.verdict(
        Kind.SCALE_UP,
        "scale_up",
        f"{found}; {seen.replicas} to {to} replicas add "
        f"{money(seen.spend_per_replica_day * (to - seen.replicas))} a day",
        to,
    )
    return _within_budget(case, step)


def _why_not_more(case: _Case) -> tuple[str, str] | None:
    seen, policy = case.evidence, case.policy
    if not seen.scalable:
        return "not_scalable", "its agent cannot run more than one replica"
    if seen.replicas < 1:
        return "no_replicas", "it is declared with no replicas"
    if seen.replicas >= seen.max_replicas:
        return "at_max_replicas", f"it may have at most {count(seen.max_replicas, 'replica')}"
    if seen.window.success_rate < policy.min_success_rate:
        rate = seen.window.success_rate
        return (
            "low_success",
            f"only {percent(rate)} of its runs succeed, {threshold(policy.min_success_rate)} are needed",
        )
    if seen.state == "cooling_down":
        return "cooling_down", "it is cooling down after crashes"
    if seen.last_action_at and case.now - seen.last_action_at < policy.cooldown:
        last = when(seen.last_action_at)
        return "cooling_down", f"its last step was at {last}, less than {span(policy.cooldown)} ago"
    lacking = unmatured(seen.last_step, policy) if seen.last_step else None
    if seen.last_step and lacking:
        return "step_immature", f"the step at {when(seen.last_step.at)} cannot be judged yet: {lacking}"
    return None


def _within_budget(case: _Case, proposal: Decision) -> Decision:
    left, scope = case.evidence.budget_left, case.evidence.budget_scope
    if proposal.daily_cost_impact.micros <= max(left.micros, 0):
        return proposal
    why = f"the day's budget of {scope} leaves {money(left)} at the present pace"
    return case.hold("no_budget", f"{proposal.reason}, but {why}")


def _improve_or_pause(case: _Case) -> Decision | None:
    seen, limit = case.evidence, case.policy.min_roi
    if not case.below(limit):
        return None
    poor = _poor_windows(case)
    found = f"{case.figures()}: credibly below {threshold(limit)} over {poor} of {POOR_WINDOWS} successive windows"
    if poor < POOR_WINDOWS:
        return case.hold("below_band", found)
    if not seen.untried:
        return case.verdict(Kind.PAUSE, "pause", f"{found}, and nothing is left to tune", 0)
    change = seen.untried[0]
    reason = f"{found}: try {change.key} = {change.value!r}"
    return case.verdict(Kind.OPTIMIZE, "optimize", reason, seen.replicas, change)


def _poor_windows(case: _Case) -> int:
    poor, size = 0, case.evidence.size_of_a_sale
    for window in (case.evidence.window, *case.evidence.earlier)[:POOR_WINDOWS]:
        roi = window.roi_bounds(size, case.policy.confidence)
        if roi is None or window.runs < case.policy.min_runs or roi.high >= case.policy.min_roi:
            break
        poor += 1
    return poor


def _otherwise(case: _Case) -> Decision:
    roi, policy = case.evidence.window.roi, case.policy
    inside = roi is not None and policy.min_roi <= roi <= policy.scale_roi
    if inside:
        return case.hold(
            "in_band",
            f"{case.figures()}: between {threshold(policy.min_roi)} and {threshold(policy.scale_roi)}",
        )
    return case.hold("uncertain", f"{case.figures()}: too uncertain to act on")


_RESTING_RULES: tuple[Rule, ...] = (_killed, _parked, _paused_by_others, _probe)
_ACTIVE_RULES: tuple[Rule, ...] = (
    _probing,
    _too_few_runs,
    _warming_up,
    _no_cost,
    _stale_revenue,
    _unconverted,
    _kill,
    _undo_step,
    _scale_up,
    _improve_or_pause,
    _otherwise,
)


def _risk(kind: Kind, impact: Money, policy: Policy) -> str:
    """How much harm it does when it is wrong: killing is the hardest to take back, adding spend grows with the sum."""
    if kind is Kind.KILL or impact > policy.require_approval_above:
        return "high"
    if kind in (Kind.PAUSE, Kind.OPTIMIZE) or impact * 5 > policy.require_approval_above:
        return "medium"
    return "low"


def _ceil(value: float) -> int:
    return math.ceil(round(value, 9))
