"""Recurring revenue as a document: the ledger's subscriptions in the reporting currency, by the operator's rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select

from nova.clock import iso
from nova.ledger.ledger import Ledger
from nova.ledger.schema_revenue import subjects
from nova.ledger.subscriptions import SubscriptionEvent
from nova.money import Money
from nova.revenue.analytics.cash import Flow, read_flows
from nova.revenue.analytics.mrr import Change, Month, lifetime, movements, percent
from nova.revenue.analytics.office import instant_of
from nova.revenue.office import Office
from nova.revenue.subscriptions import cursor_of

LIFETIME_MONTHS = 12  # of whole months at most, so that old churn is forgotten


@dataclass(frozen=True, slots=True)
class Converted:
    """`waiting` are the currencies without a rate, whose subscriptions are left out."""

    changes: tuple[Change, ...]
    waiting: tuple[str, ...]


def changes_of(
    events: Iterable[SubscriptionEvent],
    zone: ZoneInfo,
    currency: str,
    rates: Mapping[str, Decimal],
    people: Mapping[str, str],
) -> Converted:
    """`events` of a subscription are in order. One rate a currency for all months: a changed rate is no expansion.

    `people` says which names of somebody are the same person's.
    """
    found: list[Change] = []
    waiting: set[str] = set()
    names: dict[str, str] = {}
    for event in events:
        code, key = event.monthly.currency, f"{event.source}/{event.id}"
        if event.subject is not None:
            names[key] = people.get(event.subject, event.subject)
        rate = Decimal(1) if code == currency else rates.get(code)
        if rate is None:
            waiting.add(code)
            continue
        brings = event.kind not in ("paused", "ended")
        monthly = event.monthly.converted(rate, currency) if brings else Money.zero(currency)
        kept = event.kind == "paused" or monthly.micros > 0
        found.append(Change(key, key, event.at.astimezone(zone).date(), monthly, kept))
    known = (Change(names.get(one.customer, one.customer), *_rest(one)) for one in found)
    return Converted(tuple(known), tuple(sorted(waiting)))


def _rest(one: Change) -> tuple[Any, ...]:
    return one.subscription, one.day, one.monthly, one.kept


def read_changes(ledger: Ledger, until: datetime, worker: str | None = None) -> Converted:
    """Of all subscriptions, or of those that are `worker`'s."""
    rates = {rate.currency: rate.rate for rate in ledger.rates.all()}
    events = ledger.subscriptions.all(until)
    if worker is not None:
        its = {(one.source, one.id) for one in events if one.worker == worker}
        events = [one for one in events if (one.source, one.id) in its]
    with ledger.read() as conn:
        people = {row.alias: row.subject for row in conn.execute(select(subjects.c.alias, subjects.c.subject))}
    return changes_of(events, ledger.store.zone, ledger.store.currency, rates, people)


def recurring(
    nova: Office,
    *,
    months: int = 12,
    worker: str | None = None,
    margin: Decimal | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """The last `months`, this one included, which is not over. `margin` is a share of one; else the ledger's own."""
    ledger, at = nova.ledger, instant_of(nova, now)
    store = ledger.store
    today = at.astimezone(store.zone).date()
    converted = read_changes(ledger, at, worker)
    found = movements(converted.changes, today, store.currency)
    whole = [month for month in found if month.first < today.replace(day=1)][-LIFETIME_MONTHS:]
    known = margin if margin is not None else _margin(ledger, at, whole, worker)
    worth = lifetime(whole, Decimal(1) if known is None else known)
    current = found[-1] if found else Month.begin(today.replace(day=1), Money.zero(store.currency), 0)
    return {
        "currency": store.currency,
        "at": iso(at),
        "worker": worker,
        "mrr": str(current.end),
        "arr": str(current.end * 12),
        "customers": current.customers_end,
        "arpa": None if current.arpa is None else str(current.arpa),
        "lifetime_value": None if worth.value is None else str(worth.value.rounded()),
        "lifetime": {
            "months": worth.months,
            "arpa": None if worth.arpa is None else str(worth.arpa),
            "margin_percent": None if known is None else _number(100 * known),
            "margin_from": "given" if margin is not None else "ledger" if known is not None else None,
            "logo_churn_percent": _number(worth.churn),
        },
        "months": [_row(month) for month in found[-months:]],
        "unconverted": list(converted.waiting),
        "problems": _problems(ledger),
    }


def _margin(ledger: Ledger, at: datetime, months: Sequence[Month], worker: str | None) -> Decimal | None:
    """The share of sales, or of `worker`'s, that all deductions and costs left over these months; None without any."""
    if not months:
        return None
    first, after = months[0].first, (months[-1].first + timedelta(days=32)).replace(day=1)
    total = Flow.zero(ledger.store.currency)
    for day, flow in read_flows(ledger, at, None if worker is None else {worker}).items():
        if first <= day < after:
            total += flow
    share = percent(total.net, total.sales)
    return None if share is None else min(max(share / 100, Decimal(0)), Decimal(1))


def _row(month: Month) -> dict[str, Any]:
    amounts = ("start", "new", "expansion", "contraction", "churned", "reactivated", "end")
    return {
        "month": f"{month.first:%Y-%m}",
        **{name: str(getattr(month, name)) for name in amounts},
        "customers": month.customers_end,
        "came": month.came,
        "lost": month.lost,
        "gross_churn_percent": _number(month.gross_churn),
        "net_churn_percent": _number(month.net_churn),
        "logo_churn_percent": _number(month.logo_churn),
        "arpa": None if month.arpa is None else str(month.arpa),
    }


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(round(value, 2))


def _problems(ledger: Ledger) -> list[dict[str, str]]:
    """The platforms that did not tell of subscriptions when they were asked last."""
    ending = cursor_of("")
    return [
        {"source": name.removesuffix(ending), "error": cursor.error}
        for name, cursor in ledger.cursors.all().items()
        if name.endswith(ending) and cursor.error is not None
    ]
