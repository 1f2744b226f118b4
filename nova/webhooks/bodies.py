"""What the bodies of webhooks say, once their signature was found good. Pure: bytes in, values out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from nova.clock import parse_time, to_us
from nova.errors import NovaError, UsageProblem
from nova.fleet.webhooks import WebhookSender
from nova.ledger.facts import EARLIEST_US, LATEST_US
from nova.money import Money
from nova.people import subject_of_click, subject_of_email
from platforms.events import PlatformEvent, Tag

_ID = re.compile(r"[\x21-\x7e]{1,200}")
_PRINTABLE = re.compile(r"[^/\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,64}")
_OBJECT = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,200}")
_CURRENCY = re.compile(r"[A-Za-z]{3}", re.ASCII)
_MILLISECONDS = Decimal(10) ** 11  # seconds since 1970 are fewer until the year 5138
_MOST_FIELDS = 1000
_SUPPRESSED = {"spamreport": "spam", "unsubscribe": "unsubscribe", "group_unsubscribe": "unsubscribe"}
_DROPPED = {
    "bounced address": "bounce", "unsubscribed address": "unsubscribe", "spam reporting address": "spam",
    "invalid": "invalid",
}  # fmt: skip


class BadDelivery(NovaError):
    """What was sent cannot be used, however often it is tried."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """Nothing is to be booked, and why."""

    why: str


def id_of(body: bytes, said: object = None) -> str:
    """The sender's own id where it is one that can be kept, else the hash of what was sent."""
    return said if isinstance(said, str) and _ID.fullmatch(said) else hashlib.sha256(body).hexdigest()


def stripe_event(body: bytes) -> tuple[str, str | None]:
    """The id of an event and its type, such as charge.refunded."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        event = None
    known = event if isinstance(event, dict) else {}
    kind = known.get("type")
    return id_of(body, known.get("id")), kind if isinstance(kind, str) and _ID.fullmatch(kind) else None


def read_json(body: bytes) -> Any:
    """Numbers with decimals as Decimal. Raises BadDelivery."""
    try:
        return json.loads(body.decode(), parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, ArithmeticError, RecursionError):
        raise BadDelivery("the body is not JSON") from None


def read_form(body: bytes) -> dict[str, str]:
    """Raises BadDelivery."""
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"))
    except (ValueError, RecursionError):
        raise BadDelivery("the body is no form") from None


def found(document: Any, path: str) -> Any:
    """What stands at `data.items.0.id`; None where nothing does."""
    for key in path.removeprefix("$.").split("."):
        if isinstance(document, dict):
            document = document.get(key)
        elif isinstance(document, list) and key.isdecimal() and len(key) < 7 and int(key) < len(document):
            document = document[int(key)]
        else:
            return None
    return document


def sale_of(sender: WebhookSender, body: bytes, received_at: datetime, currency: str) -> PlatformEvent | Nothing:
    """The sale or the refund that a declared sender tells of. `currency` is the ledger's. Raises BadDelivery."""
    document = read_json(body)
    kind = _kind(sender, document)
    if isinstance(kind, Nothing):
        return kind
    object = _object(sender, document)
    amount = _amount(sender, document, _currency_of(sender, document, currency))
    if not amount:
        return Nothing("an amount of nothing")
    refund = kind == "refund" or (kind is None and amount.micros < 0)
    if amount.micros < 0 and kind == "revenue":
        raise BadDelivery(f"a sale of {amount} {amount.currency}: an amount below zero is a refund")
    return PlatformEvent(
        source=f"webhook:{sender.name}",
        id=f"{object}:refund" if refund else object,
        kind="refund" if refund else "revenue",
        figure="refunds" if refund else "gross",
        amount=Money(abs(amount.micros), amount.currency),
        at=_at(sender, document, received_at),
        transaction=object,
        object=object,
        objects=(object,),
        tag=_tag(sender, document),
        evidence=_evidence(sender, document),
        subjects=_subjects(sender, document),
    )


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)


def _kind(sender: WebhookSender, document: Any) -> str | Nothing | None:
    """`revenue`, `refund`, or None where the amount's sign says it."""
    if sender.kind_path is None:
        return None
    said = found(document, sender.kind_path)
    if not isinstance(said, str):
        raise BadDelivery(f"no kind stands at {sender.kind_path}")
    if said in sender.sales:
        return "revenue"
    return "refund" if said in sender.refunds else Nothing(f"{_shown(said)} is neither a sale nor a refund")


def _object(sender: WebhookSender, document: Any) -> str:
    said = found(document, sender.id_path)
    if isinstance(said, int) and not isinstance(said, bool):
        said = str(said)
    if not isinstance(said, str) or not said.strip() or not _OBJECT.fullmatch(said):
        raise BadDelivery(f"no id stands at {sender.id_path}")
    return said


def _currency_of(sender: WebhookSender, document: Any, reporting: str) -> str:
    if sender.currency_path is None:
        return sender.currency or reporting
    said = found(document, sender.currency_path)
    if not isinstance(said, str) or not _CURRENCY.fullmatch(said):
        raise BadDelivery(f"no currency stands at {sender.currency_path}: {_shown(said)}")
    return said.upper()


