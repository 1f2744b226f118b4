"""The names under which people stand in nova's records: hashes of what others call them, never what they are called."""

from __future__ import annotations

import hashlib
import unicodedata

CLICK = "nova_click"  # what the address that a tracked link leads to is told: the id of the click

_DIGITS = 32


def subject_of_email(address: str) -> str:
    """`mail:` and a hash of the address, whatever its case and the space around it."""
    return "mail:" + _hashed(unicodedata.normalize("NFC", address.strip()).casefold())


def subject_of(platform: str, customer: str) -> str:
    """Of a platform's own name for somebody, such as `cus_1`: the platform's, and a hash of it."""
    return f"{platform}:{_hashed(customer)}"


def subject_of_click(id: str) -> str:
    """Of who clicked a tracked link: the id stands in the address it led to, and from there in the payment."""
    return f"click:{_hashed(id)}"


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:_DIGITS]
