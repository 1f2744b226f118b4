"""Stripe's requests on an emulated account: lists with filters and pages, expansion, and what may be created."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any, ClassVar

from nova.demo.stripe_account import Account
from nova.demo.stripe_objects import Object, listed
from nova.demo.stripe_params import ACCEPTED, BadParameter

Params = dict[str, Any]

KINDS = {
    "balance_transactions": "balance_transaction", "charges": "charge", "customers": "customer", "disputes": "dispute",
    "events": "event",
    "invoice_payments": "invoice_payment", "invoices": "invoice", "payment_intents": "payment_intent",
    "payouts": "payout",
    "refunds": "refund", "subscriptions": "subscription",
}  # fmt: skip
_PATH = re.compile(r"/v1/(checkout/sessions|[a-z_]+)(?:/([A-Za-z0-9_]+))?(?:/([a-z]+))?")
_FIRST_WITH_INVOICE_PAYMENTS = "2025-03-31"


class NoSuchPath(Exception):
    """No request of the API has this method and path."""


class Api:
    """`version` of a request decides whether charges name their invoice. `deep` False: only one level expands."""

    kinds: ClassVar = KINDS
    accepted: ClassVar = ACCEPTED

    def __init__(self, account: Account, *, deep: bool = True) -> None:
        self._account = account
        self._deep = deep
        self._create: dict[str, Callable[[Params], Object]] = {
            "payment_intents": self._create_intent, "refunds": self._create_refund, "customers": self._create_customer,
            "subscriptions": self._create_subscription, "payouts": self._create_payout,
        }  # fmt: skip
        self._act: dict[tuple[str, str], Callable[[Object, Params], Object]] = {
            ("payment_intents", "confirm"): self._confirm, ("disputes", "close"): self._close_dispute,
        }  # fmt: skip

    def name_of(self, method: str, path: str) -> str:
        """The request without its id, `POST /v1/refunds`. Raises NoSuchPath."""
        collection, id, action = self._split(path)
        if collection == "balance" and id is None and method == "GET":
            return "GET /v1/balance"
        name = f"{method} /v1/{collection}" + ("/{id}" if id else "") + (f"/{action}" if action else "")
        if name not in self.accepted and (method != "GET" or action is not None or collection not in self.kinds):
            raise NoSuchPath(path)
        return name

    def answer(self, method: str, path: str, params: Params, version: str, *, repeat: bool = False) -> Object:
        """Raises Missing, BadParameter, Unacceptable or Declined.

        `repeat`: a page begins with the last object of the one before.
        """
        collection, id, action = self._split(path)
        with self._account.lock:
            if collection == "balance":
                return self._account.balance()
            if method == "POST":
                found = self._post(collection, id, action, params)
            elif id is None:
                found = self._page(collection, params, repeat)
            else:
                found = self._account.get(id, self.kinds[collection])
            return self._expanded(
                self._shown(found, version), params.get("expand", []), version, is_list=found["object"] == "list"
            )

    def _post(self, collection: str, id: str | None, action: str | None, params: Params) -> Object:
        if id is None:
            return self._create[collection](params)
        found = self._account.get(id, self.kinds[collection])
        return self._update(found, params) if action is None else self._act[collection, action](found, params)

    def _page(self, collection: str, params: Params, repeat: bool) -> Object:
        rows = [row for row in self._account.newest_first(self.kinds[collection]) if _matches(row, params)]
        limit = params.get("limit", 10)
        if not 1 <= limit <= 100:
            raise BadParameter("Invalid limit: must be between 1 and 100", "limit")
        url = f"/v1/{collection}"
        if "ending_before" in params:
            end = _position(rows, params["ending_before"], "ending_before")
            return listed(rows[max(0, end - limit) : end], url, end > limit)
        start = _position(rows, params["starting_after"], "starting_after") + 1 if "starting_after" in params else 0
        if repeat and start:
            start -= 1
        return listed(rows[start : start + limit], url, start + limit < len(rows))

    def _shown(self, found: Object, version: str) -> Object:
        """A copy in the form of the API's version: the newer one names no invoice on a payment."""
        shown = copy.deepcopy(found)
        if version >= _FIRST_WITH_INVOICE_PAYMENTS:
            for row in shown["data"] if shown["object"] == "list" else [shown]:
                for field in _GONE.get(row["object"], ()):
                    row.pop(field, None)
        elif shown["object"] == "invoice":
            shown.pop("parent", None)
        return shown

    def _expanded(self, shown: Object, paths: list[str], version: str, *, is_list: bool) -> Object:
        for path in paths:
            keys = path.split(".")
            if is_list and keys.pop(0) != "data":
                raise BadParameter(f"This property cannot be expanded ({path}).", "expand")
            if not self._deep and len(keys) > 1:
                raise BadParameter(f"This property cannot be expanded ({path}).", "expand")
            if not _EXPANDABLE.issuperset(keys):
                raise BadParameter(f"This property cannot be expanded ({path}).", "expand")
            for row in shown["data"] if is_list else [shown]:
                self._expand(row, keys, version)
        return shown

    def _expand(self, row: Any, keys: list[str], version: str) -> None:
        """Where a row of several possible kinds has no such property, nothing happens."""
        if not keys or not isinstance(row, dict) or row.get(keys[0]) is None:
            return
        if isinstance(row[keys[0]], str):
            row[keys[0]] = self._shown(self._account.get(row[keys[0]]), version)
        self._expand(row[keys[0]], keys[1:], version)

    def _create_intent(self, params: Params) -> Object:
        if params["amount"] < 50:
            raise BadParameter("Amount must be at least $0.50 usd", "amount", "amount_too_small")
        said = {name: params[name] for name in ("customer", "description", "receipt_email") if name in params}
        intent = self._account.create_intent(
            params["amount"], params["currency"].lower(), params.get("metadata", {}), **said
        )
        return self._confirm(intent, params) if params.get("confirm") else intent

    def _confirm(self, intent: Object, params: Params) -> Object:
        method = params.get("payment_method") or intent["payment_method"]
        if method is None:
            raise BadParameter(
                "You cannot confirm this PaymentIntent because it's missing a payment method.", "payment_method"
            )
        self._account.confirm(intent, method)
        return intent

    def _create_refund(self, params: Params) -> Object:
        if "charge" not in params and "payment_intent" not in params:
            raise BadParameter("One of the following params should be provided: payment_intent or charge.", "charge")
        id = params.get("charge") or self._account.get(params["payment_intent"], "payment_intent")["latest_charge"]
        charge = self._account.get(str(id), "charge")
        return self._account.refund(
            charge, params.get("amount"), reason=params.get("reason"), metadata=params.get("metadata")
        )

    def _create_customer(self, params: Params) -> Object:
        said = {name: params[name] for name in ("description", "email", "name", "phone") if name in params}
        return self._account.create_customer(params.get("metadata", {}), **said)

    def _create_subscription(self, params: Params) -> Object:
        priced = params["items"][0].get("price_data") if isinstance(params["items"][0], dict) else None
        if not priced:
            raise BadParameter("Only price_data is emulated.", "items[0][price_data]")
        buyer = self._account.get(params["customer"], "customer")
        interval = priced.get("recurring", {}).get("interval", "month")
        amount, currency = int(priced["unit_amount"]), priced["currency"]
        return self._account.subscribe(buyer, amount, currency, params.get("metadata", {}), interval=interval)

    def _create_payout(self, params: Params) -> Object:
        return self._account.payout(params["amount"], params["currency"].lower(), params.get("metadata"))

    def _update(self, found: Object, params: Params) -> Object:
        """Evidence decides a dispute by Stripe's own test words."""
        found["metadata"] = {
            key: value for key, value in {**found["metadata"], **params.get("metadata", {})}.items() if value != ""
        }
        if "description" in params:
            found["description"] = params["description"]
        said = params.get("evidence", {}).get("uncategorized_text")
        if said in ("winning_evidence", "losing_evidence"):
            found["evidence"]["uncategorized_text"] = said
            self._account.close_dispute(found, won=said == "winning_evidence")
        return found

    def _close_dispute(self, found: Object, params: Params) -> Object:
        self._account.close_dispute(found, won=False)
        return found

    @staticmethod
    def _split(path: str) -> tuple[str, str | None, str | None]:
        match = _PATH.fullmatch(path)
        if match is None:
            raise NoSuchPath(path)
        return match[1], match[2], match[3]


