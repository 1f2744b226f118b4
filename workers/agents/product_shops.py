"""A product at a shop: found or made, and kept as it is declared; and what was sold of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from nova.errors import NotFound, UsageProblem
from nova.money import Money
from platforms.base import Missing

if TYPE_CHECKING:
    from platforms.gumroad_integration import Gumroad
    from platforms.gumroad_objects import Product as GumroadProduct
    from platforms.stripe_integration import Stripe
    from platforms.stripe_objects import Link, Price, Product, Subscription
    from platforms.stripe_objects import Payment as StripePayment

_PRODUCT, _PRICE = "nova_product", "nova_price"
_LATE = timedelta(days=2)  # an attempt to pay may succeed so long after it was begun


@dataclass(frozen=True, slots=True)
class Wanted:
    """`id` is the shop's own; without one the product is found by the `known` id, or by its name."""

    worker: str
    id: str | None
    known: str | None
    name: str | None
    description: str
    price: Money
    published: bool
    create: bool
    every: str | None = None
    after_url: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """As it stands in the shop now. `changed` says in words what had to be done for it."""

    id: str
    name: str
    url: str
    price: Money
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sold:
    """`each` is what one was sold for."""

    id: str
    at: datetime
    units: int
    each: Money

    @property
    def total(self) -> Money:
        return self.each * self.units


class Shop(Protocol):
    def keep(self, wanted: Wanted) -> Listing:
        """Again is harmless. Raises NotFound, and what the platform raises."""
        ...

    def sold(self, listing: Listing, since: datetime | None) -> Iterator[Sold]:
        """From some time before `since` on, in any order, each with the same id as before."""
        ...


