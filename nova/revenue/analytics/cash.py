"""Cash flow by local day, and how long the money lasts. Payouts move no money here: they only change where it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from nova.clock import iso
from nova.errors import UsageProblem
from nova.ledger.flows import DaySum, read_days
from nova.money import Money
from nova.revenue.analytics.office import FleetOffice, instant_of
from nova.revenue.reports import unconverted

if TYPE_CHECKING:
    from nova.ledger.ledger import Ledger

_DAY = timedelta(days=1)
_DEDUCTED = {"refund": "refunds", "dispute": "disputes", "fee": "fees"}


@dataclass(frozen=True, slots=True)
class Flow:
    """What came and went, each as a positive amount; `adjustments` are corrections of revenue, with their sign."""

    sales: Money
    refunds: Money
    disputes: Money
    fees: Money
    adjustments: Money
    costs: Money

    @classmethod
    def zero(cls, currency: str) -> Flow:
        return cls(*(Money.zero(currency) for _ in fields(cls)))

    def __add__(self, other: Flow) -> Flow:
        return Flow(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    @property
    def revenue(self) -> Money:
        """Net: sales less refunds, disputes and fees, with what was corrected."""
        return self.sales - self.refunds - self.disputes - self.fees + self.adjustments

    @property
    def net(self) -> Money:
        return self.revenue - self.costs

    def to_json(self) -> dict[str, str]:
        return {**{one.name: str(getattr(self, one.name)) for one in fields(self)}, "net": str(self.net)}


@dataclass(frozen=True, slots=True)
class Balance:
    """A day with what was there when it began; its closing balance is the next day's opening one."""

    day: date
    opening: Money
    flow: Flow

    @property
    def closing(self) -> Money:
        return self.opening + self.flow.net

    def to_json(self) -> dict[str, str]:
        return {
            "day": self.day.isoformat(),
            "opening": str(self.opening),
            **self.flow.to_json(),
            "closing": str(self.closing),
        }


@dataclass(frozen=True, slots=True)
class Runway:
    """`burn` is what `days` whole days lost in the mean; below zero they gained, and `days_left` is None."""

    balance: Money
    burn: Money
    days: int
    days_left: int | None


def flows(sums: Sequence[DaySum], currency: str) -> dict[date, Flow]:
    """By day, of what is converted; a day without any has no place."""
    found: dict[date, Flow] = {}
    for day, kind, side, unit, _, micros in sums:
        if unit or side == "pending":
            continue
        name = "costs" if side == "cost" else _DEDUCTED.get(kind, "adjustments" if kind == "adjustment" else "sales")
        before = found.get(day) or Flow.zero(currency)
        found[day] = replace(before, **{name: getattr(before, name) + Money(micros, currency)})
    return found


def balances(found: Mapping[date, Flow], opening: Money, first: date, last: date) -> list[Balance]:
    """Each day from `first` to `last`. `opening` is what was there before the first entry ever."""
    for day, flow in found.items():
        if day < first:
            opening += flow.net
    rows: list[Balance] = []
    for n in range((last - first).days + 1):
        day = first + n * _DAY
        rows.append(Balance(day, opening, found.get(day) or Flow.zero(opening.currency)))
        opening = rows[-1].closing
    return rows


def runway(balance: Money, days: Sequence[Flow]) -> Runway:
    """`days` are whole days, also those without an entry. A balance of nothing lasts no day."""
    lost = -Money.total([flow.net for flow in days], balance.currency)
    if not days or lost.micros <= 0:
        return Runway(balance, _mean(lost, len(days)), len(days), None)
    return Runway(balance, _mean(lost, len(days)), len(days), max(0, balance.micros * len(days) // lost.micros))


def _mean(amount: Money, parts: int) -> Money:
    return Money(amount.micros // parts, amount.currency) if parts else amount


def read_flows(ledger: Ledger, until: datetime, workers: Collection[str] | None = None) -> dict[date, Flow]:
    store = ledger.store
    with ledger.read() as conn:
        return flows(list(read_days(conn, store.zone, until, workers)), store.currency)


def cashflow(
    nova: FleetOffice, *, since: datetime | None = None, until: datetime | None = None, now: datetime | None = None
) -> dict[str, Any]:
    """By local day, from the day of `since` (30 days ago) to that before `until` (now). Raises UsageProblem."""
    store, snapshot = nova.ledger.store, nova.fleet.snapshot()
    at = instant_of(nova, now, since, until)
    end = min(until or at, at)
    last = (end - timedelta(microseconds=1)).astimezone(store.zone).date()
    first = since.astimezone(store.zone).date() if since else last - 29 * _DAY
    if first > last:
        raise UsageProblem("the cash flow would end before it begins", hint="--since must be before --until and --now")
    declared = snapshot.opening or Money.zero(store.currency)
    found = read_flows(nova.ledger, end)
    rows = balances(found, declared, first, last)
    total = Flow.zero(store.currency)
    for row in rows:
        total += row.flow
    return {
        "currency": store.currency,
        "since": first.isoformat(),
        "until": iso(end),
        "declared": str(declared),
        "opening": str(rows[0].opening),
        "rows": [row.to_json() for row in rows],
        "total": total.to_json(),
        "closing": str(rows[-1].closing),
        "entries": bool(found),
        "unconverted": unconverted(nova),
    }


def runway_of(nova: FleetOffice, *, days: int = 30, now: datetime | None = None) -> dict[str, Any]:
    """Over the last `days` whole local days, or as many as there are since the first entry."""
    store, snapshot = nova.ledger.store, nova.fleet.snapshot()
    end = instant_of(nova, now)
    today = end.astimezone(store.zone).date()
    found = read_flows(nova.ledger, end)
    declared = snapshot.opening or Money.zero(store.currency)
    balance = declared + Money.total([flow.net for flow in found.values()], store.currency)
    begun = min(found, default=today)
    first = max(begun, today - days * _DAY)
    seen = [found.get(first + n * _DAY) or Flow.zero(store.currency) for n in range((today - first).days)]
    left = runway(balance, seen)
    empty_on = None if left.days_left is None else _later(today, left.days_left)
    return {
        "currency": store.currency,
        "at": iso(end),
        "balance": str(balance),
        "declared": str(declared),
        "days": left.days,
        "daily_burn": str(left.burn.rounded()),
        "burning": left.days_left is not None,
        "days_left": left.days_left,
        "empty_on": empty_on,
        "entries": bool(found),
        "unconverted": unconverted(nova),
    }


def _later(day: date, days: int) -> str | None:
    """None beyond what a calendar holds."""
    try:
        return (day + days * _DAY).isoformat()
    except OverflowError:
        return None


def declare_opening(nova: FleetOffice, amount: str, by: str) -> Money:
    """What was there before the first entry. Raises UsageProblem."""
    opening = Money.parse(amount, nova.ledger.store.currency)
    if nova.fleet.open_with(opening):
        nova.ledger.audit.append(by, "opening_declared", "fleet", {"amount": f"{opening} {opening.currency}"})
    return opening
