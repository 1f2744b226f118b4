"""What Stripe's objects say, as nova has it: frozen, with amounts as Money and instants in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from typing import Any

from nova.clock import iso
from nova.money import Money
from platforms.events import monthly
from platforms.reading import readable
from platforms.stripe_mapping import SOURCE, TAG, Json, expanded, id_of, instant
from platforms.stripe_money import from_stripe


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment intent. `capturable` waits for capture; `secret` lets a customer's browser confirm it."""

    id: str
    status: str
    amount: Money
    received: Money
    capturable: Money
    customer: str | None
    charge: str | None
    description: str | None
    worker: str | None
    at: datetime
    metadata: Mapping[str, str]
    secret: str | None = field(default=None, repr=False)

    @property
    def paid(self) -> bool:
        return self.status == "succeeded"


@dataclass(frozen=True, slots=True)
class Refund:
    id: str
    status: str | None
    amount: Money
    payment: str | None
    charge: str | None
    reason: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Dispute:
    """`due` is until when evidence is taken; `submitted` how often some was."""

    id: str
    status: str
    amount: Money
    reason: str
    payment: str | None
    charge: str | None
    due: datetime | None
    submitted: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Payout:
    id: str
    status: str
    amount: Money
    arrives: datetime
    automatic: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Customer:
    id: str
    email: str | None
    name: str | None
    description: str | None
    at: datetime
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Price:
    """`amount` is None where it is not one amount a unit; `every` such as `month`, None for what is bought once."""

    id: str
    product: str | None
    amount: Money | None
    every: str | None
    every_n: int
    active: bool
    nickname: str | None
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Product:
    """`price` is the default one, where there is one."""

    id: str
    name: str
    description: str | None
    active: bool
    price: str | None
    at: datetime
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Link:
    """A payment link, which may be used again and again."""

    id: str
    url: str
    active: bool
    worker: str | None
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Checkout:
    """A checkout session, for one purchase. `url` is None once it is over."""

    id: str
    url: str | None
    status: str | None
    paid: bool
    total: Money | None
    payment: str | None
    subscription: str | None
    customer: str | None
    reference: str | None
    worker: str | None
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Item:
    """A line of a subscription."""

    id: str
    price: Price
    quantity: int


@dataclass(frozen=True, slots=True)
class Subscription:
    """`monthly` is what it brings a month before discounts and tax; `ends` when the paid period does."""

    id: str
    status: str
    customer: str | None
    items: tuple[Item, ...]
    monthly: Money
    ends: datetime | None
    cancels_at_end: bool
    cancelled: datetime | None
    ended: datetime | None
    worker: str | None
    at: datetime
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Invoice:
    """`url` is where its customer pays it."""

    id: str
    number: str | None
    status: str | None
    customer: str | None
    total: Money
    due: Money
    paid: Money
    subscription: str | None
    attempts: int
    url: str | None
    at: datetime
    metadata: Mapping[str, str]


def told(result: Any) -> dict[str, Any]:
    """As JSON has it: amounts as texts beside one `currency`. What must not be printed is left out."""
    document: dict[str, Any] = {}
    for one in fields(result):
        if one.repr:
            value = getattr(result, one.name)
            document[one.name] = _plain(value)
            if isinstance(value, Money):
                document["currency"] = value.currency
    return document


def _plain(value: Any) -> Any:
    if isinstance(value, Money):
        return str(value)
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return dict(value)
    return told(value) if is_dataclass(value) else value


@readable(SOURCE)
def payment_in(said: Json) -> Payment:
    def money(name: str) -> Money:
        return from_stripe(said.get(name) or 0, said["currency"])

    return Payment(
        said["id"],
        said["status"],
        money("amount"),
        money("amount_received"),
        money("amount_capturable"),
        id_of(said.get("customer")),
        id_of(said.get("latest_charge")),
        said.get("description"),
        _worker(said),
        instant(said["created"]),
        _metadata(said),
        said.get("client_secret"),
    )


@readable(SOURCE)
def refund_in(said: Json) -> Refund:
    amount = from_stripe(said["amount"], said["currency"])
    payment, charge = id_of(said.get("payment_intent")), id_of(said.get("charge"))
    return Refund(said["id"], said.get("status"), amount, payment, charge, said.get("reason"), instant(said["created"]))


@readable(SOURCE)
def dispute_in(said: Json) -> Dispute:
    details = said.get("evidence_details") or {}
    return Dispute(
        said["id"],
        said["status"],
        from_stripe(said["amount"], said["currency"]),
        said["reason"],
        id_of(said.get("payment_intent")),
        id_of(said.get("charge")),
        _when(details.get("due_by")),
        details.get("submission_count") or 0,
        instant(said["created"]),
    )


