"""What stands behind a payment and costs a request: its invoice or its checkout, by which what was bought is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from platforms.base import Forbidden, PlatformFailed
from platforms.events import Tag
from platforms.stripe_evidence import evidence_in, subjects_in
from platforms.stripe_mapping import Json, expanded, id_of, tag_of
from platforms.stripe_requests import Requests

_DAY_S = 86_400  # a session lives a day at most before it is paid


@dataclass(frozen=True, slots=True)
class Behind:
    """What stands behind a payment. `evidence` by the names of PlatformEvent."""

    tag: Tag | None = None
    evidence: Mapping[str, str] = field(default_factory=dict)
    subjects: tuple[str, ...] = ()


def behind_invoice(invoice: Json) -> Behind:
    """Its first line tells what was bought; the forms of older and newer versions of the API."""
    rows = (expanded(invoice.get("lines")) or {}).get("data") or [{}]
    details = expanded((expanded(rows[0].get("pricing")) or {}).get("price_details")) or {}
    price = expanded(rows[0].get("price")) or {}
    bought = {
        "product": id_of(details.get("product")) or id_of(price.get("product")),
        "price": id_of(details.get("price")) or id_of(price),
        "coupon": _coupon(invoice),
    }
    email = invoice.get("customer_email")
    return Behind(None, _present(bought), _subjects(email, id_of(invoice.get("customer"))))


def behind_session(session: Json) -> Behind:
    """`client_reference_id` is where a payment link keeps what its address was called with: the slug of a link."""
    rows = (expanded(session.get("line_items")) or {}).get("data") or [{}]
    price = expanded(rows[0].get("price")) or {}
    bought = {"product": id_of(price.get("product")), "price": id_of(price), "coupon": _coupon(session)}
    reference = _present({"link": session.get("client_reference_id")})
    details = expanded(session.get("customer_details")) or {}
    named = _subjects(details.get("email") or session.get("customer_email"), id_of(session.get("customer")))
    return Behind(
        tag_of(session, "checkout_session"),
        {**_present(bought), **reference, **evidence_in(session)},
        tuple(dict.fromkeys((*named, *subjects_in({"metadata": session.get("metadata")})))),
    )


class Sessions:
    """Checkout sessions by the payment they led to: read newest first, a page at a time, as far back as is asked."""

    def __init__(self, requests: Requests) -> None:
        self._rows: Iterator[Json] = requests.rows("/v1/checkout/sessions", {"expand": ["data.line_items"]})
        self._found: dict[str, Behind] = {}
        self._reached: float = float("inf")

    def of(self, payment: str, created: int) -> Behind | None:
        while payment not in self._found and self._reached >= created - _DAY_S:
            self._read()
        return self._found.get(payment)

    def _read(self) -> None:
        try:
            session = next(self._rows, None)
        except (PlatformFailed, Forbidden):  # a server that knows no sessions, or a key that may not read them
            session = None
        if session is None:
            self._reached = float("-inf")
            return
        self._reached = session["created"]
        payment = id_of(session.get("payment_intent"))
        if payment is not None:
            self._found[payment] = behind_session(session)


def _subjects(email: str | None, customer: str | None) -> tuple[str, ...]:
    return subjects_in({"customer": customer, "receipt_email": email})


def _coupon(holder: Json) -> str | None:
    """The promotion code that was used, else the coupon behind it; what is not expanded is no more than an id."""
    discounts = [holder.get("discount"), *(holder.get("discounts") or ())]
    for discount in (one for one in map(expanded, discounts) if one is not None):
        source = expanded(discount.get("source")) or {}
        code = discount.get("promotion_code")
        found = (expanded(code) or {}).get("code") or id_of(code)
        return found or id_of(discount.get("coupon")) or id_of(source.get("coupon"))
    return None


def _present(said: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in said.items() if value}
