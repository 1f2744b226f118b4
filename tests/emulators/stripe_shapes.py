"""The shapes of Stripe's objects that only the fuller emulator stores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]


def product(id: str, name: str, created: int, metadata: Mapping[str, str], **more: Any) -> Object:
    return {
        "id": id, "object": "product", "active": True, "created": created, "default_price": None, "description": None,
        "images": [], "livemode": False, "metadata": dict(metadata), "name": name, "package_dimensions": None,
        "shippable": None, "statement_descriptor": None, "tax_code": None, "unit_label": None, "updated": created,
        "url": None, **more,
    }  # fmt: skip


def price(
    id: str, product: str, amount: int, currency: str, created: int, recurring: Mapping[str, Any] | None, **more: Any
) -> Object:
    repeats = None
    if recurring:
        count = int(recurring.get("interval_count", 1))
        repeats = {
            "aggregate_usage": None, "interval": recurring["interval"], "interval_count": count,
            "usage_type": "licensed",
        }  # fmt: skip
    return {
        "id": id, "object": "price", "active": True, "billing_scheme": "per_unit", "created": created,
        "currency": currency, "custom_unit_amount": None, "livemode": False, "lookup_key": None, "metadata": {},
        "nickname": None, "product": product, "recurring": repeats, "tax_behavior": "unspecified", "tiers_mode": None,
        "transform_quantity": None, "type": "recurring" if repeats else "one_time", "unit_amount": amount,
        "unit_amount_decimal": str(amount), **more,
    }  # fmt: skip


def payment_link(id: str, currency: str, metadata: Mapping[str, str], handed: Mapping[str, Any]) -> Object:
    return {
        "id": id, "object": "payment_link", "active": True,
        "after_completion": {"type": "hosted_confirmation", "hosted_confirmation": {"custom_message": None}},
        "allow_promotion_codes": False, "application_fee_amount": None, "application_fee_percent": None,
        "automatic_tax": {"enabled": False}, "billing_address_collection": "auto", "consent_collection": None,
        "currency": currency, "custom_fields": [], "custom_text": {"shipping_address": None, "submit": None},
        "customer_creation": "if_required", "invoice_creation": None, "livemode": False, "metadata": dict(metadata),
        "on_behalf_of": None, "payment_intent_data": handed.get("payment_intent_data"),
        "payment_method_collection": "always", "payment_method_types": None,
        "phone_number_collection": {"enabled": False}, "shipping_address_collection": None, "shipping_options": [],
        "submit_type": "auto", "subscription_data": handed.get("subscription_data"),
        "tax_id_collection": {"enabled": False}, "transfer_data": None,
        "url": f"https://buy.stripe.com/test_{id.removeprefix('plink_')}",
    }  # fmt: skip


def checkout(id: str, total: int, currency: str, created: int, metadata: Mapping[str, str], **more: Any) -> Object:
    return {
        "id": id, "object": "checkout.session", "amount_subtotal": total, "amount_total": total,
        "automatic_tax": {"enabled": False, "status": None}, "cancel_url": None, "client_reference_id": None,
        "created": created, "currency": currency, "custom_fields": [],
        "custom_text": {"shipping_address": None, "submit": None}, "customer": None, "customer_email": None,
        "expires_at": created + 86400, "invoice": None, "livemode": False, "metadata": dict(metadata),
        "mode": "payment", "payment_intent": None, "payment_link": None, "payment_method_types": ["card"],
        "payment_status": "unpaid", "shipping_options": [], "status": "open", "subscription": None,
        "success_url": "https://example.com/thanks", "url": f"https://checkout.stripe.com/c/pay/{id}", **more,
    }  # fmt: skip


def event(id: str, kind: str, said: Object, before: Mapping[str, Any] | None, created: int) -> Object:
    data: Object = {"object": said, **({"previous_attributes": dict(before)} if before is not None else {})}
    return {
        "id": id, "object": "event", "api_version": "2026-10-28.endive", "created": created, "data": data,
        "livemode": False, "pending_webhooks": 0, "request": None, "type": kind,
    }  # fmt: skip


def invoice_item(id: str, params: Mapping[str, Any], created: int) -> Object:
    return {
        "id": id, "object": "invoiceitem", "amount": params["amount"], "currency": params["currency"],
        "customer": params["customer"], "date": created, "description": params.get("description"),
        "discountable": True, "discounts": [], "invoice": params.get("invoice"), "livemode": False, "metadata": {},
        "period": {"start": created, "end": created}, "price": None, "proration": False, "quantity": 1,
        "subscription": None, "tax_rates": [], "test_clock": None, "unit_amount": params["amount"],
        "unit_amount_decimal": str(params["amount"]),
    }  # fmt: skip
