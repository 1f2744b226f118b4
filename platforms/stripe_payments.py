"""Payments at Stripe and what becomes of them: refunds, disputes, payouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from nova.money import Money
from platforms.stripe_money import to_stripe
from platforms.stripe_objects import (
    Dispute,
    Payment,
    Payout,
    Refund,
    dispute_in,
    payment_in,
    payout_in,
    refund_in,
)  # fmt: skip
from platforms.stripe_requests import Params, Requests, at, in_currency_of, tags

Metadata = Mapping[str, str]


class Payments:
    """Payment intents. What is created carries its `worker`, whose the money then is."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def create(
        self,
        amount: Money,
        *,
        worker: str | None = None,
        customer: str | None = None,
        payment_method: str | None = None,
        confirm: bool = False,
        capture: bool = True,
        off_session: bool | None = None,
        description: str | None = None,
        metadata: Metadata | None = None,
        methods: Sequence[str] = ("card",),
        key: str | None = None,
    ) -> Payment:
        """`confirm` takes the money at once; without `capture` it is only set aside. Raises Declined."""
        params: Params = {
            "amount": to_stripe(amount),
            "currency": amount.currency.lower(),
            "customer": customer,
            "payment_method": payment_method,
            "payment_method_types": list(methods),
            "confirm": confirm or None,
            "capture_method": None if capture else "manual",
            "off_session": off_session,
            "description": description,
            "metadata": tags(self._requests.hands, worker, metadata),
        }
        return payment_in(self._requests.post("payment", "/v1/payment_intents", params, key))

    def confirm(self, id: str, *, payment_method: str | None = None, key: str | None = None) -> Payment:
        params: Params = {"payment_method": payment_method}
        return payment_in(self._requests.post("confirm", at("payment_intents", id, "confirm"), params, key))

    def capture(self, id: str, amount: Money | None = None, *, key: str | None = None) -> Payment:
        """Takes what was set aside, or part of it; the rest is let go."""
        if amount is not None:
            in_currency_of(amount, self.get(id).amount, id)
        params: Params = {"amount_to_capture": None if amount is None else to_stripe(amount)}
        return payment_in(self._requests.post("capture", at("payment_intents", id, "capture"), params, key))

    def cancel(self, id: str, *, reason: str | None = None, key: str | None = None) -> Payment:
        """`reason`: duplicate, fraudulent, requested_by_customer or abandoned."""
        params: Params = {"cancellation_reason": reason}
        return payment_in(self._requests.post("cancel", at("payment_intents", id, "cancel"), params, key))

    def get(self, id: str) -> Payment:
        return payment_in(self._requests.get(at("payment_intents", id)))

    def list(
        self, *, customer: str | None = None, since: datetime | None = None, most: int | None = None
    ) -> Iterator[Payment]:
        params: Params = {"customer": customer, "created": _from(since)}
        return map(payment_in, self._requests.rows("/v1/payment_intents", params, most))

    def search(self, query: str, *, most: int | None = None) -> Iterator[Payment]:
        """Such as `metadata['nova_worker']:'mailer'`."""
        return map(payment_in, self._requests.found("/v1/payment_intents", query, most))


class Refunds:
    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def create(
        self,
        payment: str,
        amount: Money | None = None,
        *,
        reason: str | None = None,
        metadata: Metadata | None = None,
        key: str | None = None,
    ) -> Refund:
        """All that is left of a payment (`pi_…`) or charge (`ch_…`), or `amount` of it.

        `reason`: duplicate, fraudulent or requested_by_customer.
        """
        charged = payment.startswith(("ch_", "py_"))
        if amount is not None:
            in_currency_of(amount, self.refundable(payment), payment)
        params: Params = {
            "charge" if charged else "payment_intent": payment,
            "amount": None if amount is None else to_stripe(amount),
            "reason": reason,
            "metadata": dict(metadata or {}),
        }
        return refund_in(self._requests.post("refund", "/v1/refunds", params, key))

    def refundable(self, payment: str) -> Money:
        """What was paid and is not given back yet."""
        from platforms.stripe_money import from_stripe

        if payment.startswith(("ch_", "py_")):
            charge = self._requests.get(at("charges", payment))
        else:
            intent = self._requests.get(at("payment_intents", payment), {"expand": ["latest_charge"]})
            charge = intent.get("latest_charge") or {"currency": intent["currency"]}
        return from_stripe(charge.get("amount_captured", 0) - charge.get("amount_refunded", 0), charge["currency"])

    def get(self, id: str) -> Refund:
        return refund_in(self._requests.get(at("refunds", id)))

    def list(self, *, payment: str | None = None, most: int | None = None) -> Iterator[Refund]:
        charged = payment is not None and payment.startswith(("ch_", "py_"))
        params: Params = {"charge" if charged else "payment_intent": payment}
        return map(refund_in, self._requests.rows("/v1/refunds", params, most))


class Disputes:
    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def get(self, id: str) -> Dispute:
        return dispute_in(self._requests.get(at("disputes", id)))

    def list(
        self, *, payment: str | None = None, since: datetime | None = None, most: int | None = None
    ) -> Iterator[Dispute]:
        params: Params = {"payment_intent": payment, "created": _from(since)}
        return map(dispute_in, self._requests.rows("/v1/disputes", params, most))

    def answer(self, id: str, evidence: Metadata, *, submit: bool = True, key: str | None = None) -> Dispute:
        """Gives evidence by its names at Stripe, such as `uncategorized_text`; without `submit` it is only kept there.

        What is submitted goes to the bank at once and cannot be changed.
        """
        params: Params = {"evidence": dict(evidence), "submit": submit}
        return dispute_in(self._requests.post("evidence", at("disputes", id), params, key))

    def close(self, id: str, *, key: str | None = None) -> Dispute:
        """Gives the dispute up: it is lost, for good."""
        return dispute_in(self._requests.post("close", at("disputes", id, "close"), {}, key))


class Payouts:
    """From the balance to one's own bank."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def create(self, amount: Money, *, description: str | None = None, key: str | None = None) -> Payout:
        params: Params = {
            "amount": to_stripe(amount),
            "currency": amount.currency.lower(),
            "description": description,
        }
        return payout_in(self._requests.post("payout", "/v1/payouts", params, key))

    def get(self, id: str) -> Payout:
        return payout_in(self._requests.get(at("payouts", id)))

    def list(self, *, since: datetime | None = None, most: int | None = None) -> Iterator[Payout]:
        return map(payout_in, self._requests.rows("/v1/payouts", {"created": _from(since)}, most))


def _from(since: datetime | None) -> Params | None:
    return None if since is None else {"gte": int(since.timestamp())}
