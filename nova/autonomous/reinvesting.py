"""Profit that goes back as budget: once a closed period, as decisions that pass the gate like any other.

What was put back widens a deployment's limit for the period after; then the next period's share takes its place, or
the limit goes back to what it was. A limit in total keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from nova.autonomous.background import read_syncs
from nova.autonomous.decision import Decision, Kind
from nova.autonomous.engine import marginal_roi, unmatured
from nova.autonomous.evidence import Change, Evidence, StepEvidence, Window
from nova.autonomous.figures import read_windows
from nova.autonomous.office import Office, is_enabled, look, policy_of, synced_sources
from nova.autonomous.policy import Policy
from nova.autonomous.spans import Span
from nova.clock import iso, parse_time, to_us
from nova.errors import UsageProblem
from nova.ledger.limits import TOTAL
from nova.money import Money
from nova.revenue.reinvest import Candidate, Period, Share, last_closed, overdrawn, share_of, share_out
from nova.words import count, money, percent, span

if TYPE_CHECKING:
    from nova.autonomous.gather import Gathered
    from nova.fleet.documents import Deployment, FleetSnapshot
    from nova.ledger.decisions import DecisionRecord

RULE, OVER = "reinvest", "reinvest_over"
_USED = ("pending", "approved", "executed", "rejected")
_TIGHT = 80  # percent of a limit: who spends less has no use for more
_GREW = 1.1  # a cost that grew less tells little of what the additional money brought
_OWED = timedelta(days=31)  # what was given back so long before a period is still owed
_BACK = timedelta(days=100)  # grants are looked for so far back: a month's lasts for the next month


@dataclass(frozen=True, slots=True)
class Grant:
    """A budget decision as it was recorded."""

    record: DecisionRecord
    per: str
    base: Money
    to: Money
    amount: Money
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """`problem` says why nothing is put back at all. `outdated` wait for a person with an older period's profit."""

    period: Period
    profit: Money
    share_percent: float
    given: Money
    available: Money
    shares: tuple[Share, ...]
    endings: tuple[tuple[str, Grant], ...]
    outdated: tuple[DecisionRecord, ...]
    problem: str | None = None


def plan(
    nova: Office,
    snapshot: FleetSnapshot,
    policy: Policy,
    gathered: Gathered,
    at: datetime,
    *,
    without: str | None = None,
) -> Plan:
    """Of the last period that is closed for good: over, with the lag, and synced to its end.

    `without` is the id of a waiting decision to leave out of account, to decide on it again.
    """
    period = _closed(nova, policy, at)
    grants = [one for one in _grants(nova, policy.currency, at) if one.record.id != without]
    used = [one for one in grants if one.amount.micros > 0 and period.overlaps(one.since, one.until)]
    given = Money.total([one.amount for one in used], policy.currency)
    profit = _profit(nova, period, at)
    problem = _problem(nova)
    available = Money.zero(policy.currency)
    if problem is None:
        available = share_of(profit, policy.reinvest_share, given, gathered.budget.remaining)
    seen = {evidence.worker: evidence for evidence in gathered.evidence}
    standing = _standing(snapshot, grants)
    candidates = _candidates(nova, snapshot, policy, seen, standing, {one.record.worker for one in used}, period)
    shares = share_out(candidates, available, policy.min_roi)
    raised = {one.candidate.worker for one in shares if one.amount}
    endings = [
        (worker, grant)
        for worker, grant in standing.items()
        if grant.per != TOTAL and worker not in raised and not period.overlaps(grant.since, grant.until)
    ]
    waiting = [one.record for one in grants if one.record.state == "pending"]
    outdated = [one for one in waiting if not period.overlaps(*_span(one))]
    return Plan(
        period, profit, policy.reinvest_share, given, available, tuple(shares), tuple(endings), tuple(outdated), problem
    )


