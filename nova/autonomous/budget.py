"""What a day leaves to spend, for the fleet and for every scope with a limit per day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nova.autonomous.evidence import Evidence
from nova.autonomous.policy import Policy
from nova.money import Money

if TYPE_CHECKING:
    from nova.fleet.documents import FleetSnapshot
    from nova.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True)
class DayBudget:
    """`committed` is what the declared replicas will spend in a day at their present pace beyond what is spent and
    reserved already, so that `remaining` may be spent every day and not only in what is left of this one."""

    limit: Money
    spent: Money
    reserved: Money
    committed: Money

    @property
    def remaining(self) -> Money:
        return self.limit - self.spent - self.reserved - self.committed

    def to_json(self) -> dict[str, Any]:
        names = ("limit", "spent", "reserved", "committed", "remaining")
        return {name: str(getattr(self, name)) for name in names}


def day_budgets(
    ledger: Ledger, snapshot: FleetSnapshot, policy: Policy, seen: Iterable[Evidence], now: datetime
) -> dict[str, DayBudget]:
    """By scope: fleet, department:D, worker:NAME; of several limits on one scope the lowest."""
    limits = _limits(snapshot, policy)
    pace: dict[str, int] = defaultdict(int)
    for evidence in seen:
        for scope in scopes_of(evidence):
            pace[scope] += evidence.daily_spend.micros
    used = ledger.budgets.usages([(scope, "day") for scope in limits], now)
    budgets = {}
    for scope, limit in limits.items():
        spent, reserved = used[scope, "day"].spent, used[scope, "day"].reserved
        ahead = max(0, pace[scope] - spent.micros - reserved.micros)
        budgets[scope] = DayBudget(limit, spent, reserved, Money(ahead, policy.currency))
    return budgets


def least_left(evidence: Evidence, budgets: Mapping[str, DayBudget]) -> Evidence:
    """The evidence with the budget over it that leaves the least."""
    scopes = [scope for scope in scopes_of(evidence) if scope in budgets]
    scope = min(scopes, key=lambda name: budgets[name].remaining.micros)
    return replace(evidence, budget_left=budgets[scope].remaining, budget_scope=scope)


def scopes_of(evidence: Evidence) -> tuple[str, str, str]:
    """Those it spends from, whether they have a budget or not."""
    return "fleet", f"department:{evidence.department}", f"worker:{evidence.worker}"


def _limits(snapshot: FleetSnapshot, policy: Policy) -> dict[str, Money]:
    limits = {"fleet": policy.max_daily_budget}
    given = [(budget.scope, budget.per, budget.limit) for budget in snapshot.budgets]
    given += [
        (f"worker:{one.name}", limit.per, limit.limit) for one in snapshot.deployments.values() for limit in one.budget
    ]
    for scope, per, limit in given:
        if per == "day" and limit.currency == policy.currency:
            limits[scope] = min(limits.get(scope, limit), limit)
    return limits
