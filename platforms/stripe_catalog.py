"""What is sold at Stripe, and where: products, prices, payment links and checkout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from nova.money import Money
from platforms.stripe_money import to_stripe
from platforms.stripe_objects import Checkout, Link, Price, Product, checkout_in, link_in, price_in, product_in
from platforms.stripe_requests import Params, Requests, at, tags

Metadata = Mapping[str, str]
Every = Literal["day", "week", "month", "year"]


class Products:
    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def create(
        self,
        name: str,
        price: Money | None = None,
        *,
        every: Every | None = None,
        description: str | None = None,
        worker: str | None = None,
        metadata: Metadata | None = None,
        id: str | None = None,
        key: str | None = None,
    ) -> Product:
        """With a `price`, to be paid once or again and again `every` month, it is the product's default price."""
        params: Params = {
            "id": id,
            "name": name,
            "description": description,
            "metadata": tags(self._requests.hands, worker, metadata),
            "default_price_data": None if price is None else _price_params(price, every),
        }
        return product_in(self._requests.post("product", "/v1/products", params, key))

    def change(
        self,
        id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        active: bool | None = None,
        price: str | None = None,
        metadata: Metadata | None = None,
        key: str | None = None,
    ) -> Product:
        """`active` False takes it off sale; `price` is the id of its new default price."""
        params: Params = {
            "name": name,
            "description": description,
            "active": active,
            "default_price": price,
            "metadata": dict(metadata or {}),
        }
        return product_in(self._requests.post("product change", at("products", id), params, key))

    def get(self, id: str) -> Product:
        return product_in(self._requests.get(at("products", id)))

    def list(self, *, active: bool | None = None, most: int | None = None) -> Iterator[Product]:
        return map(product_in, self._requests.rows("/v1/products", {"active": active}, most))

    def search(self, query: str, *, most: int | None = None) -> Iterator[Product]:
        return map(product_in, self._requests.found("/v1/products", query, most))


class Prices:
    """A price's amount never changes: another amount is another price."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def create(
        self,
        product: str,
        amount: Money,
        *,
        every: Every | None = None,
        every_n: int = 1,
        nickname: str | None = None,
        worker: str | None = None,
        metadata: Metadata | None = None,
        key: str | None = None,
    ) -> Price:
        params: Params = {
            "product": product,
            **_price_params(amount, every, every_n),
            "nickname": nickname,
            "metadata": tags(self._requests.hands, worker, metadata),
        }
        return price_in(self._requests.post("price", "/v1/prices", params, key))

    def change(
        self,
        id: str,
        *,
        active: bool | None = None,
        nickname: str | None = None,
        metadata: Metadata | None = None,
        key: str | None = None,
    ) -> Price:
        params: Params = {"active": active, "nickname": nickname, "metadata": dict(metadata or {})}
        return price_in(self._requests.post("price change", at("prices", id), params, key))

    def get(self, id: str) -> Price:
        return price_in(self._requests.get(at("prices", id)))

    def list(
        self, *, product: str | None = None, active: bool | None = None, most: int | None = None
    ) -> Iterator[Price]:
        return map(price_in, self._requests.rows("/v1/prices", {"product": product, "active": active}, most))


class Links:
    """Payment links. Whose they are stands on the link and on every payment or subscription that comes of it."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def create(
        self,
        price: str,
        *,
        worker: str | None = None,
        quantity: int = 1,
        after_url: str | None = None,
        promotion_codes: bool | None = None,
        metadata: Metadata | None = None,
        key: str | None = None,
    ) -> Link:
        """`after_url` is where the customer goes then."""
        said = tags(self._requests.hands, worker, metadata)
        after: Params | None = None if after_url is None else {"type": "redirect", "redirect": {"url": after_url}}
        params: Params = {
            "line_items": [{"price": price, "quantity": quantity}],
            "metadata": said,
            "allow_promotion_codes": promotion_codes,
            "after_completion": after,
            **_handed_on(self._requests, price, said),
        }
        return link_in(self._requests.post("link", "/v1/payment_links", params, key))

    def close(self, id: str, *, key: str | None = None) -> Link:
        """Nobody can pay by it any more."""
        return link_in(self._requests.post("link close", at("payment_links", id), {"active": False}, key))

    def get(self, id: str) -> Link:
        return link_in(self._requests.get(at("payment_links", id)))

    def list(self, *, active: bool | None = None, most: int | None = None) -> Iterator[Link]:
        return map(link_in, self._requests.rows("/v1/payment_links", {"active": active}, most))


class Checkouts:
    """Checkout sessions: a page for one purchase."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def create(
        self,
        price: str,
        *,
        success_url: str,
        cancel_url: str | None = None,
        worker: str | None = None,
        quantity: int = 1,
        customer: str | None = None,
        email: str | None = None,
        reference: str | None = None,
        promotion_codes: bool | None = None,
        metadata: Metadata | None = None,
        key: str | None = None,
    ) -> Checkout:
        """`reference` is the seller's own word for the purchase."""
        said = tags(self._requests.hands, worker, metadata)
        handed = _handed_on(self._requests, price, said, always=True)
        params: Params = {
            "mode": "subscription" if "subscription_data" in handed else "payment",
            "line_items": [{"price": price, "quantity": quantity}],
            "success_url": success_url,
            "cancel_url": cancel_url,
            "customer": customer,
            "customer_email": email,
            "client_reference_id": reference,
            "allow_promotion_codes": promotion_codes,
            "metadata": said,
            **{name: value for name, value in handed.items() if value["metadata"]},
        }
        return checkout_in(self._requests.post("checkout", "/v1/checkout/sessions", params, key))

    def expire(self, id: str, *, key: str | None = None) -> Checkout:
        return checkout_in(self._requests.post("expire", at("checkout/sessions", id, "expire"), {}, key))

    def get(self, id: str) -> Checkout:
        return checkout_in(self._requests.get(at("checkout/sessions", id)))

    def list(self, *, payment: str | None = None, most: int | None = None) -> Iterator[Checkout]:
        return map(checkout_in, self._requests.rows("/v1/checkout/sessions", {"payment_intent": payment}, most))


def _price_params(amount: Money, every: str | None, every_n: int = 1) -> Params:
    repeats: Params = {} if every is None else {"recurring": {"interval": every, "interval_count": every_n}}
    return {"unit_amount": to_stripe(amount), "currency": amount.currency.lower(), **repeats}


def _handed_on(requests: Requests, price: str, said: dict[str, str], *, always: bool = False) -> Params:
    """Stripe does not copy metadata from where one pays to what was paid: it is told to, by the kind of price."""
    if not said and not always:
        return {}
    repeats = price_in(requests.get(at("prices", price))).every is not None
    return {"subscription_data" if repeats else "payment_intent_data": {"metadata": said}}
