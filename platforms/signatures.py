"""Whether a webhook is from whom it says: the vendors' own checks over the raw bytes, before anything in it is read.

Each returns the instant it was signed at, in seconds since 1970, where the scheme has one. What is malformed, cut or
of other bytes than were signed is Forged, whichever way the vendor's library would fail. How old a signature may be is
for the caller to say.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from nova.errors import ConfigInvalid, Refused

Headers = Mapping[str, str]  # names in lower case

_SECONDS = re.compile(r"\d{1,11}", re.ASCII)
_MOST_SIGNATURES = 20  # a sender that changes its secret signs with two


class Forged(Refused):
    """The signature is not the sender's."""


class Unsigned(Forged):
    """There is no signature."""


def load_stripe() -> None:
    """Before the first webhook has to wait for it."""
    from stripe import WebhookSignature  # noqa: F401


def load_sendgrid(key: str) -> None:
    """Raises ConfigInvalid where it is no public key."""
    _sendgrid_checker(key)


def load_standard(secret: str) -> None:
    """Raises ConfigInvalid where it is no secret."""
    _standard_checker(secret)


def check_stripe(body: bytes, headers: Headers, secret: str) -> float:
    from stripe import WebhookSignature

    header = _needed(headers, "stripe-signature")
    try:
        WebhookSignature.verify_header(body, header, secret)
        told = next(part.partition("=")[2] for part in header.split(",") if part.partition("=")[0] == "t")
    except Exception:  # noqa: BLE001 - whatever the library makes of a malformed header or body
        raise Forged from None
    return _instant(told)


def check_sendgrid(body: bytes, headers: Headers, key: str) -> float:
    """`key` is the public one that SendGrid shows. Raises ConfigInvalid where it is none."""
    signature = _needed(headers, "x-twilio-email-event-webhook-signature")
    told = _needed(headers, "x-twilio-email-event-webhook-timestamp")
    checker = _sendgrid_checker(key)
    try:
        good = checker.verify_signature(body.decode(), signature, told)
    except Exception:  # noqa: BLE001 - base64, UTF-8 or numbers that are none
        good = False
    if not good:
        raise Forged
    return _instant(told)


def check_standard(body: bytes, headers: Headers, secret: str) -> float:
    """By standardwebhooks.com. Raises ConfigInvalid where the secret is none."""
    id, told = _needed(headers, "webhook-id"), _needed(headers, "webhook-timestamp")
    given = _needed(headers, "webhook-signature")
    at = _instant(told)
    checker = _standard_checker(secret)
    try:
        signed = checker.sign(id, datetime.fromtimestamp(at, UTC), body.decode())
    except Exception:  # noqa: BLE001 - a time beyond the calendar, bytes that are no text
        raise Forged from None
    if not _any_equal(given.split(" "), signed):
        raise Forged
    return at


def check_hmac(body: bytes, headers: Headers, secret: str, header: str, timestamp_header: str | None) -> float | None:
    """HMAC-SHA256 in hexadecimal or base64, after `sha256=` or not, of the body, or of TIMESTAMP.BODY."""
    given = _needed(headers, header.lower()).strip()
    given = given.removeprefix("sha256=").removeprefix("v1=")
    told = None if timestamp_header is None else _needed(headers, timestamp_header.lower())
    at = None if told is None else _instant(told)
    signed = body if told is None else told.encode("latin-1", "replace") + b"." + body
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    if not _any_equal([given.lower()], digest.hex()) and not _any_equal([given], base64.b64encode(digest).decode()):
        raise Forged
    return at


def check_secret(given: str, secret: str) -> None:
    """For a vendor that signs nothing and is told an address that nobody else knows."""
    if not _any_equal([given], secret):
        raise Forged


def _needed(headers: Headers, name: str) -> str:
    value = headers.get(name)
    if not value:
        raise Unsigned(f"there is no {name} header")
    return value


def _instant(told: str) -> float:
    if not _SECONDS.fullmatch(told):
        raise Forged
    return float(told)


def _any_equal(given: list[str], right: str) -> bool:
    """In constant time; text that is not ASCII is compared as bytes."""
    expected = right.encode()
    return any(hmac.compare_digest(one.encode("utf-8", "surrogatepass"), expected) for one in given[:_MOST_SIGNATURES])


@lru_cache(8)
def _sendgrid_checker(key: str) -> Any:
    from sendgrid.helpers.eventwebhook import EventWebhook

    try:
        return EventWebhook(key.strip())
    except Exception:  # noqa: BLE001 - cryptography raises several kinds
        raise ConfigInvalid(
            "SENDGRID_WEBHOOK_KEY is no public key", hint="copy the verification key that SendGrid shows"
        ) from None


@lru_cache(64)
def _standard_checker(secret: str) -> Any:
    from standardwebhooks import Webhook

    try:
        return Webhook(secret)
    except Exception:  # noqa: BLE001 - not base64, or empty
        raise ConfigInvalid(
            "the secret of a webhook of the scheme `standard` is no key", hint="it is whsec_ and base64 text"
        ) from None
