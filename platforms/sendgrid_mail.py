"""Mails as values, and the bodies of the requests that send them. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nova.errors import UsageProblem
from platforms.base import PlatformFailed

MOST_RECIPIENTS = 1_000  # of one request
MOST_SUBSTITUTED = 10_000  # bytes of substitutions for one recipient
_MOST_BYTES = 20_000_000  # SendGrid takes 30 MB
_MOST_CATEGORIES = 10
_LONGEST_CATEGORY = 255


@dataclass(frozen=True, slots=True)
class Address:
    email: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    name: str
    content: bytes
    type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Recipient:
    """One person and what is theirs alone: `data` for a template of SendGrid's, `substitutions` for the text and HTML
    that all get, `args` and `headers` beside the mail's own, and the address that takes them off the list.
    """

    email: str
    name: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    substitutions: Mapping[str, str] = field(default_factory=dict)
    args: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    unsubscribe_url: str | None = None


@dataclass(frozen=True, slots=True)
class Mail:
    """What is sent: text, HTML, or a dynamic template by its id. `group` is one of SendGrid's unsubscribe groups.

    `unsubscribe_url` must take a POST without asking anything (RFC 8058); `unsubscribe_mailto` is an address.
    `args` come back with every event of the mail. In the `sandbox` SendGrid checks it and sends nothing.
    """

    subject: str = ""
    text: str | None = None
    html: str | None = None
    template: str | None = None
    sender: Address | None = None
    reply_to: Address | None = None
    categories: Sequence[str] = ()
    args: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    unsubscribe_url: str | None = None
    unsubscribe_mailto: str | None = None
    group: int | None = None
    attachments: Sequence[Attachment] = ()
    send_at: datetime | None = None
    sandbox: bool = False
    track_clicks: bool | None = None
    track_opens: bool | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """Who was not written to, and why: unsubscribe, bounce, spam, invalid, group, manual, refused."""

    email: str
    reason: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What SendGrid took. `message_id` is None in the sandbox, where nobody was left to write to, and where only a
    person said that it was sent. `again`: it was sent before, and this is what was remembered of it.
    """

    message_id: str | None
    accepted: int
    skipped: tuple[Skipped, ...] = ()
    again: bool = False


@dataclass(frozen=True, slots=True)
class BulkSent:
    """By batch, in order; None for one that failed."""

    batches: tuple[Sent | None, ...]

    @property
    def accepted(self) -> int:
        return sum(batch.accepted for batch in self.batches if batch)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        return tuple(one for batch in self.batches if batch for one in batch.skipped)


class PartlySent(PlatformFailed):
    """Some batches of a mail were not sent; the others were, and are not sent again."""

    def __init__(self, message: str, sent: BulkSent, problems: Mapping[int, Exception]) -> None:
        super().__init__(message, hint="send it again in the same run: what was taken is not repeated")
        self.sent = sent
        self.problems = dict(problems)


def checked_email(address: str) -> str:
    """The address as it is to be written. UsageProblem for what is none; nothing is looked up."""
    from email_validator import EmailNotValidError, validate_email

    try:
        return validate_email(
            address.strip(), check_deliverability=False, test_environment=True, allow_smtputf8=False
        ).normalized
    except EmailNotValidError as problem:
        raise UsageProblem(f"{address[:100]!r} is no email address: {problem}") from None


def checked(mail: Mail, recipients: Sequence[Recipient], sender: Address | None) -> Mail:
    """The mail with its sender. Raises UsageProblem for what SendGrid would refuse."""
    whole = mail if mail.sender is not None else _with_sender(mail, sender)
    if mail.template is None and not (mail.subject and (mail.text or mail.html)):
        raise UsageProblem("a mail needs a subject and a text or HTML", hint="or the id of a template")
    if "\n" in mail.subject or "\r" in mail.subject:
        raise UsageProblem("the subject of a mail is one line")
    if len(mail.categories) > _MOST_CATEGORIES or any(len(one) > _LONGEST_CATEGORY for one in mail.categories):
        raise UsageProblem(f"a mail has at most {_MOST_CATEGORIES} categories of {_LONGEST_CATEGORY} characters")
    for url in (mail.unsubscribe_url, *(one.unsubscribe_url for one in recipients)):
        if url is not None and not url.startswith(("https://", "http://")):
            raise UsageProblem("what takes somebody off the list is an address that begins with https://")
    for one in recipients:
        size = sum(len(f"{name}{value}".encode()) for name, value in one.substitutions.items())
        if size > MOST_SUBSTITUTED:
            raise UsageProblem(f"the substitutions of one recipient have {size} bytes; {MOST_SUBSTITUTED} are allowed")
    return whole


