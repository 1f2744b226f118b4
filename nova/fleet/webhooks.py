"""Senders of signed webhooks that the operator declares: how they sign, and where in what they send the money is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from nova.errors import UsageProblem
from nova.fleet.documents import valid_name
from nova.fleet.terms import valid_variables

SCHEMES = ("standard", "hmac-sha256")
TAKEN = ("stripe", "gumroad", "sendgrid")  # what the settings configure
SALES = ("revenue", "sale", "payment", "paid")
REFUNDS = ("refund", "refunded")

_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}", re.ASCII)
_PATH = re.compile(r"[^.\s\x00-\x1f]{1,100}(\.[^.\s\x00-\x1f]{1,100}){0,19}")
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_USUAL_HEADER = "X-Signature"


@dataclass(frozen=True, slots=True)
class WebhookSender:
    """`secret` is the name of the variable that holds it. Paths are keys joined by dots, as in `data.order.id`.

    `minor`: amounts are in the currency's smallest unit. Without `currency_path` every amount is in `currency`. What
    `kind_path` finds decides what it is: a sale, a refund, or, where it is neither, nothing to book.
    Who paid is found by `email_path` and by `click_path`, where the id of a tracked link's click was handed on;
    `link_path` finds the link itself.
    """

    name: str
    secret: str
    scheme: str = "standard"
    header: str = _USUAL_HEADER
    timestamp_header: str | None = None
    id_path: str = "id"
    amount_path: str = "amount"
    currency_path: str | None = None
    currency: str | None = None
    at_path: str | None = None
    worker_path: str | None = None
    worker: str | None = None
    kind_path: str | None = None
    email_path: str | None = None
    click_path: str | None = None
    link_path: str | None = None
    sales: tuple[str, ...] = SALES
    refunds: tuple[str, ...] = REFUNDS
    minor: bool = False

    def checked(self) -> WebhookSender:
        """Itself. Raises UsageProblem where it makes no sense."""
        valid_name(self.name)
        if self.name.casefold() in TAKEN:
            raise UsageProblem(
                f"{self.name} has an endpoint of its own", hint="`nova webhooks list` shows what it needs to be set"
            )
        valid_variables([self.secret], "--secret-env")
        if self.scheme not in SCHEMES:
            raise UsageProblem(f"not a way to sign: {self.scheme!r}", hint=f"it is {' or '.join(SCHEMES)}")
        if self.scheme == "standard" and (self.header != _USUAL_HEADER or self.timestamp_header):
            raise UsageProblem("the headers of the scheme `standard` are fixed", hint="leave --header out")
        for header in (self.header, self.timestamp_header):
            if header is not None and not _HEADER.fullmatch(header):
                raise UsageProblem(f"not the name of a header: {header!r}")
        self._check_paths()
        if self.currency is not None and not _CURRENCY.fullmatch(self.currency):
            raise UsageProblem(f"not a currency: {self.currency!r}", hint="three letters, such as USD")
        if self.currency is not None and self.currency_path is not None:
            raise UsageProblem("a currency is either always the same or found by a path")
        if self.worker is not None:
            valid_name(self.worker, "worker")
            if self.worker_path is not None:
                raise UsageProblem("whose it is is either always the same or found by a path")
        return self

    def _check_paths(self) -> None:
        for one in fields(self):
            path = getattr(self, one.name) if one.name.endswith("_path") else None
            if path is not None and not _PATH.fullmatch(path):
                raise UsageProblem(f"not a path: {path!r}", hint="keys joined by dots, as in data.order.id")

    def to_document(self) -> dict[str, Any]:
        """As JSON keeps it; `sender_of` reads it back."""
        return {key: list(one) if isinstance(one, tuple) else one for key, one in asdict(self).items()}


def sender_of(document: Mapping[str, Any]) -> WebhookSender:
    """Raises UsageProblem, KeyError or TypeError for what is none."""
    known = {one.name: document[one.name] for one in fields(WebhookSender) if one.name in document}
    for key in ("sales", "refunds"):
        if key in known:
            known[key] = tuple(str(one) for one in known[key])
    return WebhookSender(**known).checked()
