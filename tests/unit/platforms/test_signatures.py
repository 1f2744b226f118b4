"""Signatures of webhooks: those of the vendors' own libraries are good, and anything else is Forged, nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova.errors import ConfigInvalid
from platforms import signatures
from platforms.signatures import Forged, Headers, Unsigned
from tests import signing

AT = 1_795_000_000.0
BODY = '{"id": "evt_1", "note": "grüße"}'.encode()


@dataclass(frozen=True)
class Scheme:
    check: Callable[[bytes, Headers], float | None]
    headers: Mapping[str, str]
    signature: str  # its header


SCHEMES = {
    "stripe": Scheme(
        lambda body, headers: signatures.check_stripe(body, headers, signing.STRIPE_SECRET),
        signing.by_stripe(BODY, AT),
        "stripe-signature",
    ),
    "sendgrid": Scheme(
        lambda body, headers: signatures.check_sendgrid(body, headers, signing.MAIL_KEY),
        signing.by_sendgrid(BODY, AT),
        "x-twilio-email-event-webhook-signature",
    ),
    "standard": Scheme(
        lambda body, headers: signatures.check_standard(body, headers, signing.STANDARD_SECRET),
        signing.by_standard(BODY, AT),
        "webhook-signature",
    ),
    "hmac": Scheme(
        lambda body, headers: signatures.check_hmac(body, headers, "secret", "X-Signature", "X-Timestamp"),
        signing.by_hmac(BODY, "secret", AT),
        "x-signature",
    ),
}
every = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)


@every
def test_what_the_sender_signed_is_good_and_says_when_it_was_signed(scheme: Scheme) -> None:
    assert scheme.check(BODY, scheme.headers) == AT


@every
def test_other_bytes_than_were_signed_are_forged(scheme: Scheme) -> None:
    for body in (BODY[:-1], BODY + b" ", BODY.replace(b"1", b"2"), b"", b"\xff\xfe", b"\x00" * 100):
        with pytest.raises(Forged):
            scheme.check(body, scheme.headers)


@every
def test_without_a_signature_it_is_unsigned(scheme: Scheme) -> None:
    for name in scheme.headers:
        with pytest.raises(Unsigned):
            scheme.check(BODY, {key: value for key, value in scheme.headers.items() if key != name})


@every
@given(value=st.one_of(st.text(max_size=200), st.from_regex(r"(t=|v1[=,])[0-9a-f,= v1t]{0,80}"), st.just("v1,AA==")))
def test_whatever_stands_in_the_header_is_forged(scheme: Scheme, value: str) -> None:
    with pytest.raises(Forged):
        scheme.check(BODY, {**scheme.headers, scheme.signature: value})


@every
@given(told=st.one_of(st.text(max_size=40), st.integers().map(str), st.just("9" * 5000), st.floats().map(str)))
def test_whatever_stands_as_its_time_is_forged(scheme: Scheme, told: str) -> None:
    changed = {
        name: told if "timestamp" in name else value.replace(f"t={int(AT)}", f"t={told}")
        for name, value in scheme.headers.items()
    }
    if changed != scheme.headers:
        with pytest.raises(Forged):
            scheme.check(BODY, changed)


@every
@given(body=st.binary(max_size=300))
def test_whatever_the_body_is_it_is_forged(scheme: Scheme, body: bytes) -> None:
    with pytest.raises(Forged):
        scheme.check(body, scheme.headers)


def test_a_sender_that_changes_its_secret_signs_with_both() -> None:
    good = signing.by_standard(BODY, AT)
    both = f"v1,{base64.b64encode(b'other' * 6).decode()} v1a,xyz {good['webhook-signature']}"
    secret = signing.STANDARD_SECRET
    assert signatures.check_standard(BODY, {**good, "webhook-signature": both}, secret) == AT
    stripe = signing.by_stripe(BODY, AT)["stripe-signature"]
    rolled = {"stripe-signature": stripe.replace(",v1=", f",v1={'0' * 64},v1=")}
    assert signatures.check_stripe(BODY, rolled, signing.STRIPE_SECRET) == AT


def test_a_plain_signature_may_be_hexadecimal_or_base64() -> None:
    digest = hmac.new(b"secret", BODY, hashlib.sha256).digest()
    told = digest.hex()
    for value in (told, told.upper(), f"sha256={told}", base64.b64encode(digest).decode()):
        assert signatures.check_hmac(BODY, {"x-hub": value}, "secret", "X-Hub", None) is None
    with pytest.raises(Forged):
        signatures.check_hmac(BODY, {"x-hub": told}, "another", "X-Hub", None)


@given(st.text(max_size=60))
def test_an_address_that_is_not_the_secret_one_is_forged(given: str) -> None:
    if given != "correct horse":
        with pytest.raises(Forged):
            signatures.check_secret(given, "correct horse")
    signatures.check_secret("correct horse", "correct horse")


def test_a_key_that_is_none_is_the_operators_to_mend() -> None:
    with pytest.raises(ConfigInvalid):
        signatures.check_sendgrid(BODY, signing.by_sendgrid(BODY, AT), "nonsense")
    for secret in ("whsec_", "é"):
        with pytest.raises(ConfigInvalid):
            signatures.check_standard(BODY, signing.by_standard(BODY, AT), secret)
