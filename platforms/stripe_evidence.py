"""What a charge tells of where its customer came from, and under which names the customer is known: hashes, all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nova.people import CLICK, subject_of, subject_of_click, subject_of_email

Json = Mapping[str, Any]

# What a seller may write into the metadata of a payment, as the address that a tracked link leads to has it.
_WRITTEN = {"nova_link": "link", "nova_coupon": "coupon", "nova_campaign": "campaign", "utm_campaign": "campaign"}


def evidence_in(charge: Json | None) -> dict[str, str]:
    """By the names of `PlatformEvent.evidence`; the charge's own word before the payment intent's."""
    found: dict[str, str] = {}
    for metadata in _metadata(charge):
        for key, name in _WRITTEN.items():
            value = metadata.get(key)
            if isinstance(value, str) and value.strip():
                found.setdefault(name, value.strip())
    return found


def subjects_in(charge: Json | None) -> tuple[str, ...]:
    if charge is None:
        return ()
    customer = charge.get("customer")
    customer = customer.get("id") if isinstance(customer, Mapping) else customer
    address = (_mapping(charge.get("billing_details")) or {}).get("email") or charge.get("receipt_email")
    named = (
        subject_of("stripe", customer) if isinstance(customer, str) and customer else None,
        subject_of_email(address) if isinstance(address, str) and address.strip() else None,
        *(subject_of_click(click) for metadata in _metadata(charge) if (click := _click(metadata))),
    )
    return tuple(dict.fromkeys(name for name in named if name is not None))


def _metadata(charge: Json | None) -> Iterator[Json]:
    for holder in (charge, _mapping((charge or {}).get("payment_intent"))):
        metadata = _mapping((holder or {}).get("metadata"))
        if metadata is not None:
            yield metadata


def _click(metadata: Json) -> str | None:
    value = metadata.get(CLICK)
    return value.strip() if isinstance(value, str) and value.strip() else None


def _mapping(value: Any) -> Json | None:
    return value if isinstance(value, Mapping) else None