class GumroadShop:
    def __init__(self, gumroad: Gumroad) -> None:
        self._gumroad = gumroad

    def keep(self, wanted: Wanted) -> Listing:
        from platforms.gumroad_integration import product_address

        product, changed = self._found(wanted), list[str]()
        if product is None:
            product = self._made(wanted)
            changed.append("made")
        name = wanted.name if wanted.name not in (None, product.name) else None
        price = wanted.price if wanted.price != product.price else None
        if name or price:
            changed += [f"price {_told(product.price)} -> {_told(price)}"] if price else []
            changed += [f"called {name}"] if name else []
            product = self._gumroad.update_product(product.id, price=price, name=name)
        if product.published != wanted.published:
            act = self._gumroad.enable if wanted.published else self._gumroad.disable
            product = act(product.id)
            changed.append("published" if product.published else "not published")
        return Listing(product.id, product.name, product_address(product, wanted.worker), product.price, tuple(changed))

    def sold(self, listing: Listing, since: datetime | None) -> Iterator[Sold]:
        for sale in self._gumroad.sales(None if since is None else since.date(), product=listing.id):
            if sale.charged and not sale.test:
                each = Money(sale.listed.micros // sale.quantity, sale.listed.currency)
                yield Sold(sale.id, sale.at, sale.quantity, each)

    def _found(self, wanted: Wanted) -> GumroadProduct | None:
        id = wanted.id or wanted.known
        if id is not None:
            try:
                return self._gumroad.product(id)
            except Missing:
                if wanted.id is not None:
                    raise
        return next((one for one in self._gumroad.products() if one.name == wanted.name), None)

    def _made(self, wanted: Wanted) -> GumroadProduct:
        if not wanted.create or wanted.name is None:
            raise _not_there("gumroad", wanted)
        return self._gumroad.create_product(wanted.name, wanted.price, description=wanted.description)


class StripeShop:
    def __init__(self, stripe: Stripe) -> None:
        self._stripe = stripe

    def keep(self, wanted: Wanted) -> Listing:
        product, changed = self._found(wanted), list[str]()
        if product is None:
            product = self._made(wanted)
            changed.append("made")
        renamed = wanted.name not in (None, product.name)
        if renamed or product.active != wanted.published:
            changed += [f"called {wanted.name}"] if renamed else ["on sale" if wanted.published else "off sale"]
            product = self._stripe.products.change(product.id, name=wanted.name, active=wanted.published)
        price = self._price(product, wanted, changed)
        if product.price != price.id:
            self._stripe.products.change(product.id, price=price.id)
        link = self._link(product, price, wanted, changed)
        return Listing(product.id, product.name, "" if link is None else link.url, wanted.price, tuple(changed))

    def sold(self, listing: Listing, since: datetime | None) -> Iterator[Sold]:
        """What was paid once, and each subscription that began."""
        begin = None if since is None else since - _LATE
        for payment in self._stripe.payments.list(since=begin):
            if payment.paid and payment.metadata.get(_PRODUCT) == listing.id:
                yield _one(payment)
        for subscription in self._stripe.subscriptions.list(status="all"):
            if subscription.metadata.get(_PRODUCT) == listing.id and (begin is None or subscription.at >= begin):
                yield _begun(subscription)

    def _found(self, wanted: Wanted) -> Product | None:
        id = wanted.id or wanted.known or _own_id(wanted)
        try:
            return self._stripe.products.get(id)
        except Missing:
            if wanted.id is not None:
                raise
        return next((one for one in self._stripe.products.list() if one.name == wanted.name), None)

    def _made(self, wanted: Wanted) -> Product:
        if not wanted.create or wanted.name is None:
            raise _not_there("stripe", wanted)
        return self._stripe.products.create(
            wanted.name, description=wanted.description or None, worker=wanted.worker, id=_own_id(wanted)
        )

    def _price(self, product: Product, wanted: Wanted, changed: list[str]) -> Price:
        """A price of Stripe's never changes: there is one for each amount that was ever asked."""
        for price in self._stripe.prices.list(product=product.id, active=True):
            if price.amount == wanted.price and price.every == wanted.every and price.every_n == 1:
                return price
        changed.append(f"price {_told(wanted.price)}")
        every: Any = wanted.every
        return self._stripe.prices.create(product.id, wanted.price, every=every, worker=wanted.worker)

    def _link(self, product: Product, price: Price, wanted: Wanted, changed: list[str]) -> Link | None:
        """One that is open and asks this price; then the others of the product are closed: there is always one."""
        there = [one for one in self._stripe.links.list(active=True) if one.metadata.get(_PRODUCT) == product.id]
        asked = (price.id, wanted.worker)
        right = (one for one in there if (one.metadata.get(_PRICE), one.worker) == asked)
        kept = next(right, None) if wanted.published else None
        if kept is None and wanted.published:
            said = {_PRODUCT: product.id, _PRICE: price.id}
            kept = self._stripe.links.create(price.id, worker=wanted.worker, after_url=wanted.after_url, metadata=said)
            changed.append("a link made")
        for link in there:
            if kept is None or link.id != kept.id:
                self._stripe.links.close(link.id)
                changed.append("an earlier link closed")
        return kept


def check_price(platform: str, price: Money) -> None:
    """Raises UsageProblem for what the shop cannot ask."""
    if platform == "gumroad":
        from platforms.gumroad_money import to_cents

        to_cents(price)
    else:
        from platforms.stripe_money import to_stripe

        to_stripe(price)


def _one(payment: StripePayment) -> Sold:
    return Sold(payment.id, payment.at, 1, payment.received)


def _begun(subscription: Subscription) -> Sold:
    return Sold(subscription.id, subscription.at, 1, subscription.monthly)


def _own_id(wanted: Wanted) -> str:
    """The same for the same worker and name, so that a product is made once."""
    return "nova_" + hashlib.sha256(f"{wanted.worker}\0{wanted.name}".encode()).hexdigest()[:20]


def _told(price: Money) -> str:
    return f"{price} {price.currency}"


def _not_there(platform: str, wanted: Wanted) -> NotFound:
    if wanted.name is None:
        raise UsageProblem("the product has neither an id nor a name")
    return NotFound(f"{platform} has no product called {wanted.name!r}", hint="set create=true to have it made")