_EXPANDABLE = {
    "balance_transaction", "charge", "customer", "failure_balance_transaction", "invoice",
    "latest_charge", "latest_invoice", "payment_intent", "source", "subscription",
}  # fmt: skip
_GONE = {
    "charge": ("invoice",),
    "payment_intent": ("invoice",),
    "invoice": ("charge", "payment_intent", "subscription"),
}


def _matches(row: Object, params: Params) -> bool:
    created = params.get("created")
    if isinstance(created, int) and row["created"] != created:
        return False
    if isinstance(created, dict):
        compare = {
            "gt": row["created"].__gt__,
            "gte": row["created"].__ge__,
            "lt": row["created"].__lt__,
            "lte": row["created"].__le__,
        }
        if not all(compare[key](value) for key, value in created.items() if key in compare):
            return False
    payment = params.get("payment")
    if payment and row["payment"].get("payment_intent") != payment.get("payment_intent"):
        return False
    plain = (
        "currency",
        "type",
        "source",
        "customer",
        "charge",
        "payment_intent",
        "invoice",
        "subscription",
        "email",
        "status",
    )
    wanted = {name: params[name] for name in plain if name in params and (name, params[name]) != ("status", "all")}
    return all(row.get(name) == value for name, value in wanted.items()) and row.get("type") in params.get(
        "types", [row.get("type")]
    )


def _position(rows: list[Object], id: str, param: str) -> int:
    for index, row in enumerate(rows):
        if row["id"] == id:
            return index
    raise BadParameter(f"No such object: '{id}'", param, "resource_missing")
