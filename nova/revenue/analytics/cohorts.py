"""Customers by the month they came in: how many still pay in the months that follow, and what they bring."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from nova.clock import from_us, iso, to_us
from nova.errors import UsageProblem
from nova.money import Money
from nova.revenue.analytics.mrr import Change, month_ends
from nova.revenue.analytics.office import instant_of
from nova.revenue.analytics.recurring import read_changes
from nova.revenue.office import Office

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from nova.ledger.store import Store

KINDS = ("payment", "subscription")
_QUARTER_US = 900_000_000  # no zone's day turns between
_PAID = f"""SELECT coalesce(s.subject, c.subject) AS customer, e.at_us / {_QUARTER_US} AS quarter,
        sum(CASE WHEN e.kind = 'revenue' THEN 1 ELSE 0 END) AS sales,
        sum(CASE WHEN e.kind IN ('refund', 'fee', 'dispute') THEN -e.booked_micros ELSE e.booked_micros END) AS micros
    FROM credits c LEFT JOIN subjects s ON s.alias = c.subject
        JOIN entries e ON e.source = c.source AND e.object = c.object
    WHERE c.subject IS NOT NULL AND e.at_us < ? AND e.side = 'revenue' AND e.booked_micros IS NOT NULL
    GROUP BY 1, 2"""


class Paid(NamedTuple):
    """What a customer brought in a month. `pays`: something was sold, or a subscription stands."""

    customer: str
    month: date
    amount: Money
    pays: bool


@dataclass(frozen=True, slots=True)
class Cohort:
    """`retained` and `revenue` by month, the first being the one they came in."""

    first: date
    customers: int
    retained: tuple[int, ...]
    revenue: tuple[Money, ...]


def cohorts(paid: Iterable[Paid], last: date, currency: str) -> list[Cohort]:
    """By the month of each customer's first sale, in order, each up to the month `last`. Who never paid is in none."""
    rows = list(paid)
    came: dict[str, date] = {}
    for one in rows:
        if one.pays:
            came[one.customer] = min(one.month, came.get(one.customer, one.month))
    active: dict[tuple[date, int], set[str]] = defaultdict(set)
    brought: dict[tuple[date, int], int] = defaultdict(int)
    for one in rows:
        first = came.get(one.customer)
        if first is not None and first <= one.month <= last:
            place = (first, months_between(first, one.month))
            brought[place] += one.amount.micros
            if one.pays:
                active[place].add(one.customer)
    return [_cohort(first, last, active, brought, currency) for first in sorted({*came.values()}) if first <= last]


def _cohort(
    first: date,
    last: date,
    active: dict[tuple[date, int], set[str]],
    brought: dict[tuple[date, int], int],
    currency: str,
) -> Cohort:
    ages = range(months_between(first, last) + 1)
    retained = tuple(len(active.get((first, age), ())) for age in ages)
    return Cohort(first, retained[0], retained, tuple(Money(brought.get((first, age), 0), currency) for age in ages))


def months_between(first: date, last: date) -> int:
    return 12 * (last.year - first.year) + last.month - first.month


def subscribed(changes: Sequence[Change], today: date, currency: str) -> list[Paid]:
    """What each customer's subscriptions bring at the end of each month; the month they began in counts in any case."""
    begun: dict[str, date] = {}
    for one in changes:
        if one.monthly.micros > 0 and one.day <= today:
            month = one.day.replace(day=1)
            begun[one.customer] = min(month, begun.get(one.customer, month))
    paid = [Paid(customer, month, Money.zero(currency), True) for customer, month in begun.items()]
    for month, there in month_ends(changes, today):
        paid += [Paid(customer, month, Money(micros, currency), True) for customer, micros in there.items()]
    return paid


def read_paid(conn: Connection, store: Store, until: datetime) -> list[Paid]:
    """Of the payments whose customer is known, by a hash."""
    found: dict[tuple[str, date], list[int]] = defaultdict(lambda: [0, 0])
    for customer, quarter, sales, micros in conn.exec_driver_sql(_PAID, (to_us(until),)):
        month = from_us(quarter * _QUARTER_US).astimezone(store.zone).date().replace(day=1)
        sums = found[customer, month]
        sums[0] += sales
        sums[1] += micros
    return [Paid(who, month, Money(micros, store.currency), n > 0) for (who, month), (n, micros) in found.items()]


def cohort_table(
    nova: Office, *, of: str | None = None, months: int = 12, now: datetime | None = None
) -> dict[str, Any]:
    """Of the last `months`. `of` is payment or subscription; None: by payments where their customers are known.

    Raises UsageProblem.
    """
    if of not in (None, *KINDS):
        raise UsageProblem(f"not a kind of cohort: {of!r}", hint=f"it is {' or '.join(KINDS)}")
    at, store = instant_of(nova, now), nova.ledger.store
    today = at.astimezone(store.zone).date()
    paid: list[Paid] = []
    waiting: tuple[str, ...] = ()
    if of != "subscription":
        with nova.ledger.read() as conn:
            paid = read_paid(conn, store, at)
    kind = of or ("payment" if paid else "subscription")
    if kind == "subscription":
        converted = read_changes(nova.ledger, at)
        paid, waiting = subscribed(converted.changes, today, store.currency), converted.waiting
    found = cohorts(paid, today.replace(day=1), store.currency)[-months:]
    return {
        "currency": store.currency,
        "at": iso(at),
        "of": kind,
        "cohorts": [_row(one) for one in found],
        "unconverted": list(waiting),
    }


def _row(one: Cohort) -> dict[str, Any]:
    return {
        "month": f"{one.first:%Y-%m}",
        "customers": one.customers,
        "retained": list(one.retained),
        "retention_percent": [round(100 * n / one.customers, 1) for n in one.retained],
        "revenue": [str(amount) for amount in one.revenue],
    }
