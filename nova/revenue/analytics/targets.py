"""Targets as they are declared, and how far each has come: so far, by now, needed a day, and how likely it is met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from nova.clock import iso
from nova.errors import Refused
from nova.fleet.documents import FleetSnapshot
from nova.fleet.goals import Target
from nova.ledger.ledger import Ledger
from nova.money import MICROS, Money
from nova.revenue.analytics.cash import Flow, read_flows
from nova.revenue.analytics.forecast import estimated, look_ahead
from nova.revenue.analytics.mrr import percent
from nova.revenue.analytics.office import FleetOffice, instant_of
from nova.revenue.reports import unconverted

_DAY = timedelta(days=1)
_DEPARTMENT = "SELECT worker FROM deployments_seen WHERE department = ?"


@dataclass(frozen=True, slots=True)
class Period:
    """Local days from `first` until before `after`, and the share of them that has passed."""

    first: date
    after: date
    passed: Fraction

    @property
    def length(self) -> int:
        return (self.after - self.first).days


def period_of(per: str, at: datetime, zone: ZoneInfo) -> Period:
    """The day, week (from Monday), month or year of `at`, in real time: a day of 23 hours passes sooner."""
    today = at.astimezone(zone).date()
    first = {
        "day": today,
        "week": today - today.weekday() * _DAY,
        "month": today.replace(day=1),
        "year": today.replace(month=1, day=1),
    }[per]
    after = {
        "day": first + _DAY,
        "week": first + 7 * _DAY,
        "month": (first + 32 * _DAY).replace(day=1),
        "year": (first + 366 * _DAY).replace(month=1, day=1),
    }[per]
    begin, end = _midnight(first, zone), _midnight(after, zone)
    microsecond = timedelta(microseconds=1)
    return Period(first, after, Fraction((at - begin) // microsecond, (end - begin) // microsecond))


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def progress(target: Target, period: Period, found: Mapping[date, Flow], today: date) -> dict[str, Any]:
    """What is known without a forecast. `ahead` is how much more has come than a steady pace had brought by now."""
    currency = target.amount.currency
    so_far = Money.total([flow.revenue for day, flow in found.items() if period.first <= day <= today], currency)
    by_now = Money(int(target.amount.micros * period.passed), currency).rounded()
    missing = target.amount - so_far
    days_left = (period.after - today).days  # today too: it is not over
    return {
        "scope": target.scope,
        "per": target.per,
        "amount": str(target.amount),
        "since": period.first.isoformat(),
        "until": period.after.isoformat(),
        "so_far": str(so_far),
        "share_percent": _number(percent(so_far, target.amount)),
        "expected_by_now": str(by_now),
        "ahead": str(so_far - by_now),
        "reached": missing.micros <= 0,
        "days_left": days_left,
        "needed_per_day": str(Money(max(0, -(-missing.micros // days_left)), currency).rounded()),
    }


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def chance(target: Target, period: Period, found: Mapping[date, Flow], today: date) -> dict[str, Any]:
    """Where a forecast says it will end, and in how many of its paths the target is met. Raises Refused."""
    days = (period.after - today).days
    ahead, _ = look_ahead(found, "revenue", today, days)
    past = sum(flow.revenue.micros for day, flow in found.items() if period.first <= day < today) / MICROS
    ends = past + ahead.paths.sum(axis=0)
    low, high = ahead.band(ends, 0.9)
    met = float((ends >= target.amount.micros / MICROS).mean())
    currency = target.amount.currency
    return {
        "estimate": True,
        "expected": str(estimated(past + sum(ahead.mean), currency)),
        "low": str(estimated(low, currency)),
        "high": str(estimated(high, currency)),
        "level_percent": 90,
        "probability_percent": round(100 * met),
        "model": ahead.model,
    }


def workers_of(ledger: Ledger, snapshot: FleetSnapshot, scope: str) -> frozenset[str] | None:
    """Whose money counts for a scope, also of deployments that were retired. None: everybody's, and nobody's."""
    kind, _, name = scope.partition(":")
    if scope == "fleet":
        return None
    if kind == "worker":
        return frozenset({name})
    with ledger.read() as conn:
        seen = set(conn.exec_driver_sql(_DEPARTMENT, (name,)).scalars())
    there = snapshot.deployments
    declared = {one.name for one in there.values() if one.department == name}
    return frozenset(declared | (seen - there.keys()))


def target_list(nova: FleetOffice, *, now: datetime | None = None) -> dict[str, Any]:
    """Each with its progress. `forecast` is null where it cannot be told, and `why_no_forecast` says why."""
    at, store, snapshot = instant_of(nova, now), nova.ledger.store, nova.fleet.snapshot()
    today = at.astimezone(store.zone).date()
    rows = []
    known: dict[str, dict[date, Flow]] = {}
    for target in snapshot.targets:
        if target.scope not in known:
            known[target.scope] = read_flows(nova.ledger, at, workers_of(nova.ledger, snapshot, target.scope))
        found, period = known[target.scope], period_of(target.per, at, store.zone)
        row = progress(target, period, found, today)
        try:
            rows.append({**row, "forecast": chance(target, period, found, today), "why_no_forecast": None})
        except Refused as problem:
            rows.append({**row, "forecast": None, "why_no_forecast": problem.message})
    return {"currency": store.currency, "at": iso(at), "targets": rows, "unconverted": unconverted(nova, "revenue")}


def set_target(nova: FleetOffice, text: str, *, scope: str, by: str) -> Target:
    """`5000/month` of a scope, in the place of the one it had. Raises UsageProblem, NotFound."""
    target = Target.parse(text, scope, nova.ledger.store.currency)
    kind, _, name = scope.partition(":")
    if kind == "worker":
        nova.fleet.get(name)
    if nova.fleet.aim(target):
        nova.ledger.audit.append(by, "target_set", target.key, target.to_document())
    return target


def remove_target(nova: FleetOffice, scope: str, per: str, *, by: str) -> None:
    """Raises NotFound."""
    nova.fleet.unaim(f"{scope}/{per}")
    nova.ledger.audit.append(by, "target_removed", f"{scope}/{per}", {})
