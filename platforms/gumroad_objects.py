"""What Gumroad tells, as values. Each is read from its JSON, and what it lacks is a BadAnswer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from nova.money import Money
from nova.people import CLICK
from platforms.base import BadAnswer
from platforms.events import Tag
from platforms.gumroad_money import USD, currency_of, from_cents, from_text, refundable_of

TAG = "nova_worker"
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Product:
    """`price` is in its listed currency; `sold` and `taken` (dollars) are None without the right to see sales."""

    id: str
    name: str
    price: Money
    url: str
    published: bool
    recurring: str | None = None
    tiered: bool = False
    sold: int | None = None
    taken: Money | None = None

    @classmethod
    def read(cls, said: Json) -> Product:
        sold, taken = _whole(said.get("sales_count")), _whole(said.get("sales_usd_cents"))
        return cls(
            id=_text(said, "id"),
            name=_text(said, "name"),
            price=from_cents(_cents(said, "price"), currency_of(said.get("currency"))),
            url=str(said.get("short_url") or ""),
            published=said.get("published") is True,
            recurring=_optional(said, "subscription_duration"),
            tiered=said.get("is_tiered_membership") is True,
            sold=sold,
            taken=None if taken is None else from_cents(taken, USD),
        )


@dataclass(frozen=True, slots=True)
class OfferCode:
    """A coupon: it takes `percent` off, or an `amount`. `universal`: of every product."""

    id: str
    name: str
    percent: int | None
    amount: Money | None
    used: int
    most: int | None
    universal: bool

    @classmethod
    def read(cls, said: Json, currency: str = USD) -> OfferCode:
        cents = _whole(said.get("amount_cents"))
        return cls(
            id=_text(said, "id"),
            name=str(said.get("name") or said.get("code") or ""),
            percent=_whole(said.get("percent_off")),
            amount=None if cents is None else from_cents(cents, currency),
            used=_whole(said.get("times_used")) or 0,
            most=_whole(said.get("max_purchase_count")),
            universal=said.get("universal") is True,
        )


@dataclass(frozen=True, slots=True)
class Sale:
    """`price`, `fee`, `affiliate` and `refunded` (so far) are in dollars; `listed` is what the customer saw.

    `charged`: money moved, which it does not for a free product, a trial's begin or a preorder. `refundable` is what
    is left to refund, in the listed currency. When it was refunded or disputed is told nowhere.
    """

    id: str
    order: str
    at: datetime
    product: str
    product_name: str
    price: Money
    fee: Money
    affiliate: Money
    listed: Money
    refunded: Money
    refundable: Money
    whole: bool
    partial: bool
    disputed: bool
    dispute_won: bool
    charged: bool
    test: bool
    email: str | None
    quantity: int
    subscription: str | None
    recurring: bool
    offer_code: str | None
    license_key: str | None
    purchaser: str | None
    campaign: str | None
    link: str | None
    click: str | None
    tag: Tag | None

    @classmethod
    def read(cls, said: Json) -> Sale:
        currency = currency_of(said.get("currency"), said.get("currency_symbol"))
        price = from_cents(_cents(said, "price"), USD)
        listed = price if currency == USD else from_text(said.get("formatted_display_price"), currency)
        refundable = refundable_of(said.get("amount_refundable_in_currency"), currency)
        whole, partial = said.get("refunded") is True, said.get("partially_refunded") is True
        partial = partial and refundable is not None
        listed = listed or from_cents(0, currency)
        refundable = refundable or from_cents(0, currency)
        return cls(
            id=_text(said, "id"),
            order=str(said.get("order_id") or ""),
            at=instant(said.get("created_at")),
            product=_text(said, "product_id"),
            product_name=str(said.get("product_name") or ""),
            price=price,
            fee=from_cents(_fee(said), USD),
            affiliate=_affiliate(said),
            listed=listed,
            refunded=_refunded(price, listed, refundable, whole=whole, partial=partial),
            refundable=refundable,
            whole=whole,
            partial=partial,
            disputed=said.get("disputed") is True or said.get("chargedback") is True,
            dispute_won=said.get("dispute_won") is True,
            charged=bool(price) and not _only_promised(said),
            test=said.get("test") is True,
            email=_optional(said, "email") or _optional(said, "purchase_email"),
            quantity=_whole(said.get("quantity")) or 1,
            subscription=_optional(said, "subscription_id"),
            recurring=said.get("recurring_charge") is True,
            offer_code=_offer_code(said),
            license_key=_optional(said, "license_key"),
            purchaser=_optional(said, "purchaser_id"),
            campaign=_optional(said, "utm_campaign") or _param(said, "utm_campaign"),
            link=_param(said, "nova_link"),
            click=_param(said, CLICK),
            tag=tag_of(said),
        )

    @property
    def rate(self) -> Decimal | None:
        """Dollars for one of the listed currency; None where it was listed in dollars."""
        if self.listed.currency == USD or not self.listed:
            return None
        return (Decimal(self.price.micros) / Decimal(self.listed.micros)).quantize(Decimal("0.000001"))


@dataclass(frozen=True, slots=True)
class Subscriber:
    """`status` is Gumroad's word: alive, pending_cancellation, pending_failure, failed_payment, cancelled, …"""

    id: str
    product: str
    product_name: str
    email: str | None
    status: str
    recurrence: str | None
    since: datetime
    trial_until: datetime | None
    cancel_asked: datetime | None
    cancelled: datetime | None
    ended: datetime | None
    failed: datetime | None
    sales: tuple[str, ...]
    license_key: str | None

    @classmethod
    def read(cls, said: Json) -> Subscriber:
        sales = said.get("purchase_ids")
        return cls(
            id=_text(said, "id"),
            product=_text(said, "product_id"),
            product_name=str(said.get("product_name") or ""),
            email=_optional(said, "email") or _optional(said, "user_email"),
            status=str(said.get("status") or ""),
            recurrence=_optional(said, "recurrence"),
            since=instant(said.get("created_at")),
            trial_until=_perhaps(said.get("free_trial_ends_at")),
            cancel_asked=_perhaps(said.get("user_requested_cancellation_at")),
            cancelled=_perhaps(said.get("cancelled_at")),
            ended=_perhaps(said.get("ended_at")),
            failed=_perhaps(said.get("failed_at")),
            sales=tuple(str(id) for id in sales) if isinstance(sales, list) else (),
            license_key=_optional(said, "license_key"),
        )


