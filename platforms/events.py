"""What platforms tell of money, in one form for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal, Protocol, runtime_checkable

from nova.money import Money
from platforms.base import Platform

Kind = Literal["revenue", "refund", "fee", "dispute", "adjustment"]
Figure = Literal["gross", "refunds", "disputes", "fees"]
SubscriptionKind = Literal["started", "changed", "paused", "resumed", "cancelled", "ended"]
_PER_YEAR = {"day": 365, "week": 52, "month": 12, "quarter": 4, "year": 1}


@dataclass(frozen=True, slots=True)
class Tag:
    """The worker that the seller wrote on an object, and where: `payment_intent.metadata`."""

    worker: str
    found: str


@dataclass(frozen=True, slots=True)
class PlatformEvent:
    """One money fact as a platform tells it. `amount` is positive; that of an adjustment is its signed effect.

    `figure` is the sum it belongs to, so that gross − fees − refunds − disputes is what the balance changed by.
    `transaction` is the platform's record it was read from; `object` is the payment behind it, `objects` every id a
    worker may have claimed it by. `corrects` is the id of the event that an adjustment takes back, made at
    `corrects_at`. `presented` and `rate` say what the customer paid where the platform converted it.

    `evidence` is what else says whose it may be, by these names: product, price, coupon, campaign, and link, the slug
    of a tracked link. `subjects` are all names of who paid, as `nova.people` hashes them: never an address.

    Some platforms keep no history but one figure that changes: then `total_of` names the figure, `amount` is all of it
    so far (perhaps nothing), `id` is of this state of it, and what the ledger lacks of it, or has too much, is booked.
    """

    source: str
    id: str
    kind: Kind
    figure: Figure
    amount: Money
    at: datetime
    transaction: str
    object: str | None = None
    objects: tuple[str, ...] = ()
    corrects: str | None = None
    corrects_at: datetime | None = None
    tag: Tag | None = None
    note: str | None = None
    presented: Money | None = None
    rate: Decimal | None = None
    evidence: Mapping[str, str] = field(default_factory=dict, hash=False)
    subjects: tuple[str, ...] = ()
    total_of: str | None = None

    @property
    def effect(self) -> Money:
        """What it adds to the balance."""
        return self.amount if self.kind in ("revenue", "adjustment") else -self.amount

    def alone(self) -> PlatformEvent:
        """The same money without what it takes back: as revenue, where that will never be told."""
        kind: Kind = "revenue" if self.amount.micros > 0 else "fee"
        amount = self.amount if kind == "revenue" else -self.amount
        return replace(self, kind=kind, amount=amount, corrects=None, corrects_at=None) if self.corrects else self


@dataclass(frozen=True, slots=True)
class Transfer:
    """Own money that changed its place, such as a payout; `amount` is what it did to the balance."""

    id: str
    at: datetime
    amount: Money


@dataclass(frozen=True, slots=True)
class EventPage:
    """`transactions` counts the platform's records on the page, `skipped` those without any event.

    `moved` is own money that left the balance or came into it. `after` continues behind this page.
    """

    events: tuple[PlatformEvent, ...]
    transactions: int
    skipped: int
    moved: tuple[Transfer, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class Balance:
    """What the platform holds for the account, per currency: available and still pending."""

    available: tuple[Money, ...]
    pending: tuple[Money, ...]


@dataclass(frozen=True, slots=True)
class SubscriptionFact:
    """What became of a subscription at an instant: told again it has the same source, id, instant and kind.

    `monthly` is what it brings a month from then on (`monthly`), 0 while it is paused and after its end; `cancelled`
    says that it will end, and brings as much until then. `customer` is what the platform calls them, an id or an
    address: only a hash of it is kept.
    """

    source: str
    id: str
    at: datetime
    kind: SubscriptionKind
    customer: str | None
    product: str | None
    monthly: Money
    worker: str | None = None


def monthly(price: Money, per: str, every: int = 1) -> Money:
    """What a `price` for `every` days, weeks, months, quarters or years brings a month: a year's by twelfths."""
    divisor = 12 * every
    whole, rest = divmod(price.micros * _PER_YEAR[per], divisor)
    return Money(whole + (2 * rest >= divisor), price.currency)


class EventReader(Protocol):
    """One reading of a platform's events; what it looks up meanwhile it remembers."""

    def pages(self, since: datetime | None = None, *, after: str | None = None) -> Iterator[EventPage]:
        """Newest first, nothing older than `since`; `after` continues behind an earlier page."""
        ...

    def tag(self, event: PlatformEvent) -> Tag | None:
        """Looks for the worker everywhere behind the event, also where that needs requests."""
        ...

    def payment_of(self, object: str) -> str | None:
        """The payment that one of its ids belongs to; None where the platform does not know it."""
        ...


@runtime_checkable
class EvidenceReader(Protocol):
    """A reader that finds what says whose a payment is only by further requests."""

    def with_evidence(self, event: PlatformEvent) -> PlatformEvent:
        """Of an event of the page that was read last, and that has no tag."""
        ...


class RevenuePlatform(Platform, Protocol):
    """A platform whose events nova books."""

    def reader(self) -> EventReader: ...

    def balance(self) -> Balance: ...


@runtime_checkable
class SubscriptionPlatform(Protocol):
    """A platform that knows subscriptions; the sync asks it beside the money."""

    def subscription_facts(self, since: datetime | None) -> Iterator[SubscriptionFact]:
        """What happened from `since` on (None: ever), in any order. More than that, told again, is harmless."""
        ...