@readable(SOURCE)
def payout_in(said: Json) -> Payout:
    amount = from_stripe(said["amount"], said["currency"])
    arrives, automatic = instant(said["arrival_date"]), bool(said.get("automatic"))
    return Payout(said["id"], said["status"], amount, arrives, automatic, instant(said["created"]))


@readable(SOURCE)
def customer_in(said: Json) -> Customer:
    email, name, description = (said.get(text) for text in ("email", "name", "description"))
    return Customer(said["id"], email, name, description, instant(said["created"]), _metadata(said))


@readable(SOURCE)
def price_in(said: Json) -> Price:
    repeats = said.get("recurring") or {}
    minor = said.get("unit_amount")
    return Price(
        said["id"],
        id_of(said.get("product")),
        None if minor is None else from_stripe(minor, said["currency"]),
        repeats.get("interval"),
        repeats.get("interval_count") or 1,
        bool(said.get("active")),
        said.get("nickname"),
        _metadata(said),
    )


@readable(SOURCE)
def product_in(said: Json) -> Product:
    return Product(
        said["id"],
        said["name"],
        said.get("description"),
        bool(said.get("active", True)),
        id_of(said.get("default_price")),
        instant(said["created"]),
        _metadata(said),
    )


@readable(SOURCE)
def link_in(said: Json) -> Link:
    return Link(said["id"], said["url"], bool(said["active"]), _worker(said), _metadata(said))


@readable(SOURCE)
def checkout_in(said: Json) -> Checkout:
    minor, currency = said.get("amount_total"), said.get("currency")
    return Checkout(
        said["id"],
        said.get("url"),
        said.get("status"),
        said.get("payment_status") in ("paid", "no_payment_required"),
        None if minor is None or currency is None else from_stripe(minor, currency),
        id_of(said.get("payment_intent")),
        id_of(said.get("subscription")),
        id_of(said.get("customer")),
        said.get("client_reference_id"),
        _worker(said),
        _metadata(said),
    )


@readable(SOURCE)
def subscription_in(said: Json) -> Subscription:
    """The period stands on the items in newer versions of the API, on the subscription in older ones."""
    rows = said["items"]["data"]
    items = tuple(item_in(row) for row in rows)
    ends = said.get("current_period_end") or max((row.get("current_period_end") or 0 for row in rows), default=0)
    currency = said.get("currency") or next((one.price.amount.currency for one in items if one.price.amount), "USD")
    return Subscription(
        said["id"],
        said["status"],
        id_of(said.get("customer")),
        items,
        monthly_of(items, currency),
        _when(ends),
        bool(said.get("cancel_at_period_end")),
        _when(said.get("canceled_at")),
        _when(said.get("ended_at")),
        _worker(said),
        instant(said["created"]),
        _metadata(said),
    )


@readable(SOURCE)
def item_in(said: Json) -> Item:
    """Of a server that knows only plans: the plan is the price."""
    priced = said.get("price") or _price_of_plan(said["plan"])
    return Item(said["id"], price_in(priced), said.get("quantity") or 1)


def monthly_of(items: tuple[Item, ...], currency: str) -> Money:
    total = Money.zero(currency.upper())
    for one in items:
        if one.price.amount is not None and one.price.every is not None:
            total += monthly(one.price.amount * one.quantity, one.price.every, one.price.every_n)
    return total


@readable(SOURCE)
def invoice_in(said: Json) -> Invoice:
    def money(name: str) -> Money:
        return from_stripe(said.get(name) or 0, said["currency"])

    parent = (said.get("parent") or {}).get("subscription_details") or {}
    return Invoice(
        said["id"],
        said.get("number"),
        said.get("status"),
        id_of(said.get("customer")),
        money("total"),
        money("amount_due"),
        money("amount_paid"),
        id_of(said.get("subscription")) or id_of(parent.get("subscription")),
        said.get("attempt_count") or 0,
        said.get("hosted_invoice_url"),
        instant(said["created"]),
        _metadata(said),
    )


def _price_of_plan(plan: Json) -> Json:
    repeats = {"interval": plan["interval"], "interval_count": plan.get("interval_count")}
    return {**plan, "unit_amount": plan.get("amount"), "recurring": repeats}


def _metadata(said: Json) -> dict[str, str]:
    return dict(expanded(said.get("metadata")) or {})


def _worker(said: Json) -> str | None:
    return _metadata(said).get(TAG)


def _when(seconds: int | None) -> datetime | None:
    return instant(seconds) if seconds else None
