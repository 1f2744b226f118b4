"""The names under which people stand in nova's records: hashes of what others call them, never what they are called."""

from __future__ import annotations

import hashlib
import unicodedata

_DIGITS = 32


def subject_of_email(address: str) -> str:
    """`mail:` and a hash of the address, whatever its case and the space around it."""
    return "mail:" + _hashed(unicodedata.normalize("NFC", address.strip()).casefold())


def subject_of(platform: str, customer: str) -> str:
    """Of a platform's own name for somebody, such as `cus_1`: the platform's, and a hash of it."""
    return f"{platform}:{_hashed(customer)}"


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:_DIGITS]
