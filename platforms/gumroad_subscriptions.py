"""What became of Gumroad's subscriptions: from the sales that pay them, and from the subscribers where they end.

A subscription begins with its first charge, so not with a trial. What it brings a month is its latest charge by its
recurrence, in dollars. Gumroad lists only those that run: that one has ended is seen on its sales, and looked up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from nova.money import Money
from platforms.base import Missing
from platforms.events import SubscriptionFact, SubscriptionKind, monthly
from platforms.gumroad_mapping import SOURCE, earns
from platforms.gumroad_objects import Sale, Subscriber

if TYPE_CHECKING:
    from platforms.gumroad_integration import Gumroad

_OFTEN = ("monthly", "quarterly")  # of these a reading sees the charge before, too
_PER = {"monthly": ("month", 1), "quarterly": ("quarter", 1), "biannually": ("month", 6), "yearly": ("year", 1),
        "every_two_years": ("year", 2)}  # fmt: skip


def facts(gumroad: Gumroad, since: datetime | None) -> Iterator[SubscriptionFact]:
    """From the sales since then; of a subscription that is looked up, all that is known of it is told again."""
    first = None if since is None else since.astimezone(UTC).date()
    for product in gumroad.products():
        if product.recurring is not None or product.tiered:
            yield from _of_product(gumroad, product.id, first, since)


def _of_product(
    gumroad: Gumroad, product: str, first: date | None, since: datetime | None
) -> Iterator[SubscriptionFact]:
    paid: dict[str, list[Sale]] = defaultdict(list)
    for sale in gumroad.sales(first, product=product):
        if sale.subscription is not None and earns(sale):
            paid[sale.subscription].append(sale)
    running = {one.id: one for one in gumroad.subscribers(product)}
    changed = {one.id for one in running.values() if since is None or _last_word(one) >= since}
    for id in dict.fromkeys([*paid, *changed]):
        subscriber = running.get(id) or _looked_up(gumroad, id)
        if subscriber is not None:
            yield from _facts(subscriber, paid.get(id) or _paid(gumroad, subscriber))


def facts_of(gumroad: Gumroad, id: str) -> list[SubscriptionFact]:
    """Of one subscription, fetched again. Raises Missing."""
    subscriber = gumroad.subscriber(id)
    return list(_facts(subscriber, _paid(gumroad, subscriber)))


def _looked_up(gumroad: Gumroad, id: str) -> Subscriber | None:
    try:
        return gumroad.subscriber(id)
    except Missing:
        return None


def _paid(gumroad: Gumroad, subscriber: Subscriber) -> list[Sale]:
    """The last charge is enough: it says what it brings."""
    for id in reversed(subscriber.sales):
        try:
            sale = gumroad.sale(id)
        except Missing:
            continue
        if earns(sale):
            return [sale]
    return []


def _facts(subscriber: Subscriber, sales: Sequence[Sale]) -> Iterator[SubscriptionFact]:
    charges = sorted(sales, key=lambda sale: (sale.at, sale.id))
    if not charges:
        return
    price: Money | None = None
    for charge in charges:
        brings = _monthly(charge.price, subscriber.recurrence)
        if price is None and _is_first(charge, subscriber):
            yield _fact(subscriber, charge, subscriber.trial_until or subscriber.since, "started", brings)
        elif brings != price and (price is not None or subscriber.recurrence not in _OFTEN):
            yield _fact(subscriber, charge, charge.at, "changed", brings)
        price = brings
    last = charges[-1]
    assert price is not None
    asked, over = subscriber.cancel_asked, _over(subscriber)
    if asked is not None:
        yield _fact(subscriber, last, asked, "cancelled", price)
    if over is not None:
        yield _fact(subscriber, last, over, "ended", Money.zero(price.currency))


def _is_first(charge: Sale, subscriber: Subscriber) -> bool:
    """A trial's begin is a sale too, without a charge."""
    return charge.id in subscriber.sales[: 1 if subscriber.trial_until is None else 2]


def _over(subscriber: Subscriber) -> datetime | None:
    """A time of cancellation that lies ahead is when it will end, and is told when it has."""
    ends = [end for end in (subscriber.ended, subscriber.failed) if end is not None]
    if subscriber.cancelled is not None and subscriber.status not in ("alive", "pending_cancellation"):
        ends.append(subscriber.cancelled)
    return min(ends, default=None)


def _last_word(subscriber: Subscriber) -> datetime:
    return max(one for one in (subscriber.since, subscriber.cancel_asked, subscriber.cancelled) if one is not None)


def _monthly(price: Money, recurrence: str | None) -> Money:
    per, every = _PER.get(recurrence or "monthly", ("month", 1))
    return monthly(price, per, every)


def _fact(subscriber: Subscriber, sale: Sale, at: datetime, kind: SubscriptionKind, brings: Money) -> SubscriptionFact:
    return SubscriptionFact(
        source=SOURCE,
        id=subscriber.id,
        at=at,
        kind=kind,
        customer=subscriber.email or sale.email,
        product=subscriber.product,
        monthly=brings,
        worker=None if sale.tag is None else sale.tag.worker,
    )
