"""The gate: which proposals are carried out now, which wait for a person, which only advise. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_EVEN, Decimal

from nova.autonomous.decision import Decision, Kind
from nova.autonomous.policy import Policy
from nova.money import Money

ADVISED, PENDING, EXECUTE, DEFERRED, HELD = "advised", "pending", "execute", "deferred", "held"
_OUTGROWN = Decimal("1.25")


@dataclass(frozen=True, slots=True)
class Standing:
    """A proposal that waits for a person: what it is, and which daily cost they were first asked for."""

    id: str
    fingerprint: str
    first_asked: Money


@dataclass(frozen=True, slots=True)
class Situation:
    """What the gate must know beside the proposals.

    `added` is what was added to the day's spend without a person in the last 24 h over the whole fleet, `budget_left`
    what the day leaves at the present pace by budget (fleet, department:D, worker:NAME), `scopes` which of these a
    worker spends from.
    """

    evaluated: int
    added: Money
    budget_left: Mapping[str, Money] = field(default_factory=dict)
    scopes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    advise_only: bool = False
    silenced: frozenset[str] = frozenset()
    standing: Mapping[str, Standing] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gated:
    """A proposal and what becomes of it; `keeps` is the id of the waiting record it confirms."""

    decision: Decision
    outcome: str
    requires_approval: bool = False
    keeps: str | None = None


def needs_person(impact: Money, added: Money, policy: Policy) -> bool:
    """Whether this much more a day exceeds what may be added without a person, alone or with what was added before."""
    return impact.micros > 0 and impact + added > policy.require_approval_above


def approvable(impact: Money, policy: Policy) -> Money:
    """Up to which daily cost an approval holds: the projection with a little headroom, since it moves by the hour."""
    headroom = Decimal(str(policy.approval_headroom)) / 100
    return _times(impact, 1 + headroom) if impact.micros > 0 else impact


def has_moved(amount: Money, shown: Money, policy: Policy) -> bool:
    """Whether a projection is by more than the headroom away from the one a person was shown."""
    return amount > approvable(shown, policy) or shown > approvable(amount, policy)


def gate(decisions: Iterable[Decision], policy: Policy, situation: Situation) -> list[Gated]:
    """Passes the proposals in the order of `Kind`, what spares money first, then the biggest effect, then by name.

    Holds come last and stay so.
    """
    cap = policy.max_actions_per_cycle.limit(situation.evaluated)
    passage = _Passage(policy, situation, cap, situation.added, dict(situation.budget_left))
    return [passage.admit(decision) for decision in sorted(decisions, key=_place)]


def _place(decision: Decision) -> tuple[int, bool, int, str]:
    impact = decision.daily_cost_impact.micros
    return decision.kind.priority, impact > 0, -abs(impact), decision.worker


@dataclass(slots=True)
class _Passage:
    policy: Policy
    situation: Situation
    actions_left: int
    added: Money
    budget_left: dict[str, Money]

    def admit(self, decision: Decision) -> Gated:
        if decision.kind is Kind.HOLD:
            return Gated(decision, HELD)
        if decision.fingerprint in self.situation.silenced:
            return Gated(_silenced(decision), HELD)
        person = needs_person(decision.daily_cost_impact, self.added, self.policy)
        if self.situation.advise_only or decision.worker in self.policy.protected:
            self._count(decision, person)
            return Gated(decision, ADVISED, person)
        standing = self.situation.standing.get(decision.worker)
        if person and standing and _stands(standing, decision):
            return Gated(decision, PENDING, True, standing.id)
        return self._act(decision, person)

    def _act(self, decision: Decision, person: bool) -> Gated:
        if self.actions_left < 1:
            return Gated(_because(decision, "deferred: the cycle's cap on actions is reached"), DEFERRED, person)
        if not person and (scope := self._exhausted(decision)):
            why = f"deferred: earlier steps took the rest of the day's budget of {scope}"
            return Gated(_because(decision, why), DEFERRED, person)
        self.actions_left -= 1
        self._count(decision, person)
        return Gated(decision, PENDING if person else EXECUTE, person)

    def _exhausted(self, decision: Decision) -> str | None:
        impact = decision.daily_cost_impact
        short = (scope for scope in self._scopes(decision) if impact > self.budget_left[scope])
        return next(short, None) if impact.micros > 0 else None

    def _count(self, decision: Decision, person: bool) -> None:
        if person or decision.daily_cost_impact.micros <= 0:
            return
        self.added = self.added + decision.daily_cost_impact
        for scope in self._scopes(decision):
            self.budget_left[scope] = self.budget_left[scope] - decision.daily_cost_impact

    def _scopes(self, decision: Decision) -> Iterable[str]:
        """Those whose budget it is to fit: not its own, where that is what it raises."""
        raised = f"worker:{decision.worker}" if decision.kind is Kind.BUDGET else None
        scopes = self.situation.scopes.get(decision.worker, ())
        return (scope for scope in scopes if scope in self.budget_left and scope != raised)


def _stands(standing: Standing, decision: Decision) -> bool:
    """The same proposal, whose cost has not outgrown by a quarter what was first asked for."""
    limit = _times(standing.first_asked, _OUTGROWN)
    return standing.fingerprint == decision.fingerprint and decision.daily_cost_impact <= limit


def _times(amount: Money, factor: Decimal) -> Money:
    return Money(int((amount.micros * factor).to_integral_value(ROUND_HALF_EVEN)), amount.currency)


def _silenced(decision: Decision) -> Decision:
    reason = f"a person rejected this proposal ({decision.kind}): {decision.reason}"
    return replace(
        decision, kind=Kind.HOLD, rule="rejected_recently", reason=reason, to_replicas=decision.from_replicas,
        daily_cost_impact=Money.zero(decision.daily_cost_impact.currency), risk="low", change=None,
    )  # fmt: skip


def _because(decision: Decision, why: str) -> Decision:
    return replace(decision, reason=f"{decision.reason} ({why})")
