"""How much of the realised profit the policy would put back, and where: a proposal with its reasons.

Over the policy's window each deployment that earns enough could take one step up. What the step costs for as long as
the window is what would be put back, best ROI first, out of the fleet's profit and within the daily budget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from nova.clock import format_duration, iso
from nova.money import Money, roi_percent
from nova.revenue.office import Office
from nova.words import count, money, percent, threshold

if TYPE_CHECKING:
    from nova.fleet.documents import Deployment
    from nova.fleet.fleet import Fleet

_DAY = timedelta(days=1)


class Thresholds(Protocol):
    """What of the policy counts here."""

    @property
    def min_roi(self) -> float: ...
    @property
    def min_runs(self) -> int: ...
    @property
    def min_success_rate(self) -> float: ...
    @property
    def scale_factor(self) -> float: ...
    @property
    def window(self) -> timedelta: ...
    @property
    def attribution_lag(self) -> timedelta: ...
    @property
    def max_daily_budget(self) -> Money: ...


class PolicyOffice(Office, Protocol):
    @property
    def fleet(self) -> Fleet: ...

    def policy(self) -> Thresholds: ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is known of one deployment over the window. `runs` and `success_rate` (percent) too."""

    worker: str
    replicas: int
    to_replicas: int
    revenue: Money
    cost: Money
    runs: int
    success_rate: float
    held: str | None = None

    @property
    def profit(self) -> Money:
        return self.revenue - self.cost

    @property
    def roi(self) -> float | None:
        return roi_percent(self.revenue, self.cost)

    @property
    def step(self) -> Money:
        """What the added replicas would cost over another window, at the present cost of one."""
        added = self.to_replicas - self.replicas
        return Money(self.cost.micros * added // max(1, self.replicas), self.cost.currency)


@dataclass(frozen=True, slots=True)
class Share:
    """`amount` put back into a deployment, or zero, and why."""

    candidate: Candidate
    amount: Money
    reason: str


def share_out(candidates: Sequence[Candidate], available: Money, min_roi: float, span: str) -> list[Share]:
    """Best ROI first, each at most its step, all together at most `available`. Pure."""
    shares: list[Share] = []
    left = available
    for one in sorted(candidates, key=lambda one: (-(one.roi or -math.inf), one.worker)):
        reason = one.held or _too_little(one, min_roi)
        if reason is not None:
            shares.append(Share(one, Money.zero(left.currency), reason))
            continue
        amount = min(one.step, left)
        left -= amount
        words = (
            f"ROI {percent(one.roi)} over {span} and {count(one.runs, 'run')}; "
            f"from {one.replicas} to {one.to_replicas} replicas"
        )
        short = "" if amount == one.step else f", {money(one.step)} if there were more to put back"
        shares.append(Share(one, amount, words + short))
    return shares


def _too_little(one: Candidate, min_roi: float) -> str | None:
    if one.roi is None:
        return "no cost is known"
    return f"ROI {percent(one.roi)} is below {threshold(min_roi)}" if one.roi < min_roi else None


def reinvest(nova: PolicyOffice, *, now: datetime | None = None) -> dict[str, Any]:
    """Proposes and changes nothing. `rows` are all deployments that earned, `total` what would be put back."""
    policy, ledger = nova.policy(), nova.ledger
    end = (now or nova.clock.now()) - policy.attribution_lag
    since = end - policy.window
    currency = ledger.store.currency
    totals = {row.key: row.totals for row in ledger.reports.report("worker", since, end).rows}
    runs = ledger.runs.sums(since, end)
    candidates = []
    for name, one in nova.fleet.snapshot().deployments.items():
        found, ran = totals.get(name), runs.get(name)
        if found is None or one.state == "killed":
            continue
        ended = 0 if ran is None else ran.succeeded + ran.failed
        rate = 100.0 * ran.succeeded / ended if ran is not None and ended else 0.0
        count = 0 if ran is None else ended + ran.interrupted
        held = _held(one, count, rate, policy)
        after = min(one.max_replicas, math.ceil(one.replicas * policy.scale_factor))
        candidates.append(Candidate(name, one.replicas, after, found.revenue, found.cost, count, rate, held))
    profit = Money.total([one.profit for one in candidates], currency)
    spent = Money.total([one.cost for one in candidates], currency)
    room = _room(policy, spent)
    available = max(Money.zero(currency), min(profit, room))
    shares = share_out(candidates, available, policy.min_roi, format_duration(policy.window.total_seconds()))
    total = Money.total([one.amount for one in shares], currency)
    return {
        "at": iso(now or nova.clock.now()),
        "currency": currency,
        "since": iso(since),
        "until": iso(end),
        "profit": str(profit),
        "available": str(available),
        "total": str(total),
        "share_percent": _percent(total, profit),
        "rows": [_row(one) for one in shares],
    }


def _held(one: Deployment, runs: int, success_rate: float, policy: Thresholds) -> str | None:
    if one.state != "active":
        return f"it is {one.state.replace('_', ' ')}"
    if one.replicas >= one.max_replicas or not one.replicas:
        return f"it has {one.replicas} of at most {one.max_replicas} replicas"
    if runs < policy.min_runs:
        return f"{count(runs, 'run')} {'is' if runs == 1 else 'are'} too few to tell"
    if success_rate < policy.min_success_rate:
        return f"only {percent(success_rate)} of its runs succeed"
    return None


def _room(policy: Thresholds, spent: Money) -> Money:
    """What the daily budget leaves over a window, beyond what is spent already."""
    days = policy.window / _DAY
    return Money(int(policy.max_daily_budget.micros * days), policy.max_daily_budget.currency) - spent


def _percent(part: Money, whole: Money) -> float | None:
    return round(100 * part.micros / whole.micros, 2) if whole.micros > 0 else None


def _row(one: Share) -> dict[str, Any]:
    candidate = one.candidate
    return {
        "worker": candidate.worker,
        "revenue": str(candidate.revenue),
        "cost": str(candidate.cost),
        "profit": str(candidate.profit),
        "roi_percent": candidate.roi,
        "runs": candidate.runs,
        "from_replicas": candidate.replicas,
        "to_replicas": candidate.to_replicas if one.amount else candidate.replicas,
        "amount": str(one.amount),
        "reason": one.reason,
    }
