"""What an account at Gumroad holds and does, as its own published source has it: amounts in cents of a dollar, sales
whose refunds carry no date, tests that are found by their id but are in no list.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

Json = dict[str, Any]
SYMBOLS = {"usd": "$", "eur": "€", "jpy": "¥", "gbp": "£"}
RATES = {"usd": Fraction(1), "eur": Fraction(9, 10), "jpy": Fraction(150), "gbp": Fraction(8, 10)}  # for a dollar


def id_of(kind: str, number: int) -> str:
    return base64.urlsafe_b64encode(hashlib.md5(f"{kind}{number}".encode()).digest()).decode()


def stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def shown(cents: int, currency: str, symbol: bool = True) -> str:
    whole, rest = (cents, 0) if currency == "jpy" else divmod(cents, 100)
    text = f"{whole:,}" + (f".{rest:02d}" if rest else "")
    return f"{SYMBOLS[currency]}{text}" if symbol else text


@dataclass
class Product:
    number: int
    name: str
    price: int
    currency: str
    recurrence: str | None = None
    published: bool = True
    licensed: bool = True
    tiered: bool = False
    codes: list[Json] = field(default_factory=list)

    @property
    def id(self) -> str:
        return id_of("product", self.number)

    @property
    def permalink(self) -> str:
        return f"p{self.number}"


@dataclass
class Sale:
    number: int
    product: Product
    at: datetime
    listed: int
    email: str
    price: int
    fee: int
    refunds: list[int] = field(default_factory=list)  # in dollars' cents
    chargedback: bool = False
    won: bool = False
    state: str = "successful"
    subscription: Subscription | None = None
    recurring: bool = False
    more: Json = field(default_factory=dict)
    uses: int = 0
    disabled: bool = False

    @property
    def id(self) -> str:
        return id_of("sale", self.number)

    @property
    def order(self) -> int:
        return 100_000_000 + self.number

    @property
    def key(self) -> str:
        digest = hashlib.sha256(self.id.encode()).hexdigest().upper()
        return "-".join(digest[n : n + 8] for n in range(0, 32, 8))

    @property
    def refunded(self) -> bool:
        return sum(self.refunds) >= self.price > 0

    @property
    def partial(self) -> bool:
        return bool(self.refunds) and not self.refunded


@dataclass
class Subscription:
    number: int
    product: Product
    at: datetime
    email: str
    sales: list[Sale] = field(default_factory=list)
    asked: datetime | None = None
    cancelled: datetime | None = None
    ended: datetime | None = None
    failed: datetime | None = None
    trial_until: datetime | None = None

    @property
    def id(self) -> str:
        return id_of("subscription", self.number)

    def runs(self, now: datetime) -> bool:
        over = self.failed or self.ended
        return over is None and (self.cancelled is None or self.cancelled > now)

    def status(self, now: datetime) -> str:
        if self.runs(now):
            return "pending_cancellation" if self.cancelled else "alive"
        return "failed_payment" if self.failed else "cancelled" if self.cancelled else "fixed_subscription_period_ended"


class Refusal(Exception):
    """Answered with HTTP 200 and `success: false`, or with the status."""

    def __init__(self, message: str, status: int = 200) -> None:
        super().__init__(message)
        self.message, self.status = message, status


class Shop:
    """`now` is whatever clock the test has. `currency_told`: sales name their currency, as newer servers do."""

    def __init__(self, now: Callable[[], datetime], *, currency_told: bool = True) -> None:
        self.now = now
        self.currency_told = currency_told
        self.products: list[Product] = []
        self.sales: list[Sale] = []
        self.subscriptions: list[Subscription] = []
        self.hooks: list[Json] = []
        self._number = 0

    def number(self) -> int:
        self._number += 1
        return self._number

    def product(self, name: str = "Guide", price: int = 1000, currency: str = "usd", **more: Any) -> Product:
        self.products.append(Product(self.number(), name, price, currency, **more))
        return self.products[-1]

    def sell(
        self, product: Product, *, at: datetime | None = None, listed: int | None = None,
        email: str = "ada@example.com", **more: Any,
    ) -> Sale:  # fmt: skip
        """`more` are fields of the sale, or of its JSON."""
        own = {name: more.pop(name) for name in ("subscription", "recurring", "state") if name in more}
        listed = product.price if listed is None else listed
        cents = Fraction(listed) / RATES[product.currency] * (100 if product.currency == "jpy" else 1)
        price = round(cents)
        fee = 0 if price == 0 else round(price * Fraction(129, 1000)) + 80
        at = (at or self.now()).replace(microsecond=0)
        self.sales.append(Sale(self.number(), product, at, listed, email, price, fee, more=more, **own))
        return self.sales[-1]

    def refund(self, sale: Sale, listed: int | None = None) -> None:
        """Gumroad's own word where it says no."""
        if sale.refunded:
            raise Refusal("Purchase is already refunded.")
        left = sale.price - sum(sale.refunds)
        scale = 100 if sale.product.currency == "jpy" else 1
        cents = left if listed is None else round(Fraction(listed) / RATES[sale.product.currency] * scale)
        if not 0 < cents <= left:
            raise Refusal("Refund amount cannot be greater than the purchase price.")
        sale.refunds.append(cents)

    def subscribe(
        self, product: Product, *, at: datetime | None = None, trial_days: int = 0, **more: Any
    ) -> Subscription:
        at = (at or self.now()).replace(microsecond=0)
        until = at + timedelta(days=trial_days) if trial_days else None
        email = more.pop("email", "ada@example.com")
        made = Subscription(self.number(), product, at, email, trial_until=until)
        self.subscriptions.append(made)
        state = "not_charged" if trial_days else "successful"
        made.sales.append(self.sell(product, at=at, subscription=made, state=state, email=email, **more))
        return made

    def renew(self, subscription: Subscription, *, at: datetime | None = None, listed: int | None = None) -> Sale:
        sale = self.sell(
            subscription.product, at=at, listed=listed, email=subscription.email, subscription=subscription,
            recurring=True,
        )  # fmt: skip
        subscription.sales.append(sale)
        return sale

    def listed_sales(self) -> list[Sale]:
        """Without tests, failures and preorders; with the begin of a trial."""
        kept = [sale for sale in self.sales if sale.state in ("successful", "not_charged")]
        return sorted(kept, key=lambda sale: (sale.at, sale.number), reverse=True)

    def sale_json(self, sale: Sale) -> Json:
        currency = sale.product.currency
        left = sale.price - sum(sale.refunds)
        scale = 100 if currency == "jpy" else 1
        refundable = round(left * RATES[currency] / scale)
        recurring = (
            f" a {'year' if sale.product.recurrence == 'yearly' else 'month'}" if sale.product.recurrence else ""
        )
        said: Json = {
            "id": sale.id, "email": sale.email, "seller_id": id_of("seller", 1), "timestamp": "2 days ago",
            "daystamp": sale.at.strftime("%d %b %Y %I:%M %p"), "created_at": stamp(sale.at),
            "product_name": sale.product.name, "product_has_variants": False, "price": sale.price,
            "gumroad_fee": sale.fee, "formatted_display_price": shown(sale.listed, currency) + recurring,
            "formatted_total_price": shown(sale.listed, currency), "currency_symbol": SYMBOLS[currency],
            "amount_refundable_in_currency": shown(refundable, currency, symbol=False),
            "product_id": sale.product.id, "product_permalink": sale.product.permalink,
            "partially_refunded": sale.partial, "chargedback": sale.chargedback and not sale.won,
            "purchase_email": sale.email, "paid": sale.price != 0, "has_variants": False, "variants_and_quantity": "",
            "has_custom_fields": False, "custom_fields": {}, "order_id": sale.order, "is_product_physical": False,
            "is_recurring_billing": sale.product.recurrence is not None, "can_contact": True, "is_following": False,
            "disputed": sale.chargedback, "dispute_won": sale.won, "is_additional_contribution": False,
            "discover_fee_charged": False, "is_gift_sender_purchase": False, "is_gift_receiver_purchase": False,
            "referrer": "direct", "card": {"visual": "**** **** **** 4242", "type": "visa"}, "product_rating": None,
            "reviews_count": 0, "average_rating": 0, "quantity": 1,
        }  # fmt: skip
        if sale.refunds:
            said["refunded"] = sale.refunded
        if self.currency_told:
            said["currency"] = currency
        if sale.product.licensed:
            said |= {
                "license_key": sale.key,
                "license_id": id_of("license", sale.number),
                "license_disabled": sale.disabled,
            }
        if sale.subscription is not None:
            said |= self._subscription_json(sale)
        return said | sale.more

    def _subscription_json(self, sale: Sale) -> Json:
        one, now = sale.subscription, self.now()
        assert one is not None
        said: Json = {
            "subscription_id": one.id, "subscription_duration": one.product.recurrence,
            "cancelled": one.cancelled is not None or one.failed is not None, "dead": not one.runs(now),
            "ended": one.ended is not None, "recurring_charge": sale.recurring,
            "free_trial_ended": one.trial_until is not None and one.trial_until < now,
        }  # fmt: skip
        return said | ({} if one.trial_until is None else {"free_trial_ends_on": one.trial_until.strftime("%b %d, %Y")})

    def subscriber_json(self, one: Subscription) -> Json:
        def told(at: datetime | None) -> str | None:
            return None if at is None else stamp(at)

        return {
            "id": one.id, "email": one.email, "product_id": one.product.id, "product_name": one.product.name,
            "user_id": None, "user_email": one.email, "purchase_ids": [sale.id for sale in one.sales],
            "created_at": stamp(one.at), "user_requested_cancellation_at": told(one.asked),
            "charge_occurrence_count": None, "recurrence": one.product.recurrence, "cancelled_at": told(one.cancelled),
            "ended_at": told(one.ended), "failed_at": told(one.failed), "free_trial_ends_at": told(one.trial_until),
            "license_key": one.sales[0].key, "status": one.status(self.now()),
        }  # fmt: skip

    def product_json(self, one: Product) -> Json:
        sold = [sale for sale in self.listed_sales() if sale.product is one and sale.state == "successful"]
        return {
            "id": one.id, "name": one.name, "price": one.price, "currency": one.currency, "published": one.published,
            "short_url": f"https://shop.gumroad.com/l/{one.permalink}",
            "formatted_price": shown(one.price, one.currency),
            "custom_permalink": None, "custom_receipt": None, "custom_summary": None, "custom_fields": [],
            "customizable_price": None, "description": "", "deleted": False, "max_purchase_count": None,
            "preview_url": None, "require_shipping": False, "subscription_duration": one.recurrence, "url": None,
            "thumbnail_url": None, "tags": [], "file_info": {}, "sales_count": len(sold),
            "sales_usd_cents": sum(sale.price for sale in sold), "is_tiered_membership": one.tiered,
            "recurrences": [one.recurrence] if one.tiered else None, "variants": [],
        }  # fmt: skip

    def license_json(self, sale: Sale) -> Json:
        one = sale.subscription
        bought: Json = {
            "seller_id": id_of("seller", 1), "product_id": sale.product.id, "product_name": sale.product.name,
            "permalink": sale.product.permalink, "product_permalink": f"https://shop.gumroad.com/l/{sale.product.permalink}",
            "email": sale.email, "price": sale.price, "gumroad_fee": sale.fee, "currency": sale.product.currency,
            "quantity": 1, "discover_fee_charged": False, "can_contact": True, "referrer": "direct",
            "card": {"visual": None, "type": None}, "order_number": sale.order, "sale_id": sale.id,
            "sale_timestamp": stamp(sale.at), "variants": "", "license_key": sale.key, "ip_country": "Austria",
            "is_gift_receiver_purchase": False, "refunded": sale.refunded, "disputed": sale.chargedback,
            "dispute_won": sale.won, "id": sale.id, "created_at": stamp(sale.at), "custom_fields": [],
            "chargebacked": sale.chargedback and not sale.won,
        }  # fmt: skip
        if one is not None:
            ends = {"ended": one.ended, "cancelled": one.cancelled, "failed": one.failed}
            bought |= {f"subscription_{how}_at": None if at is None else stamp(at) for how, at in ends.items()}
        return {"success": True, "uses": sale.uses, "purchase": bought}


def found(some: Iterable[Any], what: str, wanted: str) -> Any:
    for one in some:
        if one.id == wanted or getattr(one, "permalink", None) == wanted:
            return one
    raise Refusal(f"The {what} was not found.")