def plan_if_wanted(
    nova: Office, snapshot: FleetSnapshot, policy: Policy, gathered: Gathered, at: datetime
) -> Plan | None:
    """None where nothing is to be put back and nothing was: then nothing is read."""
    if not policy.reinvest_share and not _grants(nova, policy.currency, at):
        return None
    return plan(nova, snapshot, policy, gathered, at)


def decisions(plan: Plan, policy: Policy, seen: Mapping[str, Evidence]) -> list[Decision]:
    """What the plan asks for, for those that are looked at."""
    raises = [_raise(one, plan.period, policy, seen) for one in plan.shares if one.amount]
    return raises + [_end(worker, grant, policy, seen) for worker, grant in plan.endings if worker in seen]


def _raise(one: Share, period: Period, policy: Policy, seen: Mapping[str, Evidence]) -> Decision:
    found = one.candidate
    value = {
        "from": str(found.limit),
        "to": str(one.to),
        "base": str(found.base),
        "amount": str(one.amount),
        "of": period.name,
        "since": iso(period.since),
        "until": iso(period.until),
    }
    reason = f"of the profit of {period.name}: {one.reason}"
    # All of it may be spent in a single day, so that is what it may add to one.
    return _decision(found.worker, RULE, reason, found.per, value, one.to - found.limit, policy, seen)


def _end(worker: str, grant: Grant, policy: Policy, seen: Mapping[str, Evidence]) -> Decision:
    value = {
        "from": str(grant.to),
        "to": str(grant.base),
        "base": str(grant.base),
        "amount": str(Money.zero(policy.currency)),
        "of": grant.record.body["change"]["value"]["of"],
        "since": iso(grant.since),
        "until": iso(grant.until),
    }
    reason = f"what was put back of the profit of {value['of']} was for one {grant.per}, which is over"
    return _decision(worker, OVER, reason, grant.per, value, grant.base - grant.to, policy, seen)


def _decision(
    worker: str,
    rule: str,
    reason: str,
    per: str,
    value: Mapping[str, str],
    impact: Money,
    policy: Policy,
    seen: Mapping[str, Evidence],
) -> Decision:
    evidence = seen[worker]
    large = impact > policy.require_approval_above
    return Decision(
        worker=worker,
        kind=Kind.BUDGET,
        rule=rule,
        reason=reason,
        from_replicas=evidence.replicas,
        to_replicas=evidence.replicas,
        daily_cost_impact=impact,
        policy_version=policy.version,
        roi_percent=evidence.window.roi,
        confidence=policy.confidence,
        risk="high" if large else "low",
        change=Change(f"budget/{per}", dict(value)),
    )


def _closed(nova: Office, policy: Policy, at: datetime) -> Period:
    """Not before the lag is over and every platform that is synced is known to its end."""
    with nova.ledger.read() as conn:
        syncs = read_syncs(conn, synced_sources(nova.settings))
    known = syncs.covered(syncs.configured)
    until = at - policy.attribution_lag
    return last_closed(policy.reinvest_period, until if known is None else min(until, known), nova.ledger.store.zone)


def _profit(nova: Office, period: Period, at: datetime) -> Money:
    """What is attributed and converted, less refunds, fees, disputes and costs, also those of nobody.

    What was given back before or since, beyond the sales of those days, comes off too: it was never realised.
    """
    found, nothing = nova.ledger.reports.report("worker", period.since, period.until), _nothing(nova)
    attributed = Money.total([row.totals.revenue for row in found.rows], nothing.currency)
    days = nova.ledger.reports.days(period.since - _OWED, at)
    first, after = period.since.date().isoformat(), period.until.date().isoformat()
    before = overdrawn([row.totals.revenue for row in days if row.key < first], nothing.currency)
    since = Money.total([row.totals.revenue for row in days if row.key >= after], nothing.currency)
    return attributed + min(found.unattributed.revenue, nothing) - found.total.cost + before + min(since, nothing)


def _nothing(nova: Office) -> Money:
    return Money.zero(nova.ledger.store.currency)