@dataclass(frozen=True, slots=True)
class License:
    """A key of the product. It is `good` while it is neither refunded nor charged back, and its subscription runs."""

    key: str
    product: str
    uses: int
    sale: str | None
    email: str | None
    refunded: bool
    disputed: bool
    ended: datetime | None
    test: bool

    @classmethod
    def read(cls, said: Json, key: str, product: str) -> License:
        bought = said.get("purchase")
        bought = bought if isinstance(bought, Mapping) else {}
        ends = [_perhaps(bought.get(f"subscription_{how}_at")) for how in ("ended", "cancelled", "failed")]
        return cls(
            key=key,
            product=product,
            uses=_cents(said, "uses"),
            sale=_optional(bought, "sale_id") or _optional(bought, "id"),
            email=_optional(bought, "email"),
            refunded=bought.get("refunded") is True,
            disputed=(bought.get("disputed") is True and bought.get("dispute_won") is not True)
            or bought.get("chargebacked") is True,
            ended=min((end for end in ends if end is not None), default=None),
            test=bought.get("test") is True,
        )

    def good(self, now: datetime) -> bool:
        return not self.refunded and not self.disputed and (self.ended is None or self.ended > now)


@dataclass(frozen=True, slots=True)
class Hook:
    """An address that Gumroad posts to when a `resource` happens: a resource subscription."""

    id: str
    resource: str
    url: str

    @classmethod
    def read(cls, said: Json) -> Hook:
        return cls(_text(said, "id"), _text(said, "resource_name"), _text(said, "post_url"))


