"""Monthly recurring revenue from what became of subscriptions: its movements by month, churn and lifetime value. Pure.

A customer's changes within one local day are one: who changes a plan by ending one and starting another is not lost.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import groupby

from nova.money import Money

Customer = str


@dataclass(frozen=True, slots=True)
class Change:
    """A subscription brings `monthly` from `day` on; `kept`: it goes on, if only paused."""

    customer: Customer
    subscription: str
    day: date
    monthly: Money
    kept: bool


@dataclass(frozen=True, slots=True)
class Month:
    """`start` + new + expansion + reactivated − contraction − churned = `end`; all are positive.

    `customers_*` pay or are paused; `came` are new or back, `lost` ended all they had.
    """

    first: date
    start: Money
    new: Money
    expansion: Money
    contraction: Money
    churned: Money
    reactivated: Money
    customers_start: int
    came: int
    lost: int

    @classmethod
    def begin(cls, first: date, start: Money, customers: int) -> Month:
        nothing = Money.zero(start.currency)
        return cls(first, start, nothing, nothing, nothing, nothing, nothing, customers, 0, 0)

    @property
    def end(self) -> Money:
        return self.start + self.new + self.expansion + self.reactivated - self.contraction - self.churned

    @property
    def customers_end(self) -> int:
        return self.customers_start + self.came - self.lost

    @property
    def gross_churn(self) -> Decimal | None:
        """Percent of the month's first MRR that was lost to churn and contraction; None without any."""
        return percent(self.churned + self.contraction, self.start)

    @property
    def net_churn(self) -> Decimal | None:
        """The same less expansion and what came back; below zero where that was more."""
        gained = self.expansion + self.reactivated
        return percent(self.churned + self.contraction - gained, self.start)

    @property
    def logo_churn(self) -> Decimal | None:
        """Percent of the month's first customers that were lost."""
        return _ratio(100 * self.lost, self.customers_start)

    @property
    def arpa(self) -> Money | None:
        """What a customer brings in the mean at the month's end."""
        return Money(self.end.micros // self.customers_end, self.end.currency) if self.customers_end else None


@dataclass(frozen=True, slots=True)
class Lifetime:
    """`value` None: nobody was lost in the `months` that count, so that nothing says how long a customer stays."""

    value: Money | None
    arpa: Money | None
    margin: Decimal
    churn: Decimal | None
    months: int


def percent(part: Money, whole: Money) -> Decimal | None:
    return _ratio(100 * part.micros, whole.micros)


def _ratio(part: int, whole: int) -> Decimal | None:
    return (Decimal(part) / Decimal(whole)).quantize(Decimal("0.01"), ROUND_HALF_EVEN) if whole > 0 else None


def movements(changes: Iterable[Change], until: date, currency: str) -> list[Month]:
    """Every month from the first change to that of `until`, in order; later changes do not count."""
    steps = _steps(changes, until, currency)
    if not steps:
        return []
    months: list[Month] = []
    end, customers = Money.zero(currency), 0
    first = steps[0].day.replace(day=1)
    by_month = {month: list(found) for month, found in groupby(steps, key=lambda one: one.day.replace(day=1))}
    while first <= until:
        month = Month.begin(first, end, customers)
        for step in by_month.get(first, ()):
            month = step.applied(month)
        months.append(month)
        end, customers = month.end, month.customers_end
        first = (first + timedelta(days=32)).replace(day=1)
    return months


@dataclass(frozen=True, slots=True)
class _Step:
    """What a customer's day did: `kind` is a movement, `logo` +1 for who came and −1 for who was lost."""

    day: date
    kind: str
    amount: Money
    logo: int

    def applied(self, month: Month) -> Month:
        moved = replace(month, **{self.kind: getattr(month, self.kind) + self.amount})
        return replace(moved, came=month.came + (self.logo > 0), lost=month.lost + (self.logo < 0))


def _steps(changes: Iterable[Change], until: date, currency: str) -> list[_Step]:
    by_customer: dict[Customer, list[Change]] = defaultdict(list)
    for change in changes:
        if change.day <= until:
            by_customer[change.customer].append(change)
    steps = [step for of_one in by_customer.values() for step in _of_customer(of_one, currency)]
    return sorted(steps, key=lambda step: step.day)


def _of_customer(changes: Sequence[Change], currency: str) -> Iterable[_Step]:
    """`changes` of one day stay in the order they are given in."""
    held: dict[str, Change] = {}
    before, is_customer, was_customer = Money.zero(currency), False, False
    for day, of_day in groupby(sorted(changes, key=lambda one: one.day), key=lambda one: one.day):
        held |= {one.subscription: one for one in of_day}
        after = Money.total([one.monthly for one in held.values()], currency)
        stays = after.micros > 0 or (is_customer and any(one.kept for one in held.values()))
        step = _step(day, before, after, is_customer, was_customer, stays)
        if step is not None:
            yield step
        before, is_customer, was_customer = after, stays, was_customer or stays


def _step(day: date, before: Money, after: Money, was: bool, ever: bool, stays: bool) -> _Step | None:
    if was and not stays:
        return _Step(day, "churned", before, -1)
    if not was and stays:
        return _Step(day, "reactivated" if ever else "new", after, 1)
    if before == after:
        return None
    grew = after > before
    return _Step(day, "expansion" if grew else "contraction", after - before if grew else before - after, 0)


def lifetime(months: Sequence[Month], margin: Decimal) -> Lifetime:
    """ARPA × gross margin ÷ customer churn. `months` are whole ones; their churn is taken together, as a mean a month.

    `margin` is a share of one.
    """
    arpa = months[-1].arpa if months else None
    lost, there = sum(month.lost for month in months), sum(month.customers_start for month in months)
    churn = _ratio(100 * lost, there)
    if arpa is None or not lost or not there:
        return Lifetime(None, arpa, margin, churn, len(months))
    worth = Decimal(arpa.micros) * margin * there / lost
    return Lifetime(
        Money(int(worth.to_integral_value(ROUND_HALF_EVEN)), arpa.currency), arpa, margin, churn, len(months)
    )


def month_ends(changes: Iterable[Change], today: date) -> Iterator[tuple[date, Mapping[Customer, int]]]:
    """What each customer brings a month, in millionths, at each month's end and today, if anything."""
    ordered = sorted((one for one in changes if one.day <= today), key=lambda one: one.day)
    held: dict[str, int] = {}
    brings: dict[Customer, int] = defaultdict(int)
    waiting = deque(ordered)
    month = ordered[0].day.replace(day=1) if ordered else today + timedelta(days=1)
    while month <= today:
        following = (month + timedelta(days=32)).replace(day=1)
        while waiting and waiting[0].day < following:
            change = waiting.popleft()
            brings[change.customer] += change.monthly.micros - held.get(change.subscription, 0)
            held[change.subscription] = change.monthly.micros
        yield month, {customer: micros for customer, micros in brings.items() if micros}
        month = following