def _with_sender(mail: Mail, sender: Address | None) -> Mail:
    from dataclasses import replace

    if sender is None:
        raise UsageProblem("nobody is named as the sender", hint="set SENDGRID_FROM_EMAIL to an address of yours")
    return replace(mail, sender=sender)


def batches(recipients: Sequence[Recipient]) -> Iterator[Sequence[Recipient]]:
    for first in range(0, len(recipients), MOST_RECIPIENTS):
        yield recipients[first : first + MOST_RECIPIENTS]


def fingerprint(mail: Mail, recipients: Sequence[Recipient]) -> str:
    """The same for the same mail to the same people, whatever it says of the run that sends it."""
    said = body(mail, recipients)
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def body(mail: Mail, recipients: Sequence[Recipient]) -> dict[str, Any]:
    """Of one request. Each recipient is alone in a personalization, in order, and sees no other one."""
    assert mail.sender is not None
    said: dict[str, Any] = {
        "personalizations": [_personalization(mail, one) for one in recipients],
        "from": _address(mail.sender),
    }
    if mail.subject:
        said["subject"] = mail.subject
    content = [("text/plain", mail.text), ("text/html", mail.html)]
    if any(value for _, value in content):
        said["content"] = [{"type": kind, "value": value} for kind, value in content if value]
    if mail.template is not None:
        said["template_id"] = mail.template
    if mail.reply_to is not None:
        said["reply_to"] = _address(mail.reply_to)
    if mail.categories:
        said["categories"] = list(dict.fromkeys(mail.categories))
    if mail.headers:
        said["headers"] = dict(mail.headers)
    if mail.group is not None:
        said["asm"] = {"group_id": mail.group}
    if mail.attachments:
        said["attachments"] = [_attachment(one) for one in mail.attachments]
    if mail.send_at is not None:
        said["send_at"] = int(mail.send_at.timestamp())
    if mail.sandbox:
        said["mail_settings"] = {"sandbox_mode": {"enable": True}}
    tracking = {"click_tracking": mail.track_clicks, "open_tracking": mail.track_opens}
    if any(value is not None for value in tracking.values()):
        said["tracking_settings"] = {name: {"enable": on} for name, on in tracking.items() if on is not None}
    return said


def check_size(said: Mapping[str, Any]) -> None:
    size = len(json.dumps(said).encode())
    if size > _MOST_BYTES:
        raise UsageProblem(f"the mail has {size} bytes; at most {_MOST_BYTES} are sent at once")


def _personalization(mail: Mail, one: Recipient) -> dict[str, Any]:
    said: dict[str, Any] = {"to": [_address(Address(one.email, one.name))]}
    args = {**mail.args, **one.args}
    if args:
        said["custom_args"] = {name: str(value) for name, value in args.items()}
    headers = {
        **unsubscribe_headers(one.unsubscribe_url or mail.unsubscribe_url, mail.unsubscribe_mailto),
        **one.headers,
    }
    if headers:
        said["headers"] = headers
    if one.substitutions:
        said["substitutions"] = dict(one.substitutions)
    if mail.template is not None and one.data:
        said["dynamic_template_data"] = dict(one.data)
    return said


def unsubscribe_headers(url: str | None, mailto: str | None = None) -> dict[str, str]:
    """RFC 2369, and RFC 8058 where there is an address that takes a POST."""
    ways = [f"<{way}>" for way in (url, f"mailto:{mailto}" if mailto else None) if way]
    if not ways:
        return {}
    one_click = {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"} if url and url.startswith("https://") else {}
    return {"List-Unsubscribe": ", ".join(ways), **one_click}


def _address(address: Address) -> dict[str, str]:
    return {"email": address.email, **({"name": address.name} if address.name else {})}


def _attachment(one: Attachment) -> dict[str, str]:
    return {
        "content": base64.b64encode(one.content).decode(), "filename": one.name, "type": one.type,
        "disposition": "attachment",
    }  # fmt: skip
