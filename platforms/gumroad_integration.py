"""Gumroad: products, coupons, sales, subscribers, licenses, refunds and resource subscriptions of one account.

What a sale becomes in the ledger is written in `gumroad_mapping`. Effects that Gumroad would carry out twice go through
the hands' `once`, since it knows no idempotency keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from nova.errors import UsageProblem
from nova.money import Money
from platforms.base import InDoubt, Missing, PlatformFailed
from platforms.connections import Connections
from platforms.events import Balance, PlatformEvent, SubscriptionFact
from platforms.gumroad_http import PRIVATE, Wire, in_path, known_id, part_of, parts_of
from platforms.gumroad_mapping import SOURCE, events_of
from platforms.gumroad_money import nearly, to_cents
from platforms.gumroad_objects import TAG, Hook, License, OfferCode, Product, Sale, Subscriber, pinged
from platforms.gumroad_reader import Reader
from platforms.hands import Find, Hands
from platforms.line import Line, Patience

BASE = "https://api.gumroad.com"
RESOURCES = (
    "sale", "refund", "dispute", "dispute_won", "cancellation",
    "subscription_updated", "subscription_ended", "subscription_restarted",
)  # fmt: skip
_SEE, _EDIT, _REFUND, _ANY = "view_sales", "edit_products", "edit_sales", "view_profile"
_MOST_PAGES = 100_000


class Gumroad:
    """One account. Every error is a NovaError, and none of them holds the token.

    `recheck`: how far back sales are looked at again for refunds and disputes, once a day, as Gumroad tells of neither
    when it was. Chargebacks come up to 120 days late.
    """

    name = SOURCE
    recheck = timedelta(days=120)

    def __init__(
        self,
        token: str,
        base: str | None = None,
        *,
        hands: Hands | None = None,
        connections: Connections | None = None,
        timeout_s: tuple[float, float] = (5.0, 30.0),
        total_s: float = 60.0,
        patience: Patience | None = None,
    ) -> None:
        self._wire: Wire = (connections or Connections()).of(
            SOURCE, lambda: Wire(token, base or BASE, timeout_s, total_s), lambda wire: wire.close()
        )
        self._shared = connections is not None
        self.line = Line(SOURCE, self._wire.translate, hands, patience)

    def check(self) -> str:
        """Reads the account's own name."""
        said = self._get("/user", _ANY)
        user = said.get("user")
        name = user.get("name") or user.get("id") if isinstance(user, Mapping) else None
        return f"answers; account {name}" if name else "answers"

    def close(self) -> None:
        """Unless the connections are its process's."""
        if not self._shared:
            self._wire.close()

    def products(self) -> Iterator[Product]:
        """Newest first."""
        for page in self._pages("/products", "products", {}, _ANY):
            yield from map(Product.read, page)

    def product(self, id: str) -> Product:
        """By its id or the name at the end of its address. Raises Missing."""
        return Product.read(part_of(self._get(f"/products/{in_path(id)}", _ANY), "product"))

    def create_product(self, name: str, price: Money, *, description: str = "") -> Product:
        """A digital product, not published yet. Raises Declined."""
        params = {"name": name, "price": str(to_cents(price)), "price_currency_type": price.currency.lower()}
        if description:
            params["description"] = description

        def find(key: str) -> Any:
            same = [one.id for one in self.products() if one.name == name and one.price == price]
            return same[0] if same else None

        def create(key: str) -> Any:
            return Product.read(part_of(self._send("POST", "/products", params, _EDIT), "product")).id

        return self.product(known_id("product", self._once("create product", params, create, find)))

    def update_product(self, id: str, *, price: Money | None = None, name: str | None = None) -> Product:
        """Sets what is given; again is harmless. Raises PlatformFailed where this API has no such request.

        A membership has the prices of its tiers, which Gumroad lets nobody change this way.
        """
        params: dict[str, str] = {}
        if price is not None:
            params |= {"price": str(to_cents(price)), "price_currency_type": price.currency.lower()}
        if name is not None:
            params["name"] = name
        if not params:
            raise UsageProblem("there is nothing to change of the product")
        known = self.product(id)
        if price is not None and known.tiered:
            raise UsageProblem(
                f"{known.name} is a membership: its tiers have the prices", hint="change them on Gumroad's own page"
            )
        try:
            said = self._send("PUT", f"/products/{in_path(known.id)}", params, _EDIT, repeatable=True)
        except Missing:
            raise PlatformFailed(
                "gumroad's API changes no products here", hint="change it on the product's page on Gumroad"
            ) from None
        return Product.read(part_of(said, "product"))

    def enable(self, id: str) -> Product:
        """Publishes it; again is harmless."""
        said = self._send("PUT", f"/products/{in_path(id)}/enable", {}, _EDIT, repeatable=True)
        return Product.read(part_of(said, "product"))

    def disable(self, id: str) -> Product:
        """Takes it from the shop; again is harmless."""
        said = self._send("PUT", f"/products/{in_path(id)}/disable", {}, _EDIT, repeatable=True)
        return Product.read(part_of(said, "product"))

    def offer_codes(self, product: str) -> list[OfferCode]:
        currency = self.product(product).price.currency
        said = self._get(f"/products/{in_path(product)}/offer_codes", _ANY)
        return [OfferCode.read(one, currency) for one in parts_of(said, "offer_codes")]

    def create_offer_code(
        self,
        product: str,
        name: str,
        *,
        percent: int | None = None,
        amount: Money | None = None,
        most: int | None = None,
        universal: bool = False,
    ) -> OfferCode:
        """A coupon that takes `percent` or `amount` off, for `most` purchases. Raises UsageProblem or Declined."""
        if (percent is None) == (amount is None) or (percent is not None and not 1 <= percent <= 100):
            raise UsageProblem("an offer code takes off either 1 to 100 percent or an amount")
        off = {"offer_type": "percent", "amount_off": str(percent)}
        if amount is not None:
            off = {"offer_type": "cents", "amount_off": str(to_cents(amount))}
        params = {"name": name, **off, "universal": str(universal).lower()}
        if most is not None:
            params["max_purchase_count"] = str(most)
        path = f"/products/{in_path(product)}/offer_codes"

        def named() -> str | None:
            return next((one.id for one in self.offer_codes(product) if one.name == name), None)

        def create(key: str) -> Any:
            return OfferCode.read(part_of(self._send("POST", path, params, _EDIT), "offer_code")).id

        made = self._once("create offer code", {"product": product, **params}, create, lambda key: named())
        id = known_id("offer code", made)
        found = next((one for one in self.offer_codes(product) if one.id == id), None)
        if found is None:
            raise Missing(f"the product {product} has no offer code {id} any more")
        return found

    def delete_offer_code(self, product: str, id: str) -> None:
        """Raises Missing."""
        self._send("DELETE", f"/products/{in_path(product)}/offer_codes/{in_path(id)}", {}, _EDIT)

    def sales(
        self,
        after: date | None = None,
        before: date | None = None,
        *,
        product: str | None = None,
        email: str | None = None,
        order: str | None = None,
    ) -> Iterator[Sale]:
        """Newest first, of whole days of UTC: from `after`, without the day `before`. Tests are not among them."""
        filters = {"product_id": product, "email": email, "order_id": order}
        params = {name: value for name, value in filters.items() if value is not None}
        for page, _ in self.sale_pages(after, before, params):
            yield from page

    def sale_pages(
        self, after: date | None = None, before: date | None = None, filters: Mapping[str, str] | None = None,
        *, page_key: str | None = None,
    ) -> Iterator[tuple[list[Sale], str | None]]:  # fmt: skip
        """Each page with the key of the next one, by which it can be gone on with later."""
        params = dict(filters or {})
        if after is not None:
            params["after"] = after.isoformat()
        if before is not None:
            params["before"] = before.isoformat()
        for page, following in self._keyed_pages("/sales", "sales", params, _SEE, page_key):
            yield [Sale.read(one) for one in page], following

    def sale(self, id: str) -> Sale:
        """Also one that failed or was a test, which Gumroad does not tell of a single sale: see `sale_events`."""
        return Sale.read(part_of(self._get(f"/sales/{in_path(id)}", _SEE), "sale"))

    def sale_events(self, sale_id: str, ping: Mapping[str, str] | None = None) -> list[PlatformEvent]:
        """What is to be booked of a sale that somebody named, fetched again. None for what is no successful sale.

        Only a `ping` tells by which address the customer came: of it `url_params[…]` is taken, and no money. Raises
        Missing where the sale is not this account's.
        """
        named = self.sale(sale_id)
        listed = (one for one in self.sales(order=named.order) if one.id == named.id) if named.order else iter(())
        return [event for sale in listed for event in events_of(pinged(sale, ping or {}))]

    def refund(self, sale_id: str, amount: Money | None = None) -> Sale:
        """Gives all of it back, or an `amount` in the currency the product is listed in. Returns the sale after it.

        Raises Declined where Gumroad says no, and InDoubt where an earlier attempt may have been made or not.
        """
        sale = self.sale(sale_id)
        if amount is not None and amount.currency != sale.listed.currency:
            raise UsageProblem(f"that sale is in {sale.listed.currency}: name the amount in it")
        params = {} if amount is None else {"amount_cents": str(to_cents(amount))}
        path = f"/sales/{in_path(sale_id)}/refund"

        def act(key: str) -> Any:
            done = Sale.read(part_of(self._send("PUT", path, params, _REFUND), "sale"))
            return {"sale": done.id, "refunded": str(done.refunded)}

        def find(key: str) -> Any:
            now = self.sale(sale_id)
            given = now.listed - now.refundable
            if now.whole or (now.partial and amount is not None and nearly(given, amount)):
                return {"sale": now.id, "refunded": str(now.refunded)}
            if not now.partial or amount is None:
                return None
            raise InDoubt(
                f"{given} {given.currency} of that sale were given back: it cannot be told whether this was among them",
                hint="look at the sale on Gumroad",
            )

        self._once("refund", {"sale": sale_id, **params}, act, find)
        return self.sale(sale_id)

    def subscribers(self, product: str, *, email: str | None = None) -> Iterator[Subscriber]:
        """Those whose subscription runs, newest first."""
        params = {"paginated": "true"} | ({} if email is None else {"email": email})
        for page in self._pages(f"/products/{in_path(product)}/subscribers", "subscribers", params, _SEE):
            yield from map(Subscriber.read, page)

    def subscriber(self, id: str) -> Subscriber:
        """Also one whose subscription has ended. Raises Missing."""
        said = self._get(f"/subscribers/{in_path(id)}", _SEE)
        return Subscriber.read(part_of(said, "subscriber" if "subscriber" in said else "subscribers"))

    def subscription_facts(self, since: datetime | None) -> Iterator[SubscriptionFact]:
        from platforms.gumroad_subscriptions import facts

        return facts(self, since)

    def facts_of_subscription(self, id: str) -> list[SubscriptionFact]:
        """All that is known of one, fetched again. Raises Missing."""
        from platforms.gumroad_subscriptions import facts_of

        return facts_of(self, id)

    def verify_license(self, product: str, key: str, *, count_use: bool = False) -> License:
        """Raises Missing for a key that is unknown, disabled or of an access that was revoked.

        `count_use` raises the number of its uses, which is then done once in a run.
        """
        params = {"product_id": product, "license_key": key}
        if not count_use:
            uncounted = {**params, "increment_uses_count": "false"}
            said = self._send("POST", "/licenses/verify", uncounted, _ANY, repeatable=True)
            return License.read(said, key, product)

        def act(_: str) -> Any:
            self._send("POST", "/licenses/verify", {**params, "increment_uses_count": "true"}, _ANY)
            return True

        self._once("count license use", params, act)
        return self.verify_license(product, key)

    def enable_license(self, product: str, key: str) -> License:
        return self._change_license("enable", product, key, repeatable=True)

    def disable_license(self, product: str, key: str) -> License:
        """Its verification says then that it is not known."""
        return self._change_license("disable", product, key, repeatable=True)

    def uncount_license_use(self, product: str, key: str) -> License:
        """Takes one use back, once in a run."""

        def act(_: str) -> Any:
            self._change_license("decrement_uses_count", product, key, repeatable=False)
            return True

        self._once("uncount license use", {"product_id": product, "license_key": key}, act)
        return self.verify_license(product, key)

    def hooks(self, resource: str | None = None) -> Iterator[Hook]:
        """The resource subscriptions, of one resource or of each."""
        for name in RESOURCES if resource is None else (_known(resource),):
            said = self._get("/resource_subscriptions", _SEE, {"resource_name": name})
            yield from map(Hook.read, parts_of(said, "resource_subscriptions"))

    def create_hook(self, resource: str, url: str) -> Hook:
        """Where there is one for the same already, it is returned: Gumroad would post twice."""
        params = {"resource_name": _known(resource), "post_url": url}

        def there() -> Hook | None:
            return next((hook for hook in self.hooks(resource) if hook.url == url), None)

        def act(_: str) -> Any:
            said = self._send("PUT", "/resource_subscriptions", params, _SEE)
            return Hook.read(part_of(said, "resource_subscription")).id

        def find(_: str) -> Any:
            found = there()
            return None if found is None else found.id

        found = there()
        if found is not None:
            return found
        return Hook(self._once("create hook", params, act, find), resource, url)

    def delete_hook(self, id: str) -> None:
        """Raises Missing."""
        self._send("DELETE", f"/resource_subscriptions/{in_path(id)}", {}, _SEE)

    def reader(self) -> Reader:
        return Reader(self.sale_pages)

    def balance(self) -> Balance:
        """Gumroad tells of none: what it owes is its sales, less what was paid out."""
        return Balance((), ())

    def _change_license(self, how: str, product: str, key: str, *, repeatable: bool) -> License:
        params = {"product_id": product, "license_key": key}
        return License.read(self._send("PUT", f"/licenses/{how}", params, _EDIT, repeatable=repeatable), key, product)

    def _once(self, what: str, content: Mapping[str, str], act: Callable[[str], Any], find: Find | None = None) -> Any:
        hands, named = self.line.hands, f"{SOURCE}.{what.replace(' ', '_')}"
        key = hands.key(named, urlencode(sorted(content.items())))
        kept = {name: _digest(value) if name in PRIVATE else value for name, value in content.items()}
        return hands.once(named, key, kept, act, find)

    def _get(self, path: str, scope: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        return self._send("GET", path, params or {}, scope, repeatable=True)

    def _send(
        self, method: str, path: str, params: Mapping[str, str], scope: str, *, repeatable: bool = False
    ) -> dict[str, Any]:
        what = f"{method} /{path.strip('/').partition('/')[0]}"
        return self.line.call(what, lambda: self._wire.ask(method, f"/v2{path}", params, scope), repeatable=repeatable)

    def _pages(self, path: str, name: str, params: Mapping[str, str], scope: str) -> Iterator[list[Mapping[str, Any]]]:
        return (page for page, _ in self._keyed_pages(path, name, params, scope))

    def _keyed_pages(
        self, path: str, name: str, params: Mapping[str, str], scope: str, page_key: str | None = None
    ) -> Iterator[tuple[list[Mapping[str, Any]], str | None]]:
        """Ends where a page names itself as the next one."""
        for _ in range(_MOST_PAGES):
            said = self._get(path, scope, {**params, **({} if page_key is None else {"page_key": page_key})})
            following = said.get("next_page_key")
            following = following if isinstance(following, str) and following not in ("", page_key) else None
            yield parts_of(said, name), following
            if following is None:
                return
            page_key = following


def product_address(product: Product, worker: str | None = None) -> str:
    """Where customers buy it; with the worker's name in the address, which Gumroad tells with each sale's ping."""
    if worker is None or not product.url:
        return product.url
    return f"{product.url}{'&' if '?' in product.url else '?'}{urlencode({TAG: worker})}"


def _digest(text: str) -> str:
    """Enough to know it again, and nothing to use."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _known(resource: str) -> str:
    if resource not in RESOURCES:
        raise UsageProblem(f"gumroad has no resource {resource!r}", hint=f"one of {', '.join(RESOURCES)}")
    return resource
