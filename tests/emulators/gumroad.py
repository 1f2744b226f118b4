"""Gumroad's API on loopback, over a `Shop`: scopes, pages by page_key, dates, its ways of saying no, a rate limit."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.emulators.gumroad_shop import Product, Refusal, Sale, Shop, found
from tests.emulators.loopback import Loopback

TOKEN = "gumroad-nevershown00-0123456789"
SCOPES = ("view_profile", "view_sales", "edit_products", "edit_sales")
PER_PAGE, SUBSCRIBERS_PER_PAGE = 10, 100
RESOURCES = (
    "sale", "cancellation", "subscription_ended", "subscription_restarted", "subscription_updated", "refund",
    "dispute", "dispute_won",
)  # fmt: skip
Json = dict[str, Any]


@dataclass(frozen=True)
class Exchange:
    request: str
    params: Json
    status: int
    body: Json


@dataclass(frozen=True)
class _Ask:
    ids: tuple[str, ...]
    params: dict[str, str]


@dataclass
class _Answer:
    status: int
    body: Json
    headers: dict[str, str] = field(default_factory=dict)


class Gumroad(Loopback):
    """A context manager: `url` answers inside. `limit` requests are answered, and then 429 until `rest` is called.

    `updates`: its API changes products, as since 2026; else that path is not found.
    """

    def __init__(
        self, shop: Shop, *, on_exchange: Callable[[Exchange], None] | None = None, limit: int | None = None,
        scopes: tuple[str, ...] = SCOPES, updates: bool = True,
    ) -> None:  # fmt: skip
        self.shop, self.scopes, self.limit, self.updates = shop, scopes, limit, updates
        self.token = TOKEN
        self.exchanges: list[Exchange] = []
        self._on_exchange = on_exchange
        self._lock = threading.RLock()
        self.listen(_Handler)

    def asked(self, request: str) -> int:
        return sum(one.request == request for one in self.exchanges)

    def handle(self, method: str, target: str, authorization: str, body: str) -> _Answer:
        parts = urlsplit(target)
        path = parts.path.split("/")
        params = dict(parse_qsl(parts.query if method == "GET" else body, keep_blank_values=True))
        with self._lock:
            name, ids, act, scope = self._route(method, path)
            answer = self._answered(act, _Ask(ids, params), scope, authorization)
            told = Exchange(name, params, answer.status, answer.body)
            self.exchanges.append(told)
        if self._on_exchange is not None:
            self._on_exchange(told)
        return answer

    def _answered(self, act: Any, ask: _Ask, scope: str | None, authorization: str) -> _Answer:
        if self.limit is not None:
            self.limit -= 1
            if self.limit < 0:
                return _Answer(429, {"success": False, "message": "Too many requests"}, {"Retry-After": "3"})
        if scope is not None and authorization != f"Bearer {self.token}":
            return _Answer(401, {"success": False, "message": "The access token is invalid"})
        if scope is not None and scope not in self.scopes:
            return _Answer(403, {"success": False, "message": "The access token has insufficient scope"})
        try:
            if act is None:
                raise Refusal("Not Found", 404)
            return _Answer(200, {"success": True, **act(ask)})
        except Refusal as no:
            if no.status == 400:
                return _Answer(400, {"status": 400, "error": no.message})
            return _Answer(no.status, {"success": False, "message": no.message})

    def _route(self, method: str, path: list[str]) -> tuple[str, tuple[str, ...], Any, str | None]:
        for pattern, act, scope in self._routes():
            verb, _, shape = pattern.partition(" ")
            parts = shape.split("/")
            if verb != method or len(parts) != len(path):
                continue
            if all(part == "{id}" or part == there for part, there in zip(parts, path, strict=True)):
                ids = tuple(unquote(t) for part, t in zip(parts, path, strict=True) if part == "{id}")
                return pattern, ids, act, scope
        return f"{method} {'/'.join(path)}", (), None, "view_profile"

    def _routes(self) -> list[tuple[str, Any, str | None]]:
        routes = [
            ("GET /v2/user", self._user, "view_profile"),
            ("GET /v2/products", self._products, "view_profile"),
            ("GET /v2/products/{id}", self._product, "view_profile"),
            ("PUT /v2/products/{id}/enable", self._enable, "edit_products"),
            ("PUT /v2/products/{id}/disable", self._disable, "edit_products"),
            ("GET /v2/products/{id}/offer_codes", self._codes, "view_profile"),
            ("POST /v2/products/{id}/offer_codes", self._new_code, "edit_products"),
            ("DELETE /v2/products/{id}/offer_codes/{id}", self._drop_code, "edit_products"),
            ("GET /v2/products/{id}/subscribers", self._subscribers, "view_sales"),
            ("GET /v2/subscribers/{id}", self._subscriber, "view_sales"),
            ("GET /v2/sales", self._sales, "view_sales"),
            ("GET /v2/sales/{id}", self._sale, "view_sales"),
            ("PUT /v2/sales/{id}/refund", self._refund, "edit_sales"),
            ("POST /v2/licenses/verify", self._verify, None),
            ("PUT /v2/licenses/enable", self._enable_license, "edit_products"),
            ("PUT /v2/licenses/disable", self._disable_license, "edit_products"),
            ("PUT /v2/licenses/decrement_uses_count", self._uncount, "edit_products"),
            ("GET /v2/resource_subscriptions", self._hooks, "view_sales"),
            ("PUT /v2/resource_subscriptions", self._new_hook, "view_sales"),
            ("DELETE /v2/resource_subscriptions/{id}", self._drop_hook, "view_sales"),
        ]
        updating = [
            ("POST /v2/products", self._new_product, "edit_products"),
            ("PUT /v2/products/{id}", self._change_product, "edit_products"),
        ]
        return [*routes, *(updating if self.updates else [])]

    def _user(self, ask: _Ask) -> Json:
        return {"user": {"id": "5530311507811", "name": "Ada's shop", "url": None, "bio": None, "twitter_handle": None}}

    def _products(self, ask: _Ask) -> Json:
        ordered = sorted(self.shop.products, key=lambda one: -one.number)
        page, more = _paged(ordered, ask.params.get("page_key"), PER_PAGE, lambda one: str(one.number))
        return {"products": [self.shop.product_json(one) for one in page], **more}

    def _product(self, ask: _Ask) -> Json:
        return {"product": self.shop.product_json(self._one(ask))}

    def _one(self, ask: _Ask) -> Product:
        one: Product = found(self.shop.products, "product", ask.ids[0])
        return one

    def _new_product(self, ask: _Ask) -> Json:
        params = ask.params
        if not params.get("name"):
            raise Refusal("Name can't be blank")
        made = self.shop.product(params["name"], int(params["price"]), params.get("price_currency_type", "usd"))
        made.published = False
        return {"product": self.shop.product_json(made)}

    def _change_product(self, ask: _Ask) -> Json:
        one = self._one(ask)
        if one.tiered and "price" in ask.params:
            raise Refusal("Price cannot be updated for tiered membership products.")
        one.price = int(ask.params.get("price", one.price))
        one.currency = ask.params.get("price_currency_type", one.currency)
        one.name = ask.params.get("name", one.name)
        return {"product": self.shop.product_json(one)}

    def _enable(self, ask: _Ask) -> Json:
        self._one(ask).published = True
        return self._product(ask)

    def _disable(self, ask: _Ask) -> Json:
        self._one(ask).published = False
        return self._product(ask)

    def _codes(self, ask: _Ask) -> Json:
        return {"offer_codes": self._one(ask).codes}

    def _new_code(self, ask: _Ask) -> Json:
        one, params = self._one(ask), ask.params
        if any(code["name"] == params["name"] for code in one.codes):
            raise Refusal("Discount code must be unique.")
        kind = "percent_off" if params.get("offer_type") == "percent" else "amount_cents"
        most = int(params["max_purchase_count"]) if "max_purchase_count" in params else None
        code = {
            "id": f"code{self.shop.number()}==", "name": params["name"], kind: int(params["amount_off"]),
            "max_purchase_count": most, "universal": params.get("universal") == "true", "times_used": 0,
        }  # fmt: skip
        one.codes.append(code)
        return {"offer_code": code}

    def _drop_code(self, ask: _Ask) -> Json:
        one = self._one(ask)
        kept = [code for code in one.codes if code["id"] != ask.ids[1]]
        if len(kept) == len(one.codes):
            raise Refusal("The offer_code was not found.")
        one.codes = kept
        return {"message": "The offer_code was deleted successfully."}

    def _subscribers(self, ask: _Ask) -> Json:
        one, params, now = self._one(ask), ask.params, self.shop.now()
        running = [each for each in self.shop.subscriptions if each.product is one and each.runs(now)]
        wanted = [each for each in running if params.get("email") in (None, each.email)]
        wanted.sort(key=lambda each: (each.at, each.number), reverse=True)
        size = SUBSCRIBERS_PER_PAGE if "page_key" in params or params.get("paginated") in ("1", "true") else len(wanted)
        page, more = _paged(wanted, params.get("page_key"), size or 1, lambda each: str(each.number))
        return {"subscribers": [self.shop.subscriber_json(each) for each in page], **more}

    def _subscriber(self, ask: _Ask) -> Json:
        return {"subscriber": self.shop.subscriber_json(found(self.shop.subscriptions, "subscriber", ask.ids[0]))}

    def _sales(self, ask: _Ask) -> Json:
        params = ask.params
        after, before = _day(params, "after"), _day(params, "before")
        kept = [
            sale
            for sale in self.shop.listed_sales()
            if (after is None or sale.at >= after)
            and (before is None or sale.at < before)
            and params.get("email") in (None, sale.email)
            and params.get("product_id") in (None, sale.product.id)
            and params.get("order_id") in (None, str(sale.order))
        ]
        page, more = _paged(kept, params.get("page_key"), PER_PAGE, _sale_key)
        return {"sales": [self.shop.sale_json(sale) for sale in page], **more}

    def _sale(self, ask: _Ask) -> Json:
        return {"sale": self.shop.sale_json(found(self.shop.sales, "sale", ask.ids[0]))}

    def _refund(self, ask: _Ask) -> Json:
        sale: Sale = found(self.shop.sales, "sale", ask.ids[0])
        cents = ask.params.get("amount_cents")
        self.shop.refund(sale, None if cents is None else int(cents))
        return self._sale(ask)

    def _licensed(self, ask: _Ask) -> Sale:
        wanted = (ask.params.get("product_id"), ask.params.get("license_key"))
        for sale in self.shop.sales:
            if (sale.product.id, sale.key) == wanted:
                return sale
        raise Refusal("That license does not exist for the provided product.", 404)

    def _verify(self, ask: _Ask) -> Json:
        sale = self._licensed(ask)
        if sale.disabled:
            raise Refusal("This license key has been disabled.", 404)
        if ask.params.get("increment_uses_count") != "false":
            sale.uses += 1
        return self.shop.license_json(sale)

    def _enable_license(self, ask: _Ask) -> Json:
        self._licensed(ask).disabled = False
        return self.shop.license_json(self._licensed(ask))

    def _disable_license(self, ask: _Ask) -> Json:
        self._licensed(ask).disabled = True
        return self.shop.license_json(self._licensed(ask))

    def _uncount(self, ask: _Ask) -> Json:
        sale = self._licensed(ask)
        sale.uses = max(0, sale.uses - 1)
        return self.shop.license_json(sale)

    def _hooks(self, ask: _Ask) -> Json:
        wanted = ask.params.get("resource_name")
        if wanted not in RESOURCES:
            raise Refusal("Valid resource_name parameter required")
        return {"resource_subscriptions": [hook for hook in self.shop.hooks if hook["resource_name"] == wanted]}

    def _new_hook(self, ask: _Ask) -> Json:
        url, name = ask.params.get("post_url", ""), ask.params.get("resource_name")
        if not re.match("https?://", url) or urlsplit(url).hostname in ("127.0.0.1", "localhost", "0.0.0.0"):
            raise Refusal(f"Invalid post URL '{url}'")
        if name not in RESOURCES:
            raise Refusal(f"Unable to subscribe to '{name}'.")
        self.shop.hooks.append({"id": f"hook{self.shop.number()}==", "resource_name": name, "post_url": url})
        return {"resource_subscription": self.shop.hooks[-1]}

    def _drop_hook(self, ask: _Ask) -> Json:
        kept = [hook for hook in self.shop.hooks if hook["id"] != ask.ids[0]]
        if len(kept) == len(self.shop.hooks):
            raise Refusal("The resource_subscription was not found.")
        self.shop.hooks = kept
        return {"message": "The resource_subscription was deleted successfully."}


def _sale_key(sale: Sale) -> str:
    return f"{sale.at:%Y%m%d%H%M%S}000000-{sale.number}"


def _paged(ordered: list[Any], page_key: str | None, size: int, key: Callable[[Any], str]) -> tuple[list[Any], Json]:
    """A key is of the last record of a page, by its number: what comes to the front meanwhile moves nothing."""
    if page_key is not None:
        number = page_key.rpartition("-")[2]
        if not number.isdecimal() or int(number) == 0:
            raise Refusal("Invalid page_key.", 400)
        ordered = [one for one in ordered if one.number < int(number)]
    page = ordered[:size]
    if len(ordered) <= size:
        return page, {}
    return page, {"next_page_key": key(page[-1]), "next_page_url": f"/v2?page_key={key(page[-1])}"}


def _day(params: dict[str, str], name: str) -> datetime | None:
    if name not in params:
        return None
    try:
        day = date.fromisoformat(params[name])
    except ValueError:
        said = f"Invalid date format provided in field '{name}'. Dates must be in the format YYYY-MM-DD."
        raise Refusal(said, 400) from None
    return datetime.combine(day, time(), UTC)


class _Handler(BaseHTTPRequestHandler):
    emulator: ClassVar[Gumroad]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        answer = self.emulator.handle(self.command, self.path, self.headers.get("Authorization", ""), body)
        sent = json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json; charset=utf-8", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - as http.server calls them

    def log_message(self, format: str, *args: object) -> None:
        """Silent: the exchanges tell."""