def _problem(nova: Office) -> str | None:
    """Money that came in and has no rate makes the profit only smaller; money that went makes it uncertain."""
    waiting = [one for one in nova.ledger.reports.unconverted() if one.side == "cost" or one.amount.micros < 0]
    unknown = ", ".join(sorted({one.amount.currency for one in waiting}))
    what = "costs" if all(one.side == "cost" for one in waiting) else "costs, refunds or fees"
    return f"{what} in {unknown} have no rate: no profit is certain" if unknown else None


def _grants(nova: Office, currency: str, at: datetime) -> list[Grant]:
    """Every budget decision that did or may do something, the newest first."""
    found = nova.ledger.decisions.of_kind(Kind.BUDGET.value, at - _BACK, _USED)
    return [_grant(one, currency) for one in found]


def _grant(record: DecisionRecord, currency: str) -> Grant:
    change = record.body["change"]
    base, to, amount = (Money.parse(change["value"][name], currency) for name in ("base", "to", "amount"))
    return Grant(record, change["key"].removeprefix("budget/"), base, to, amount, *_span(record))


def _span(record: DecisionRecord) -> tuple[datetime, datetime]:
    value = record.body["change"]["value"]
    return parse_time(value["since"]), parse_time(value["until"])


def _standing(snapshot: FleetSnapshot, grants: Iterable[Grant]) -> dict[str, Grant]:
    """The grants that hold: the last one executed for a worker, where nobody has set another limit since."""
    last: dict[str, Grant] = {}
    for grant in grants:
        if grant.record.state == "executed":
            last.setdefault(grant.record.worker, grant)
    return {
        worker: grant
        for worker, grant in last.items()
        if grant.amount.micros > 0
        and worker in snapshot.deployments
        and _limit(snapshot.deployments[worker], grant.per) == grant.to
    }


def _limit(one: Deployment, per: str) -> Money | None:
    return next((held.limit for held in one.budget if held.per == per), None)


