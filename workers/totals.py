"""Deployments that a budget in total has stopped: they go on once it has room for what it stopped them at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nova.fleet.documents import Deployment, FleetSnapshot
from nova.ledger.limits import TOTAL, Limit
from nova.money import Money
from workers.parts import Parts


def stopped_by_total(one: Deployment) -> bool:
    """Only such a budget pauses without a time at which its window turns."""
    return one.state == "paused" and one.pause_reason == "budget" and one.state_until is None


def lacking(one: Deployment, left: Mapping[Limit, Money]) -> Limit | None:
    """The first of the limits in total, each with what it leaves, that has no room for what it was stopped at."""
    needed = one.needs.micros if one.needs is not None else 0
    return next((limit for limit, money in left.items() if money.micros < needed), None)


def left_in_total(nova: Parts, snapshot: FleetSnapshot, one: Deployment) -> dict[Limit, Money]:
    """What its budgets in total leave."""
    every = snapshot.limits_for(one, Money.zero(snapshot.currency))
    return nova.ledger.budgets.left(totals_of(Limit(*limit) for limit in every))


def totals_of(limits: Iterable[Limit]) -> list[Limit]:
    return [limit for limit in limits if limit.per == TOTAL]
