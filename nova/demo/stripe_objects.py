"""The shapes of Stripe's objects as the emulator stores them: plain dictionaries with every required field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]

_CARD = {
    "brand": "visa",
    "country": "US",
    "exp_month": 12,
    "exp_year": 2034,
    "funding": "credit",
    "last4": "4242",
    "network": "visa",
}
_MONTH_S = 30 * 86400


def payment_intent(
    id: str, amount: int, currency: str, created: int, metadata: Mapping[str, str], **more: Any
) -> Object:
    return {
        "id": id, "object": "payment_intent", "amount": amount, "amount_capturable": 0, "amount_details": {"tip": {}},
        "amount_received": 0, "application": None, "application_fee_amount": None, "automatic_payment_methods": None,
        "canceled_at": None, "cancellation_reason": None, "capture_method": "automatic",
        "client_secret": f"{id}_secret_emulated", "confirmation_method": "automatic", "created": created,
        "currency": currency, "customer": None, "description": None, "invoice": None, "last_payment_error": None,
        "latest_charge": None, "livemode": False, "metadata": dict(metadata), "on_behalf_of": None,
        "payment_method": None,
        "payment_method_options": {}, "payment_method_types": ["card"], "receipt_email": None, "review": None,
        "setup_future_usage": None, "shipping": None, "statement_descriptor": None, "statement_descriptor_suffix": None,
        "status": "requires_payment_method", "transfer_data": None, "transfer_group": None, **more,
    }  # fmt: skip


def charge(id: str, intent: Object, created: int) -> Object:
    """Paid by the intent; it takes a copy of the intent's metadata, as Stripe's do."""
    return {
        "id": id, "object": "charge", "amount": intent["amount"], "amount_captured": intent["amount"],
        "amount_refunded": 0,
        "application": None, "application_fee": None, "application_fee_amount": None, "balance_transaction": None,
        "billing_details": {"address": None, "email": None, "name": None, "phone": None},
        "calculated_statement_descriptor": "EMULATED", "captured": True, "created": created,
        "currency": intent["currency"],
        "customer": intent["customer"], "description": intent["description"], "disputed": False,
        "failure_balance_transaction": None, "failure_code": None, "failure_message": None, "fraud_details": {},
        "invoice": intent["invoice"], "livemode": False, "metadata": dict(intent["metadata"]), "on_behalf_of": None,
        "outcome": {"network_status": "approved_by_network", "reason": None, "risk_level": "normal", "risk_score": 7,
                    "seller_message": "Payment complete.", "type": "authorized"},
        "paid": True, "payment_intent": intent["id"], "payment_method": intent["payment_method"],
        "payment_method_details": {"card": dict(_CARD), "type": "card"}, "receipt_email": intent["receipt_email"],
        "receipt_number": None, "receipt_url": None, "refunded": False, "review": None, "shipping": None,
        "source_transfer": None, "statement_descriptor": None, "statement_descriptor_suffix": None,
        "status": "succeeded",
        "transfer_data": None, "transfer_group": None,
    }  # fmt: skip


def balance_transaction(
    id: str,
    kind: str,
    category: str,
    amount: int,
    fee: int,
    currency: str,
    created: int,
    source: str | None,
    **more: Any,
) -> Object:
    details = {
        "amount": fee,
        "application": None,
        "currency": currency,
        "description": "Stripe processing fees",
        "type": "stripe_fee",
    }
    return {
        "id": id, "object": "balance_transaction", "amount": amount, "available_on": created, "created": created,
        "currency": currency, "description": None, "exchange_rate": None, "fee": fee,
        "fee_details": [details] if fee else [],
        "net": amount - fee, "reporting_category": category, "source": source, "status": "available", "type": kind,
        **more,
    }  # fmt: skip


def refund(id: str, paid: Object, amount: int, created: int, reason: str | None, metadata: Mapping[str, str]) -> Object:
    return {
        "id": id, "object": "refund", "amount": amount, "balance_transaction": None, "charge": paid["id"],
        "created": created,
        "currency": paid["currency"], "metadata": dict(metadata), "payment_intent": paid["payment_intent"],
        "reason": reason,
        "receipt_number": None, "source_transfer_reversal": None, "status": "succeeded", "transfer_reversal": None,
    }  # fmt: skip


def dispute(id: str, paid: Object, created: int, reason: str) -> Object:
    return {
        "id": id, "object": "dispute", "amount": paid["amount"], "balance_transactions": [], "charge": paid["id"],
        "created": created, "currency": paid["currency"], "evidence": {"uncategorized_text": None},
        "evidence_details": {"due_by": created + 7 * 86400, "has_evidence": False, "past_due": False,
        "submission_count": 0},
        "is_charge_refundable": False, "livemode": False, "metadata": {}, "payment_intent": paid["payment_intent"],
        "reason": reason, "status": "needs_response",
    }  # fmt: skip


def customer(id: str, created: int, metadata: Mapping[str, str], **more: Any) -> Object:
    return {
        "id": id, "object": "customer", "address": None, "balance": 0, "created": created, "currency": None,
        "default_source": None, "delinquent": False, "description": None, "discount": None, "email": None,
        "invoice_prefix": None, "livemode": False, "metadata": dict(metadata), "name": None, "phone": None,
        "preferred_locales": [], "shipping": None, "tax_exempt": "none", **more,
    }  # fmt: skip


def price(id: str, product: str, amount: int, currency: str, created: int, interval: str) -> Object:
    recurring = {"aggregate_usage": None, "interval": interval, "interval_count": 1, "usage_type": "licensed"}
    return {
        "id": id, "object": "price", "active": True, "billing_scheme": "per_unit", "created": created,
        "currency": currency,
        "custom_unit_amount": None, "livemode": False, "lookup_key": None, "metadata": {}, "nickname": None,
        "product": product,
        "recurring": recurring, "tax_behavior": "unspecified", "tiers_mode": None, "transform_quantity": None,
        "type": "recurring", "unit_amount": amount, "unit_amount_decimal": str(amount),
    }  # fmt: skip


def subscription(
    id: str, item_id: str, buyer: str, priced: Object, created: int, metadata: Mapping[str, str]
) -> Object:
    item: Object = {
        "id": item_id, "object": "subscription_item", "billing_thresholds": None, "created": created, "metadata": {},
        "price": priced, "quantity": 1, "subscription": id, "tax_rates": [],
    }  # fmt: skip
    return {
        "id": id, "object": "subscription", "application": None, "application_fee_percent": None,
        "automatic_tax": {"enabled": False}, "billing_cycle_anchor": created, "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False, "canceled_at": None, "collection_method": "charge_automatically",
        "created": created,
        "currency": priced["currency"], "current_period_end": created + _MONTH_S, "current_period_start": created,
        "customer": buyer, "days_until_due": None, "default_payment_method": None, "default_source": None,
        "default_tax_rates": [], "description": None, "discount": None, "ended_at": None,
        "items": listed([item], f"/v1/subscription_items?subscription={id}"), "latest_invoice": None, "livemode": False,
        "metadata": dict(metadata), "next_pending_invoice_item_invoice": None, "on_behalf_of": None,
        "pause_collection": None,
        "pending_invoice_item_interval": None, "pending_setup_intent": None, "pending_update": None,
        "start_date": created,
        "status": "active", "transfer_data": None, "trial_end": None, "trial_start": None,
    }  # fmt: skip


def invoice(id: str, line_id: str, bought: Object, created: int) -> Object:
    """A paid invoice of one period of a subscription, in the old form and in the new one at once."""
    item = bought["items"]["data"][0]
    amount = item["price"]["unit_amount"]
    period = {"start": created, "end": created + _MONTH_S}
    line = {
        "id": line_id, "object": "line_item", "amount": amount, "currency": bought["currency"], "description": None,
        "discountable": True, "discounts": [], "livemode": False, "metadata": dict(bought["metadata"]),
        "period": period,
        "price": item["price"], "proration": False, "quantity": 1, "subscription": bought["id"],
        "subscription_item": item["id"], "type": "subscription",
    }  # fmt: skip
    details = {"metadata": dict(bought["metadata"]), "subscription": bought["id"]}
    return {
        "id": id, "object": "invoice", "amount_due": amount, "amount_paid": amount, "amount_remaining": 0,
        "amount_shipping": 0, "attempt_count": 1, "attempted": True,
        "automatic_tax": {"enabled": False, "status": None},
        "billing_reason": "subscription_cycle", "charge": None, "collection_method": "charge_automatically",
        "created": created, "currency": bought["currency"], "customer": bought["customer"], "default_tax_rates": [],
        "description": None, "discount": None, "discounts": [], "lines": listed([line], f"/v1/invoices/{id}/lines"),
        "livemode": False, "metadata": {}, "paid": True, "paid_out_of_band": False,
        "parent": {"quote_details": None, "subscription_details": details, "type": "subscription_details"},
        "payment_intent": None,
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "period_end": period["end"], "period_start": period["start"], "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0, "starting_balance": 0, "status": "paid",
        "status_transitions": {"finalized_at": created, "marked_uncollectible_at": None, "paid_at": created,
        "voided_at": None},
        "subscription": bought["id"], "subtotal": amount, "total": amount, "total_tax_amounts": [],
    }  # fmt: skip


def invoice_payment(id: str, billed: Object, intent: str) -> Object:
    return {
        "id": id, "object": "invoice_payment", "amount_paid": billed["amount_paid"],
        "amount_requested": billed["amount_due"],
        "created": billed["created"], "currency": billed["currency"], "invoice": billed["id"], "is_default": True,
        "livemode": False, "payment": {"type": "payment_intent", "payment_intent": intent}, "status": "paid",
        "status_transitions": {"canceled_at": None, "paid_at": billed["created"]},
    }  # fmt: skip


def payout(id: str, amount: int, currency: str, created: int, metadata: Mapping[str, str]) -> Object:
    return {
        "id": id, "object": "payout", "amount": amount, "arrival_date": created + 2 * 86400, "automatic": False,
        "balance_transaction": None, "created": created, "currency": currency, "description": None, "destination": None,
        "failure_balance_transaction": None, "failure_code": None, "failure_message": None, "livemode": False,
        "metadata": dict(metadata), "method": "standard", "original_payout": None,
        "reconciliation_status": "not_applicable",
        "reversed_by": None, "source_type": "card", "statement_descriptor": None, "status": "paid",
        "type": "bank_account",
    }  # fmt: skip


def listed(rows: list[Object], url: str, has_more: bool = False) -> Object:
    return {"object": "list", "data": rows, "has_more": has_more, "url": url}
