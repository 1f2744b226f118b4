"""Finds the worker a seller wrote on what is behind a charge: payment intent, invoice, subscription."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from platforms.base import PlatformFailed
from platforms.events import Tag
from platforms.stripe_mapping import Json, expanded, id_of, tag_in, tag_of

if TYPE_CHECKING:
    from stripe import StripeClient

_MOST_REMEMBERED = 20_000

Call = Callable[[Callable[[], Any]], Any]


class Lookup:
    """Retrieves objects as plain mappings, each once. What does not exist is None."""

    def __init__(self, client: StripeClient, call: Call) -> None:
        self._client = client
        self._call = call
        self._known: dict[str, Json | None] = {}

    def charge(self, id: str) -> Json | None:
        return self._get(id, lambda: self._client.v1.charges.retrieve(id))

    def payment_intent(self, id: str) -> Json | None:
        return self._get(id, lambda: self._client.v1.payment_intents.retrieve(id))

    def invoice(self, id: str) -> Json | None:
        return self._get(id, lambda: self._client.v1.invoices.retrieve(id))

    def subscription(self, id: str) -> Json | None:
        return self._get(id, lambda: self._client.v1.subscriptions.retrieve(id))

    def invoice_paid_by(self, intent: str) -> str | None:
        """The invoice that a payment intent paid, on API versions whose charges do not name it."""

        def find() -> Any:
            return self._client.v1.invoice_payments.list(
                {"limit": 1, "payment": {"type": "payment_intent", "payment_intent": intent}}
            )

        page = self._get(f"invoice_payments:{intent}", find) or {}
        return id_of(page["data"][0].get("invoice")) if page.get("data") else None

    def _get(self, key: str, call: Callable[[], Any]) -> Json | None:
        if key not in self._known:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            try:
                self._known[key] = self._call(call).to_dict()
            except PlatformFailed:  # it does not exist here, or this server knows no such object
                self._known[key] = None
        return self._known[key]


def find_tag(charge: Json, lookup: Lookup) -> Tag | None:
    """On the charge, its payment intent, its invoice or its subscription: the first that names a worker."""
    intent = expanded(charge.get("payment_intent"))
    intent_id = id_of(charge.get("payment_intent"))
    found = tag_in(charge)
    if found is None and intent is None and intent_id is not None:
        intent = lookup.payment_intent(intent_id)
        found = tag_of(intent, "payment_intent")
    if found is not None:
        return found
    invoice_id = id_of(charge.get("invoice")) or id_of((intent or {}).get("invoice"))
    if invoice_id is None and intent_id is not None and _has_customer(charge):
        invoice_id = lookup.invoice_paid_by(intent_id)
    invoice = lookup.invoice(invoice_id) if invoice_id is not None else None
    return None if invoice is None else tag_of(invoice, "invoice") or _subscription_tag(invoice, lookup)


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
