"""The addresses that webhooks are taken at: each knows its sender's signature, and the id of what is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nova.errors import ConfigInvalid, NotFound
from nova.fleet.webhooks import WebhookSender
from nova.webhooks.bodies import id_of, stripe_event
from platforms import signatures
from platforms.signatures import Headers

if TYPE_CHECKING:
    from pydantic import SecretStr

    from nova.config import Settings

STRIPE, GUMROAD, SENDGRID = "stripe", "gumroad", "sendgrid"
VENDORS = {STRIPE: "STRIPE_WEBHOOK_SECRET", GUMROAD: "GUMROAD_WEBHOOK_SECRET", SENDGRID: "SENDGRID_WEBHOOK_KEY"}

Check = Callable[[bytes, Headers, str], float | None]
Identify = Callable[[bytes, Headers], tuple[str, str | None]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`check` is given the body, the headers and what the address ended with, and returns when it was signed.

    It raises Forged, or ConfigInvalid where the secret itself is none. `identify` tells the id and the kind of what
    passed. `address` is the path, with SECRET where one stands in it.
    """

    name: str
    address: str
    check: Check
    identify: Identify


@dataclass(frozen=True, slots=True)
class Endpoints:
    """What can be taken now, by name, and what cannot, and why."""

    open: Mapping[str, Endpoint]
    wanting: Mapping[str, str]
    senders: Mapping[str, WebhookSender]
    secrets: tuple[str, ...]

    def find(self, name: str) -> Endpoint:
        """Raises NotFound."""
        found = self.open.get(name)
        if found is None:
            raise NotFound("no such webhook")
        return found


def endpoints(settings: Settings, senders: tuple[WebhookSender, ...], variables: Mapping[str, str]) -> Endpoints:
    """`variables` are the environment and what `.env` files add: they hold the secrets of declared senders.

    Raises ConfigInvalid where the key of a platform is none.
    """
    found: dict[str, Endpoint] = {}
    wanting: dict[str, str] = {}
    secrets: list[str] = []
    for name, variable in VENDORS.items():
        secret = _value(getattr(settings, variable.lower()))
        if secret is None:
            wanting[name] = f"{variable} is not set"
        else:
            found[name] = _VENDOR[name](secret)
    for sender in senders:
        secret = variables.get(sender.secret, "").strip()
        secrets += [secret] if secret else []
        try:
            if secret:
                found[sender.name] = _declared(sender, secret)
            else:
                wanting[sender.name] = f"{sender.secret} is not set"
        except ConfigInvalid as problem:
            wanting[sender.name] = f"{sender.secret}: {problem.message}"
    return Endpoints(found, wanting, {one.name: one for one in senders}, tuple(secrets))


def _value(secret: SecretStr | None) -> str | None:
    return (secret.get_secret_value() or None) if secret is not None else None


def _stripe(secret: str) -> Endpoint:
    signatures.load_stripe()

    def check(body: bytes, headers: Headers, _rest: str) -> float:
        return signatures.check_stripe(body, headers, secret)

    return Endpoint(STRIPE, "/webhooks/stripe", check, lambda body, _headers: stripe_event(body))


def _gumroad(secret: str) -> Endpoint:
    def check(_body: bytes, _headers: Headers, rest: str) -> None:
        signatures.check_secret(rest, secret)

    return Endpoint(GUMROAD, "/webhooks/gumroad/SECRET", check, _hashed)


def _sendgrid(key: str) -> Endpoint:
    signatures.load_sendgrid(key)

    def check(body: bytes, headers: Headers, _rest: str) -> float:
        return signatures.check_sendgrid(body, headers, key)

    return Endpoint(SENDGRID, "/webhooks/sendgrid", check, _hashed)


_VENDOR: Mapping[str, Callable[[str], Endpoint]] = {STRIPE: _stripe, GUMROAD: _gumroad, SENDGRID: _sendgrid}


def _declared(sender: WebhookSender, secret: str) -> Endpoint:
    def standard(body: bytes, headers: Headers, _rest: str) -> float:
        return signatures.check_standard(body, headers, secret)

    def plain(body: bytes, headers: Headers, _rest: str) -> float | None:
        return signatures.check_hmac(body, headers, secret, sender.header, sender.timestamp_header)

    if sender.scheme == "standard":
        signatures.load_standard(secret)
    check: Check = standard if sender.scheme == "standard" else plain
    identify = _by_header if sender.scheme == "standard" else _hashed  # there alone the id is signed
    return Endpoint(sender.name, f"/webhooks/{sender.name}", check, identify)


def _hashed(body: bytes, _headers: Headers) -> tuple[str, None]:
    return id_of(body), None


def _by_header(body: bytes, headers: Headers) -> tuple[str, None]:
    return id_of(body, headers.get("webhook-id")), None
