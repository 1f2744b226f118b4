"""What platforms tell of money, in one form for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal, Protocol

from nova.money import Money
from platforms.base import Platform

Kind = Literal["revenue", "refund", "fee", "dispute", "adjustment"]
Figure = Literal["gross", "refunds", "disputes", "fees"]


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
class EventPage:
    """`transactions` counts the platform's records on the page, `skipped` those that move money without earning it.

    `moved` is the effect of the skipped ones on the balance. `after` continues behind this page.
    """

    events: tuple[PlatformEvent, ...]
    transactions: int
    skipped: int
    moved: tuple[Money, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class Balance:
    """What the platform holds for the account, per currency: available and still pending."""

    available: tuple[Money, ...]
    pending: tuple[Money, ...]


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


class RevenuePlatform(Platform, Protocol):
    """A platform whose events nova books."""

    def reader(self) -> EventReader: ...

    def balance(self) -> Balance: ...
