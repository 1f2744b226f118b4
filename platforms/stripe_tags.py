"""Finds the worker a seller wrote on what is behind a charge: payment intent, invoice, subscription."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from platforms.base import PlatformFailed
from platforms.events import Tag
from platforms.stripe_mapping import Json, expanded, id_of, tag_in, tag_of
from platforms.stripe_requests import Params, Requests, at

_MOST_REMEMBERED = 20_000


class Lookup:
    """Retrieves objects as plain mappings, each once. What does not exist is None."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._known: dict[str, Json | None] = {}

    def charge(self, id: str) -> Json | None:
        return self._get(at("charges", id))

    def payment_intent(self, id: str) -> Json | None:
        return self._get(at("payment_intents", id))

    def invoice(self, id: str) -> Json | None:
        return self._get(at("invoices", id))

    def subscription(self, id: str) -> Json | None:
        return self._get(at("subscriptions", id))

    def invoice_paid_by(self, intent: str) -> str | None:
        """The invoice that a payment intent paid, on API versions whose charges do not name it."""
        payment = {"type": "payment_intent", "payment_intent": intent}
        page = self._get("/v1/invoice_payments", intent, {"limit": 1, "payment": payment}) or {}
        return id_of(page["data"][0].get("invoice")) if page.get("data") else None

    def _get(self, path: str, key: str = "", params: Params | None = None) -> Json | None:
        known = f"{path}:{key}"
        if known not in self._known:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            try:
                self._known[known] = self._requests.get(path, params, "look up")
            except PlatformFailed:  # it does not exist here, or this server knows no such object
                self._known[known] = None
        return self._known[known]


def find_tag(charge: Json, lookup: Lookup) -> Tag | None:
    """On the charge, its payment intent, its invoice or its subscription: the first that names a worker."""
    found = tag_in(charge) or tag_of(_intent_of(charge, lookup), "payment_intent")
    if found is not None:
        return found
    invoice = invoice_of(charge, lookup)
    return None if invoice is None else tag_of(invoice, "invoice") or _subscription_tag(invoice, lookup)


def invoice_of(charge: Json, lookup: Lookup) -> Json | None:
    """The invoice that was paid by it."""
    intent_id = id_of(charge.get("payment_intent"))
    intent = _intent_of(charge, lookup) or {}
    invoice_id = id_of(charge.get("invoice")) or id_of(intent.get("invoice"))
    if invoice_id is None and intent_id is not None and _has_customer(charge):
        invoice_id = lookup.invoice_paid_by(intent_id)
    return lookup.invoice(invoice_id) if invoice_id is not None else None


def _intent_of(charge: Json, lookup: Lookup) -> Json | None:
    intent, id = expanded(charge.get("payment_intent")), id_of(charge.get("payment_intent"))
    return lookup.payment_intent(id) if intent is None and id is not None else intent


def _has_customer(charge: Json) -> bool:
    """Invoices are written to customers: the payment of a guest has none, and need not be looked for."""
    return any(charge.get(name) is not None for name in ("customer", "customer_account"))


def _subscription_tag(invoice: Json, lookup: Lookup) -> Tag | None:
    """What the invoice remembers of its subscription, else what the subscription says now."""
    details = _details(invoice)
    found = tag_of(details, "subscription")
    subscription_id = id_of(invoice.get("subscription")) or id_of(details.get("subscription"))
    if found is None and subscription_id is not None:
        found = tag_of(lookup.subscription(subscription_id), "subscription")
    return found


def _details(invoice: Json) -> Mapping[str, Any]:
    parent = expanded(invoice.get("parent")) or {}
    return expanded(parent.get("subscription_details")) or expanded(invoice.get("subscription_details")) or {}