def _candidates(
    nova: Office,
    snapshot: FleetSnapshot,
    policy: Policy,
    seen: Mapping[str, Evidence],
    standing: Mapping[str, Grant],
    given: set[str],
    period: Period,
) -> list[Candidate]:
    """All that are looked at and earned anything."""
    earning = [one for one in seen.values() if one.window.revenue.micros > 0]
    before = _windows_before(nova, earning, policy.currency)
    found = []
    for evidence, earlier in zip(earning, before, strict=True):
        one = snapshot.deployments[evidence.worker]
        per = next((per for per in (policy.reinvest_period, TOTAL) if _limit(one, per) is not None), None)
        limit = (_limit(one, per) if per else None) or Money.zero(policy.currency)
        grant = standing.get(one.name)
        base = grant.base if grant is not None and grant.per == per and per != TOTAL else limit
        low, basis = marginal(evidence, earlier, policy)
        factor = round((policy.scale_factor - 1) * 1_000_000)
        most = Money(base.micros * factor // 1_000_000, policy.currency).rounded()
        held = _held(evidence, policy, per, one.name in given) or _slack(nova, one.name, per, base, period)
        found.append(Candidate(one.name, per or policy.reinvest_period, limit, base, most, low, basis, held))
    return found


def _windows_before(nova: Office, earning: Sequence[Evidence], currency: str) -> list[Window]:
    """As long as each one's window, and just before it."""
    spans = []
    for one in earning:
        start, end = to_us(one.window.start), to_us(one.window.end)
        spans.append(Span(one.worker, 2 * start - end, start))
    with nova.ledger.read() as conn:
        return read_windows(conn, spans, currency)


def marginal(evidence: Evidence, earlier: Window, policy: Policy) -> tuple[float | None, str]:
    """The lower bound of what additional money returned in percent, and what it is read from.

    The last step of the replicas, where it can be judged; else the window against the one before, where the cost grew;
    else the ROI as a whole. None where no cost is known.
    """
    step = evidence.last_step
    if step is not None and unmatured(step, policy) is None:
        bounds = marginal_roi(evidence, policy)
        if bounds is not None:
            return round(bounds.low, 2), f"the step from {step.from_replicas} to {step.to_replicas} replicas"
    window = evidence.window
    if earlier.runs >= policy.min_runs and window.cost.micros >= _GREW * earlier.cost.micros > 0:
        grown = replace(evidence, last_step=StepEvidence(window.start, 0, 1, earlier, window))
        bounds = marginal_roi(grown, policy)
        if bounds is not None:
            length = span(window.end - window.start)
            return round(bounds.low, 2), f"what it spent more in {length} than in the {length} before"
    roi = window.roi_bounds(evidence.size_of_a_sale, policy.confidence)
    return (None if roi is None else round(roi.low, 2)), "all it spent"


def _held(evidence: Evidence, policy: Policy, per: str | None, given: bool) -> str | None:
    if given:
        return "it has its part of this period's profit, or was asked for it"
    if per is None:
        return f"it has no budget of its own a {policy.reinvest_period} or in total that could be raised"
    if evidence.worker in policy.protected:
        return "it is protected: the engine may only advise on it"
    if evidence.state != "active":
        return f"it is {evidence.state.replace('_', ' ')}"
    if evidence.stale:
        return f"revenue is stale: {', '.join(evidence.stale)}"
    if evidence.unconverted:
        return f"amounts in {', '.join(evidence.unconverted)} have no rate"
    runs = evidence.window.runs
    if runs < policy.min_runs:
        return f"{count(runs, 'run')} {'is' if runs == 1 else 'are'} too few to tell"
    if evidence.window.success_rate < policy.min_success_rate:
        return f"only {percent(evidence.window.success_rate)} of its runs succeed"
    return None


def _slack(nova: Office, worker: str, per: str | None, base: Money, period: Period) -> str | None:
    """More budget is no use to who does not spend what it has of its own."""
    if per is None:
        return None
    last = period.until - timedelta(microseconds=1)
    used = nova.ledger.budgets.usage(f"worker:{worker}", per, last).spent
    if used.micros * 100 >= base.micros * _TIGHT:
        return None
    return f"it spent only {money(used)} of the {money(base)} it might"


def proposal(nova: Office, *, share: float | None = None, now: datetime | None = None) -> dict[str, Any]:
    """What would go where, by the policy or for another `share` in percent. Changes nothing."""
    if now is not None and now.year < 1971:
        raise UsageProblem(f"nothing was recorded before 1970: {iso(now)}")
    at, snapshot = now or nova.clock.now(), nova.fleet.snapshot()
    policy = policy_of(nova, snapshot)
    if share is not None:
        policy = replace(policy, reinvest_share=share)
    found = plan(nova, snapshot, policy, look(nova, snapshot, policy, at), at)
    return {
        "at": iso(at),
        "currency": policy.currency,
        "enabled": is_enabled(nova, snapshot),
        "share_percent": found.share_percent,
        "period": found.period.name,
        "since": iso(found.period.since),
        "until": iso(found.period.until),
        "profit": str(found.profit),
        "given": str(found.given),
        "available": str(found.available),
        "total": str(Money.total([one.amount for one in found.shares], policy.currency)),
        "problem": found.problem,
        "rows": [_row(one) for one in found.shares],
        "endings": [
            {"worker": worker, "per": grant.per, "limit": str(grant.to), "to": str(grant.base)}
            for worker, grant in found.endings
        ],
    }


def _row(one: Share) -> dict[str, Any]:
    found = one.candidate
    return {
        "worker": found.worker,
        "marginal_roi_low": found.marginal,
        "per": found.per,
        "limit": str(found.limit),
        "to": str(one.to if one.amount else found.limit),
        "amount": str(one.amount),
        "reason": one.reason,
    }