def tag_of(said: Json) -> Tag | None:
    """The worker named in the address the customer came by, in a custom field, or in the page that led there."""
    for place in ("url_params", "custom_fields"):
        named = said.get(place)
        worker = named.get(TAG) if isinstance(named, Mapping) else None
        if isinstance(worker, str) and worker.strip():
            return Tag(worker, place)
    led = _query(said.get("referrer")).get(TAG, "")
    return Tag(led, "referrer") if led.strip() else None


def pinged(sale: Sale, ping: Mapping[str, str]) -> Sale:
    """With what a ping says of the address the customer came by: `url_params[nova_worker]=mailer`."""
    params = {name[11:-1]: value for name, value in ping.items() if name.startswith("url_params[") and name[-1] == "]"}
    said = {"url_params": params}
    return replace(
        sale,
        tag=sale.tag or tag_of(said),
        link=sale.link or _param(said, "nova_link"),
        click=sale.click or _param(said, CLICK),
        campaign=sale.campaign or _param(said, "utm_campaign"),
    )


def instant(text: object) -> datetime:
    found = _perhaps(text)
    if found is None:
        raise BadAnswer("gumroad told no time where one belongs", hint="try again later")
    return found


def _param(said: Json, name: str) -> str | None:
    """Of the address the customer came by."""
    params = said.get("url_params")
    value = params.get(name) if isinstance(params, Mapping) else None
    return value if isinstance(value, str) and value else _query(said.get("referrer")).get(name)


def _query(address: object) -> dict[str, str]:
    try:
        return dict(parse_qsl(urlsplit(address).query)) if isinstance(address, str) else {}
    except ValueError:
        return {}


def _refunded(price: Money, listed: Money, refundable: Money, *, whole: bool, partial: bool) -> Money:
    """In dollars. What is left is told in the listed currency only, so that its share is right within a cent."""
    if whole or not partial:
        return price if whole else Money.zero(USD)
    if not listed or refundable > listed:
        return Money.zero(USD)
    left = Money(price.micros * refundable.micros // listed.micros, USD).rounded()
    return price - left


def _only_promised(said: Json) -> bool:
    trial = said.get("free_trial_ends_on") is not None and said.get("recurring_charge") is False
    return trial or said.get("is_preorder_authorization") is True


def _affiliate(said: Json) -> Money:
    shared = said.get("affiliate")
    return (from_text(shared.get("amount"), USD) if isinstance(shared, Mapping) else None) or Money.zero(USD)


def _offer_code(said: Json) -> str | None:
    code = said.get("offer_code")
    if isinstance(code, Mapping):
        code = code.get("code") or code.get("name")
    return code if isinstance(code, str) and code else None


def _perhaps(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return at.astimezone(UTC) if at.tzinfo is not None else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _text(said: Json, name: str) -> str:
    value = said.get(name)
    if not isinstance(value, str) or not value:
        raise _lacks(name)
    return value


def _optional(said: Json, name: str) -> str | None:
    value = said.get(name)
    return value if isinstance(value, str) and value else None


def _cents(said: Json, name: str) -> int:
    value = _whole(said.get(name))
    if value is None:
        raise _lacks(name)
    return value


def _fee(said: Json) -> int:
    """What stands there and is none is no free sale."""
    if said.get("gumroad_fee") is None:
        return 0
    fee = _cents(said, "gumroad_fee")
    if fee < 0:
        raise BadAnswer("gumroad answered with a fee below zero", hint="try again later")
    return fee


def _whole(value: object) -> int | None:
    """Gumroad writes some counts as texts."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 16:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**13 else None


def _lacks(name: str) -> BadAnswer:
    return BadAnswer(f"gumroad answered without its {name}", hint="try again later")
