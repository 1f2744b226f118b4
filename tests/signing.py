"""Signs webhooks as their senders do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from standardwebhooks import Webhook
from stripe import WebhookSignature

STRIPE_SECRET = "whsec_nevershown00_stripe"
STANDARD_SECRET = "whsec_nevershown00rTwjUPD8ILPZIo2LaLaS"
_MAIL_KEY = ec.derive_private_key(0x1F2E3D4C5B6A79880011223344556677, ec.SECP256R1())
_SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
MAIL_KEY = base64.b64encode(_MAIL_KEY.public_key().public_bytes(serialization.Encoding.DER, _SPKI)).decode()


def stripe_event(id: str = "evt_1", kind: str = "charge.succeeded") -> bytes:
    return json.dumps({"id": id, "object": "event", "type": kind, "data": {"object": {"id": "ch_1"}}}).encode()


def by_stripe(body: bytes, at: float, secret: str = STRIPE_SECRET) -> dict[str, str]:
    return {"stripe-signature": WebhookSignature.generate_signature_header(body.decode(), secret, int(at))}


def by_sendgrid(body: bytes, at: float) -> dict[str, str]:
    told = str(int(at))
    sign = _MAIL_KEY.sign(told.encode() + body, ec.ECDSA(hashes.SHA256()))
    name = "x-twilio-email-event-webhook-"
    return {f"{name}signature": base64.b64encode(sign).decode(), f"{name}timestamp": told}


def by_standard(body: bytes, at: float, id: str = "msg_1", secret: str = STANDARD_SECRET) -> dict[str, str]:
    sign = Webhook(secret).sign(id, datetime.fromtimestamp(int(at), UTC), body.decode())
    return {"webhook-id": id, "webhook-timestamp": str(int(at)), "webhook-signature": sign}


def by_hmac(body: bytes, secret: str, at: float | None = None, header: str = "x-signature") -> dict[str, str]:
    signed = body if at is None else f"{int(at)}.".encode() + body
    found = {header: "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}
    return found if at is None else {**found, "x-timestamp": str(int(at))}


def as_json(document: Any) -> bytes:
    return json.dumps(document).encode()
