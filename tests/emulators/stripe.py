"""A fuller Stripe than the demo's: a catalog, links and checkout, cards set aside, invoices by hand, search, events.

Built on the demo's emulator: `Storefront(ShopAccount(...), api=Shop)`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from nova.demo import stripe_objects as basic
from nova.demo.stripe_account import Account, Declined, Sale, Unacceptable
from nova.demo.stripe_api import KINDS, Api, Params
from nova.demo.stripe_objects import Object, listed
from nova.demo.stripe_params import ACCEPTED, LIST, ONE, BadParameter
from tests.emulators import stripe_shapes as shapes

_UNDATED = {name: kind for name, kind in LIST.items() if name != "created"}
_SEARCH = {"expand": "list", "limit": "int", "page": "text", "query": "text!"}
_TERM = re.compile(r"""(?:metadata\[["'](?P<key>[^"']+)["']\]|(?P<field>[a-z_]+)):["'](?P<value>[^"']*)["']""")
_MORE: dict[str, dict[str, str]] = {
    "POST /v1/payment_intents": {**ACCEPTED["POST /v1/payment_intents"], "capture_method": "text"},
    "POST /v1/payment_intents/{id}/capture": {**ONE, "amount_to_capture": "int"},
    "POST /v1/payment_intents/{id}/cancel": {**ONE, "cancellation_reason": "text"},
    "GET /v1/payment_intents/search": _SEARCH,
    "POST /v1/customers": {
        **ACCEPTED["POST /v1/customers"], "payment_method": "text", "invoice_settings": "map",
    },
    "POST /v1/customers/{id}": {**ACCEPTED["POST /v1/customers"], "invoice_settings": "map"},
    "DELETE /v1/customers/{id}": {},
    "GET /v1/customers/search": _SEARCH,
    "GET /v1/products": {**LIST, "active": "bool"},
    "POST /v1/products": {
        **ONE, "active": "bool", "default_price_data": "map", "description": "text", "id": "text", "metadata": "map",
        "name": "text!",
    },
    "POST /v1/products/{id}": {
        **ONE, "active": "bool", "default_price": "text", "description": "text", "metadata": "map", "name": "text",
    },
    "GET /v1/products/search": _SEARCH,
    "GET /v1/prices": {**LIST, "active": "bool", "product": "text"},
    "POST /v1/prices": {
        **ONE, "currency": "text!", "metadata": "map", "nickname": "text", "product": "text", "recurring": "map",
        "unit_amount": "int",
    },
    "POST /v1/prices/{id}": {**ONE, "active": "bool", "metadata": "map", "nickname": "text"},
    "GET /v1/payment_links": {**_UNDATED, "active": "bool"},
    "POST /v1/payment_links": {
        **ONE, "after_completion": "map", "allow_promotion_codes": "bool", "line_items": "list!", "metadata": "map",
        "payment_intent_data": "map", "subscription_data": "map",
    },
    "POST /v1/payment_links/{id}": {**ONE, "active": "bool", "metadata": "map"},
    "GET /v1/checkout/sessions": {**_UNDATED, "payment_intent": "text", "subscription": "text"},
    "POST /v1/checkout/sessions": {
        **ONE, "allow_promotion_codes": "bool", "cancel_url": "text", "client_reference_id": "text",
        "customer": "text", "customer_email": "text", "line_items": "list", "metadata": "map", "mode": "text",
        "payment_intent_data": "map", "subscription_data": "map", "success_url": "text!",
    },
    "POST /v1/checkout/sessions/{id}/expire": ONE,
    "GET /v1/subscriptions": {**LIST, "customer": "text", "price": "text", "status": "text"},
    "POST /v1/subscriptions": {
        **ACCEPTED["POST /v1/subscriptions"], "default_payment_method": "text", "trial_period_days": "int",
    },
    "POST /v1/subscriptions/{id}": {
        **ACCEPTED["POST /v1/subscriptions/{id}"], "cancel_at_period_end": "bool", "items": "list",
        "proration_behavior": "text",
    },
    "DELETE /v1/subscriptions/{id}": {"invoice_now": "bool", "prorate": "bool"},
    "GET /v1/invoices": {**LIST, "customer": "text", "status": "text", "subscription": "text"},
    "POST /v1/invoices": {
        **ONE, "auto_advance": "bool", "collection_method": "text", "currency": "text", "customer": "text",
        "days_until_due": "int", "description": "text", "metadata": "map", "pending_invoice_items_behavior": "text",
    },
    "POST /v1/invoiceitems": {
        **ONE, "amount": "int", "currency": "text", "customer": "text!", "description": "text", "invoice": "text",
    },
    **{f"POST /v1/invoices/{{id}}/{action}": ONE for action in ("finalize", "pay", "send", "void")},
}  # fmt: skip


class ShopAccount(Account):
    """Cards can be set aside, and what happens to subscriptions is told as events."""

    def make(self, made: Object) -> Object:
        with self.lock:
            return self._add(made)

    def new_id(self, prefix: str) -> str:
        return self._id(prefix)

    def confirm(self, intent: Object, method: str, *, at: int | None = None) -> Sale:
        with self.lock:
            if method.endswith("authenticationRequired"):
                intent |= {"payment_method": method, "status": "requires_action"}
                return Sale(intent["id"], "", "")
            if intent["capture_method"] != "manual":
                return super().confirm(intent, method, at=at)
            if "chargeDeclined" in method:
                raise Declined(intent["id"])
            intent |= {"payment_method": method, "status": "requires_capture", "amount_capturable": intent["amount"]}
            return Sale(intent["id"], "", "")

    def capture(self, intent: Object, amount: int | None) -> None:
        with self.lock:
            if intent["status"] != "requires_capture":
                raise Unacceptable(f"This PaymentIntent could not be captured because it is {intent['status']}.")
            taken = intent["amount"] if amount is None else amount
            if not 0 < taken <= intent["amount"]:
                raise Unacceptable("The amount to capture is greater than the amount that was set aside.")
            whole = intent["amount"]
            intent |= {"capture_method": "automatic", "amount": taken}
            super().confirm(intent, intent["payment_method"])
            intent |= {"capture_method": "manual", "amount": whole, "amount_capturable": 0, "amount_received": taken}

    def subscribe_to(self, buyer: Object, priced: Object, quantity: int, metadata: Mapping[str, str]) -> Object:
        with self.lock:
            made = basic.subscription(self._id("sub"), self._id("si"), buyer["id"], priced, self.now(), metadata)
            made["items"]["data"][0]["quantity"] = quantity
            self._add(made)
            self.renew(made)
            self.tell("created", made)
            return made

    def change(self, subscription: Object, changes: Mapping[str, Any]) -> None:
        with self.lock:
            before = {name: copy.deepcopy(subscription.get(name)) for name in changes}
            subscription.update(changes)
            self.tell("updated", subscription, before)

    def end(self, subscription: Object) -> None:
        with self.lock:
            now = self.now()
            subscription |= {"status": "canceled", "ended_at": now, "canceled_at": subscription["canceled_at"] or now}
            self.tell("deleted", subscription)

    def tell(self, what: str, subscription: Object, before: Mapping[str, Any] | None = None) -> None:
        said = copy.deepcopy(subscription)
        self._add(shapes.event(self._id("evt"), f"customer.subscription.{what}", said, before, self.now()))

    def buy(
        self, link: Object, email: str = "ada@example.com", *, reference: str | None = None, code: str | None = None
    ) -> Object:
        """A customer pays by a payment link, called with a `client_reference_id`; returns the session it made."""
        with self.lock:
            priced = self.get(link["bought"][0]["price"], "price")
            handed = link.get("payment_intent_data") or link.get("subscription_data") or {}
            more = {"payment_link": link["id"], "client_reference_id": reference}
            more["discounts"] = [] if code is None else [{"coupon": None, "promotion_code": code}]
            return self.complete(self.session(priced, 1, link["metadata"], handed, **more), email)

    def session(
        self, priced: Object, quantity: int, metadata: Mapping[str, str], handed: Mapping[str, Any], **more: Any
    ) -> Object:
        mode = "subscription" if priced["recurring"] else "payment"
        total = priced["unit_amount"] * quantity
        made = shapes.checkout(
            self._id("cs_test"), total, priced["currency"], self.now(), metadata, mode=mode, **more
        )  # fmt: skip
        made["bought"] = (priced["id"], quantity, dict(handed.get("metadata") or {}))
        return self._add(made)

    def complete(self, session: Object, email: str = "ada@example.com") -> Object:
        with self.lock:
            price, quantity, metadata = session["bought"]
            priced = self.get(price, "price")
            buyer = self.create_customer({}, email=email)
            session |= {"status": "complete", "payment_status": "paid", "customer": buyer["id"], "url": None}
            session["customer_details"] = {
                "address": None, "email": email, "name": None, "phone": None, "tax_exempt": "none", "tax_ids": [],
            }  # fmt: skip
            if session["mode"] == "subscription":
                session["subscription"] = self.subscribe_to(buyer, priced, quantity, metadata)["id"]
            else:
                total = priced["unit_amount"] * quantity
                intent = self.create_intent(total, priced["currency"], metadata, customer=buyer["id"])
                self.confirm(intent, "pm_card_visa")
                session["payment_intent"] = intent["id"]
            return session


class Shop(Api):
    kinds: ClassVar = {
        **KINDS, "checkout/sessions": "checkout.session", "invoiceitems": "invoiceitem",
        "payment_links": "payment_link", "prices": "price", "products": "product",
    }  # fmt: skip
    accepted: ClassVar = {**ACCEPTED, **_MORE}

    def __init__(self, account: ShopAccount, *, deep: bool = True) -> None:
        super().__init__(account, deep=deep)
        self._shop = account
        self._create |= {
            "products": self._create_product, "prices": self._create_price, "payment_links": self._create_link,
            "checkout/sessions": self._create_session, "invoices": self._create_invoice,
            "invoiceitems": self._create_line,
        }  # fmt: skip
        self._act |= {
            ("payment_intents", "capture"): self._capture, ("payment_intents", "cancel"): self._cancel,
            ("checkout/sessions", "expire"): lambda found, params: _with(found, status="expired", url=None),
            ("invoices", "finalize"): self._finalize, ("invoices", "pay"): self._pay,
            ("invoices", "send"): self._finalize,
            ("invoices", "void"): lambda found, params: _with(found, status="void"),
        }  # fmt: skip

    def name_of(self, method: str, path: str) -> str:
        if path.endswith("/search") and f"{method} {path}" in self.accepted:
            return f"{method} {path}"
        return super().name_of(method, path)

    def answer(self, method: str, path: str, params: Params, version: str, *, repeat: bool = False) -> Object:
        if path.endswith("/search"):
            return self._search(path, params, version)
        if method == "DELETE":
            collection, id, _ = self._split(path)
            with self._account.lock:
                return self._shown(self._delete(collection, id or ""), version)
        if path == "/v1/subscriptions" and method == "GET":
            params = _by_status(params)
        return super().answer(method, path, params, version, repeat=repeat)

    def _page(self, collection: str, params: Params, repeat: bool) -> Object:
        """With the filters that only some lists have."""
        wanted = {name: params[name] for name in ("active", "product") if name in params}
        status = params.get("status_")
        page = super()._page(collection, {**params, "limit": 100}, repeat)
        rows = [
            row
            for row in page["data"]
            if all(row.get(name) == value for name, value in wanted.items())
            and (status is None or row["status"] in status)
        ]
        limit = params.get("limit", 10)
        return listed(rows[:limit], page["url"], page["has_more"] or len(rows) > limit)

    def _shown(self, found: Object, version: str) -> Object:
        shown = super()._shown(found, version)
        for row in shown["data"] if shown["object"] == "list" else [shown]:
            row.pop("bought", None)
        return shown

    def _expanded(self, shown: Object, paths: list[str], version: str, *, is_list: bool) -> Object:
        if "data.line_items" in paths:
            for row in shown["data"]:
                row["line_items"] = self._lines(row["id"])
        rest = [path for path in paths if path != "data.line_items"]
        return super()._expanded(shown, rest, version, is_list=is_list)

    def _lines(self, session: str) -> Object:
        price, quantity, _ = self._account.get(session)["bought"]
        priced = self._account.get(price)
        total = priced["unit_amount"] * quantity
        line = {
            "id": "li_1", "object": "item", "amount_discount": 0, "amount_subtotal": total, "amount_tax": 0,
            "amount_total": total, "currency": priced["currency"], "description": "", "price": priced,
            "quantity": quantity,
        }  # fmt: skip
        return listed([line], f"/v1/checkout/sessions/{session}/line_items")

    def _search(self, path: str, params: Params, version: str) -> Object:
        collection = path.split("/")[2]
        rows = [row for row in self._account.newest_first(self.kinds[collection]) if _found(row, params["query"])]
        start, limit = int(params.get("page", "0")), params.get("limit", 10)
        more = start + limit < len(rows)
        found = [self._shown(row, version) for row in rows[start : start + limit]]
        return {
            "object": "search_result", "data": found, "has_more": more,
            "next_page": str(start + limit) if more else None, "url": path,
        }  # fmt: skip

    def _delete(self, collection: str, id: str) -> Object:
        found = self._account.get(id, self.kinds[collection])
        if collection == "subscriptions":
            if found["status"] == "canceled":
                raise self._missing(id)
            self._shop.end(found)
            return found
        found.clear()
        found |= {"id": id, "object": "customer", "deleted": True, "created": 0}
        return {"id": id, "object": "customer", "deleted": True}

    @staticmethod
    def _missing(id: str) -> Exception:
        from nova.demo.stripe_account import Missing

        return Missing(id)

    def _create_intent(self, params: Params) -> Object:
        intent = super()._create_intent({**params, "confirm": False})
        intent["capture_method"] = params.get("capture_method", "automatic")
        if params.get("confirm"):
            return self._confirm(intent, params)
        if "payment_method" in params:
            intent |= {"payment_method": params["payment_method"], "status": "requires_confirmation"}
        return intent

    def _capture(self, found: Object, params: Params) -> Object:
        self._shop.capture(found, params.get("amount_to_capture"))
        return found

    def _cancel(self, found: Object, params: Params) -> Object:
        if found["status"] in ("succeeded", "canceled"):
            raise Unacceptable(f"You cannot cancel this PaymentIntent because it has a status of {found['status']}.")
        reason = params.get("cancellation_reason")
        return _with(
            found, status="canceled", canceled_at=self._account.now(), cancellation_reason=reason, amount_capturable=0
        )

    def _create_product(self, params: Params) -> Object:
        said = {name: params[name] for name in ("description", "active") if name in params}
        id = params.get("id") or self._shop.new_id("prod")
        made = self._shop.make(
            shapes.product(id, params["name"], self._account.now(), params.get("metadata", {}), **said)
        )
        if "default_price_data" in params:
            priced = {**params["default_price_data"], "product": id}
            made["default_price"] = self._create_price({**priced, "unit_amount": int(priced["unit_amount"])})["id"]
        return made

    def _create_price(self, params: Params) -> Object:
        self._account.get(params["product"], "product")
        said = {"nickname": params.get("nickname"), "metadata": dict(params.get("metadata", {}))}
        id, now = self._shop.new_id("price"), self._account.now()
        return self._shop.make(
            shapes.price(
                id, params["product"], params["unit_amount"], params["currency"], now, params.get("recurring"), **said
            )
        )

    def _create_link(self, params: Params) -> Object:
        priced = self._account.get(params["line_items"][0]["price"], "price")
        self._fits(priced, params)
        handed = {name: params[name] for name in ("payment_intent_data", "subscription_data") if name in params}
        made = shapes.payment_link(self._shop.new_id("plink"), priced["currency"], params.get("metadata", {}), handed)
        return self._shop.make({**made, "bought": params["line_items"]})

    def _create_session(self, params: Params) -> Object:
        line = params["line_items"][0]
        priced = self._account.get(line["price"], "price")
        self._fits(priced, params)
        handed = params.get("payment_intent_data") or params.get("subscription_data") or {}
        names = ("success_url", "cancel_url", "client_reference_id", "customer", "customer_email")
        said = {name: params[name] for name in names if name in params}
        return self._shop.session(priced, int(line.get("quantity", 1)), params.get("metadata", {}), handed, **said)

    @staticmethod
    def _fits(priced: Object, params: Params) -> None:
        wrong = "payment_intent_data" if priced["recurring"] else "subscription_data"
        if wrong in params:
            raise BadParameter(f"You can not pass `{wrong}` with this kind of price.", wrong)

    def _create_subscription(self, params: Params) -> Object:
        line = params["items"][0]
        if "price" not in line:
            return super()._create_subscription(params)
        buyer = self._account.get(params["customer"], "customer")
        if "chargeDeclined" in str((buyer.get("invoice_settings") or {}).get("default_payment_method")):
            raise Declined(buyer["id"])
        priced = self._account.get(line["price"], "price")
        return self._shop.subscribe_to(buyer, priced, int(line.get("quantity", 1)), params.get("metadata", {}))

    def _create_customer(self, params: Params) -> Object:
        made = super()._create_customer(params)
        default = params.get("invoice_settings", {}).get("default_payment_method")
        made["invoice_settings"] = {
            "custom_fields": None, "default_payment_method": default, "footer": None, "rendering_options": None,
        }  # fmt: skip
        return made

    def _create_invoice(self, params: Params) -> Object:
        buyer = self._account.get(params["customer"], "customer")
        now, currency = self._account.now(), params["currency"]
        priced = shapes.price("price_none", "prod_none", 0, currency, now, {"interval": "month"})
        bought = basic.subscription("sub_none", "si_none", buyer["id"], priced, now, {})
        made = basic.invoice(self._shop.new_id("in"), "il_none", bought, now)
        made["lines"]["data"].clear()
        made |= {
            "status": "draft", "subscription": None, "parent": None, "paid": False, "billing_reason": "manual",
            "collection_method": params.get("collection_method", "charge_automatically"), "attempt_count": 0,
            "description": params.get("description"), "metadata": dict(params.get("metadata", {})),
            "hosted_invoice_url": None, "number": None,
        }  # fmt: skip
        return self._shop.make(made)

    def _create_line(self, params: Params) -> Object:
        billed = self._account.get(params["invoice"], "invoice")
        for name in ("amount_due", "amount_remaining", "total", "subtotal"):
            billed[name] += params["amount"]
        return self._shop.make(shapes.invoice_item(self._shop.new_id("ii"), params, self._account.now()))

    def _finalize(self, found: Object, params: Params) -> Object:
        if found["status"] == "draft":
            url = f"https://invoice.stripe.com/i/{found['id']}"
            found |= {"status": "open", "number": "EMU-0001", "hosted_invoice_url": url}
        return found

    def _method_of(self, buyer: str) -> str:
        settings = self._account.get(buyer, "customer").get("invoice_settings") or {}
        return settings.get("default_payment_method") or "pm_card_visa"

    def _pay(self, found: Object, params: Params) -> Object:
        if found["status"] != "open":
            raise Unacceptable(f"Invoice is {found['status']}, and cannot be paid.")
        said = {"customer": found["customer"], "invoice": found["id"]}
        intent = self._account.create_intent(found["amount_due"], found["currency"], {}, **said)
        sale = self._account.confirm(intent, self._method_of(found["customer"]))
        self._shop.make(basic.invoice_payment(self._shop.new_id("inpay"), found, intent["id"]))
        amount = found["amount_due"]
        if found.get("subscription"):
            subscription = self._account.get(found["subscription"], "subscription")
            if subscription["status"] in ("past_due", "unpaid"):
                self._shop.change(subscription, {"status": "active"})
        return _with(
            found, status="paid", paid=True, amount_paid=amount, amount_remaining=0, attempt_count=1,
            payment_intent=intent["id"], charge=sale.charge,
        )  # fmt: skip

    def _update(self, found: Object, params: Params) -> Object:
        if found["object"] == "dispute":
            return self._update_dispute(found, params)
        super()._update(found, {**params, "metadata": params.get("metadata", {})})
        for name in ("active", "name", "nickname", "default_price", "email"):
            if name in params:
                found[name] = params[name]
        if found["object"] == "subscription":
            self._change_subscription(found, params)
        return found

    def _update_dispute(self, found: Object, params: Params) -> Object:
        found["evidence"] |= params.get("evidence", {})
        found["evidence_details"]["has_evidence"] = True
        if not params.get("submit"):
            return super()._update(found, {**params, "evidence": {}})
        found["evidence_details"]["submission_count"] += 1
        found["status"] = "under_review"
        return super()._update(found, params)

    def _change_subscription(self, found: Object, params: Params) -> None:
        changes: dict[str, Any] = {}
        if "cancel_at_period_end" in params:
            ends = params["cancel_at_period_end"]
            changes |= {
                "cancel_at_period_end": ends, "canceled_at": self._account.now() if ends else None,
                "cancel_at": found["current_period_end"] if ends else None,
            }  # fmt: skip
        if "items" in params:
            (line,) = params["items"]
            items = copy.deepcopy(found["items"])
            item = items["data"][0]
            if line.get("id") != item["id"]:
                raise BadParameter(f"No such subscription item: {line.get('id')}", "items[0][id]", "resource_missing")
            if "price" in line:
                item["price"] = copy.deepcopy(self._account.get(line["price"], "price"))
            item["quantity"] = int(line.get("quantity", item["quantity"]))
            changes["items"] = items
        if changes:
            self._shop.change(found, changes)


def _with(found: Object, **changes: Any) -> Object:
    found.update(changes)
    return found


def _by_status(params: Params) -> Params:
    """Without a status Stripe leaves out what has ended."""
    status = params.get("status")
    rest = {name: value for name, value in params.items() if name != "status"}
    if status == "all":
        return rest
    live = ["trialing", "active", "incomplete", "past_due", "unpaid", "paused"]
    return {**rest, "status_": [status] if status else live}


def _found(row: Object, query: str) -> bool:
    terms = list(_TERM.finditer(query))
    if not terms:
        raise BadParameter(f"We were unable to parse your search query: {query}", "query")
    return all(
        str((row.get("metadata") or {}).get(term["key"]) if term["key"] else row.get(term["field"])) == term["value"]
        for term in terms
    )