def _amount(sender: WebhookSender, document: Any, currency: str) -> Money:
    said = found(document, sender.amount_path)
    if isinstance(said, bool) or not isinstance(said, int | Decimal | str):
        raise BadDelivery(f"no amount stands at {sender.amount_path}: {_shown(said)}")
    try:
        if sender.minor:
            number = Decimal(said)
            if number != number.to_integral_value() or abs(number) > 10**15:
                raise BadDelivery(f"not an amount in the smallest unit of {currency}: {_shown(said)}")
            return Money.from_minor(int(number), currency)
        amount = Money.of(said, currency)
    except (UsageProblem, ArithmeticError, ValueError):
        raise BadDelivery(f"not an amount of money at {sender.amount_path}: {_shown(said)}") from None
    if amount.currency != currency and sender.currency_path is not None:
        raise BadDelivery(f"an amount in {amount.currency} whose currency is said to be {currency}")
    return amount


def _at(sender: WebhookSender, document: Any, received_at: datetime) -> datetime:
    said = None if sender.at_path is None else found(document, sender.at_path)
    if said is None:
        return received_at
    try:
        at = _instant(said)
    except (UsageProblem, ArithmeticError, ValueError, OSError):
        at = None
    if at is None or not EARLIEST_US <= to_us(at) < LATEST_US:
        raise BadDelivery(f"no time stands at {sender.at_path}: {_shown(said)}")
    return at


def _instant(said: Any) -> datetime | None:
    if isinstance(said, str):
        return parse_time(said)
    if isinstance(said, bool) or not isinstance(said, int | Decimal):
        return None
    seconds = Decimal(said)
    return datetime.fromtimestamp(float(seconds / 1000 if abs(seconds) >= _MILLISECONDS else seconds), UTC)


def _tag(sender: WebhookSender, document: Any) -> Tag | None:
    if sender.worker is not None:
        return Tag(sender.worker, "webhook")
    said = None if sender.worker_path is None else found(document, sender.worker_path)
    return Tag(said, "webhook") if isinstance(said, str) and _PRINTABLE.fullmatch(said) else None


def _evidence(sender: WebhookSender, document: Any) -> dict[str, str]:
    slug = None if sender.link_path is None else found(document, sender.link_path)
    return {"link": slug} if isinstance(slug, str) and _ID.fullmatch(slug) else {}


def _subjects(sender: WebhookSender, document: Any) -> tuple[str, ...]:
    ways = ((sender.email_path, subject_of_email), (sender.click_path, subject_of_click))
    said = ((None if path is None else found(document, path), name) for path, name in ways)
    return tuple(name(one) for one, name in said if isinstance(one, str) and one.strip())


def _shown(said: Any) -> str:
    text = repr(said)
    return text if len(text) <= 60 else f"{text[:60]}…"


@dataclass(frozen=True, slots=True)
class MailEvent:
    """What SendGrid tells of one mail. `worker` and `campaign` are as the sender of the mail tagged it.

    `suppressed` says why nobody is to write to the address any more.
    """

    id: str
    kind: str
    at: datetime
    address: str
    worker: str | None
    campaign: str | None
    suppressed: str | None = None


def mail_events(body: bytes) -> list[MailEvent]:
    """What is no event among them is passed over. Raises BadDelivery where there is none at all."""
    document = read_json(body)
    if not isinstance(document, list):
        raise BadDelivery("the body is no list of events")
    read = [_mail_event(one) for one in document if isinstance(one, dict)]
    events = [one for one in read if one is not None]
    if document and not events:
        raise BadDelivery("nothing in the body is an event of a mail")
    return events


def _mail_event(said: Mapping[str, Any]) -> MailEvent | None:
    kind, address, id = said.get("event"), said.get("email"), said.get("sg_event_id")
    if not (isinstance(kind, str) and isinstance(address, str) and isinstance(id, str) and _ID.fullmatch(id)):
        return None
    try:
        at = _instant(said.get("timestamp"))
    except (UsageProblem, ArithmeticError, ValueError, OSError):
        return None
    if at is None or not EARLIEST_US <= to_us(at) < LATEST_US or not _ID.fullmatch(kind):
        return None
    worker, campaign = (_named(said, name) for name in ("nova_worker", "nova_campaign"))
    return MailEvent(id, kind, at, address, worker, campaign, _suppressed(kind, said))


def _suppressed(kind: str, said: Mapping[str, Any]) -> str | None:
    """A mail that was blocked may arrive another time, and so may one that was dropped for what it was."""
    if kind == "bounce":
        return "bounce" if said.get("type") != "blocked" else None
    if kind == "dropped":
        return _DROPPED.get(str(said.get("reason", "")).strip().lower())
    return _SUPPRESSED.get(kind)


def _named(said: Mapping[str, Any], name: str) -> str | None:
    value = said.get(name)
    return value if isinstance(value, str) and _PRINTABLE.fullmatch(value) else None
