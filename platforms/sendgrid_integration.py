"""SendGrid through its own SDK: mail to one or to many, each at most once; contacts, lists, figures, suppressions.

SendGrid knows no idempotency keys, and nothing cheap tells afterwards whether it took a mail: its message search is
sold apart, and late by minutes. So a mail is recorded before it is sent (`hands.once`), and where an attempt ended in
its middle it is in doubt and stays so, for a person to decide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Any

from nova.errors import UsageProblem
from nova.money import Money
from nova.people import subject_of_email
from platforms.base import BadAnswer, Declined, PlatformFailed, Unreachable
from platforms.hands import Hands
from platforms.line import Patience
from platforms.reading import readable
from platforms.sendgrid_api import NAME, Api, WrongRecipients
from platforms.sendgrid_contacts import Contacts
from platforms.sendgrid_mail import (
    MOST_RECIPIENTS,
    Address,
    BulkSent,
    Mail,
    PartlySent,
    Recipient,
    Sent,
    Skipped,
    batches,
    body,
    check_size,
    checked,
    checked_email,
    fingerprint,
)
from platforms.sendgrid_suppressions import Suppressions

__all__ = ["Address", "BulkSent", "Mail", "PartlySent", "Recipient", "SendGrid", "Sent", "Skipped"]

_LOOKED_UP = 10  # recipients that SendGrid is asked about one by one
_WRONG_AT_MOST = 20  # times that wrong recipients are left out of one batch
_METRICS = (
    "requests", "delivered", "opens", "unique_opens", "clicks", "unique_clicks", "bounces", "spam_reports",
    "unsubscribes", "blocks", "invalid_emails",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Day:
    """What became of the mails of a day, week or month. `name` is that of a category."""

    date: date
    figures: Mapping[str, int]
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Template:
    id: str
    name: str
    generation: str
    subject: str | None


class SendGrid:
    """One account. Every error is a NovaError; none of them, and no log, holds the key or a mail."""

    name = NAME

    def __init__(
        self,
        api_key: str,
        api_base: str | None = None,
        *,
        hands: Hands | None = None,
        sender: Address | None = None,
        timeout_s: float = 15.0,
        total_s: float = 60.0,
        patience: Patience | None = None,
        prices: Mapping[str, Money] | None = None,
    ) -> None:
        self.sender = sender
        self.api = Api(api_key, api_base, hands, patience, (timeout_s, total_s), prices or {})
        self._hands = self.api.line.hands

    def check(self) -> str:
        """Reads what the key may do."""
        said = self.api.ask("check", "get", "scopes")
        scopes = said.get("scopes", []) if isinstance(said, dict) else []
        return "answers; the key may send mail" if "mail.send" in scopes else "answers; the key may not send mail"

    def close(self) -> None:
        """Nothing is kept open."""

    @cached_property
    def contacts(self) -> Contacts:
        return Contacts(self.api)

    @cached_property
    def suppressions(self) -> Suppressions:
        return Suppressions(self.api)

    def send(self, mail: Mail, to: str | Recipient | Sequence[Recipient], *, key: str | None = None) -> Sent:
        """One request, at most 1,000 recipients. Declined where the one it is to is suppressed; InDoubt as told above.

        Under a `key` of its own it is sent once for ever, however often and by whichever run of the worker it is asked
        for; without one, once for the run and its repetitions.
        """
        people = [Recipient(to)] if isinstance(to, str) else [to] if isinstance(to, Recipient) else list(to)
        if not 0 < len(people) <= MOST_RECIPIENTS:
            raise UsageProblem(f"one mail goes to 1 to {MOST_RECIPIENTS} recipients", hint="send_bulk takes more")
        people = [replace(one, email=checked_email(one.email)) for one in people]
        sent = self._deliver(checked(mail, people, self.sender), people, key)
        if isinstance(to, str | Recipient) and not sent.accepted:
            raise Declined(
                f"{people[0].email} is not to be written to: {sent.skipped[0].reason}",
                hint="`nova platforms sendgrid suppressions` shows why",
            )
        return sent

    def send_bulk(self, mail: Mail, to: Sequence[Recipient], *, key: str | None = None) -> BulkSent:
        """In batches of 1,000, one person never twice. A batch that fails stops no other, and PartlySent is raised at
        the end; done again, only what failed is sent. What is no address is skipped.
        """
        people, left_out = _usable(to)
        whole = checked(mail, people, self.sender)
        sent: list[Sent | None] = []
        problems: dict[int, Exception] = {}
        for number, batch in enumerate(batches(people)):
            try:
                sent.append(self._deliver(whole, batch, None if key is None else f"{key}/{number}"))
            except (PlatformFailed, Unreachable) as problem:
                problems[number] = problem
                sent.append(None)
        if problems:
            first = next(iter(problems.values()))
            if len(problems) == len(sent) == 1:
                raise first
            raise PartlySent(
                f"{len(problems)} of {len(sent)} batches were not sent: {first}", BulkSent(tuple(sent)), problems
            )
        return BulkSent((*sent, Sent(None, 0, left_out)) if left_out else tuple(sent))

    def stats(
        self, since: date, until: date | None = None, *, by: str = "day", categories: Sequence[str] = ()
    ) -> tuple[Day, ...]:
        """Figures by day, week or month, of all mails or of each category."""
        query: dict[str, Any] = {"start_date": since.isoformat(), "aggregated_by": by}
        if until is not None:
            query["end_date"] = until.isoformat()
        if categories:
            query["categories"] = list(categories)
        rows = self.api.ask("stats", "get", *(["categories"] if categories else []), "stats", query=query)
        if not isinstance(rows, list):
            raise BadAnswer("sendgrid answered stats with what is no list")
        return _days(rows)

    def templates(self) -> tuple[Template, ...]:
        """Dynamic ones, with the subject of the version in use."""
        query = {"generations": "dynamic", "page_size": 200}
        pages = self.api.token_pages("templates", "templates", query=query)
        return tuple(_template(row) for page in pages for row in page)

    def _deliver(self, mail: Mail, people: Sequence[Recipient], key: str | None) -> Sent:
        """The key follows from what was asked for, not from who is left: somebody may unsubscribe between two runs."""
        about = {"subject": mail.subject or mail.template, "recipients": len(people)} if key is None else None
        key = key or self._hands.key("sendgrid mail", fingerprint(mail, people))
        skipped = self._suppressed(mail, people)  # before: where this fails, nothing is in doubt
        now = []

        def take(key: str) -> dict[str, Any]:
            now.append(key)
            return self._take(mail, people, key, skipped)

        done = self._hands.once("sendgrid mail", key, about, take)
        if done is None:  # somebody saw that it was sent
            return Sent(None, len(people), again=True)
        reasons = dict(done["skipped"])
        left_out = ((one.email, reasons.get(_mark(one))) for one in people)
        gone = tuple(Skipped(email, why) for email, why in left_out if why)
        return Sent(done["message"], done["accepted"], gone, again=not now)

    def _take(self, mail: Mail, people: Sequence[Recipient], key: str, skipped: dict[str, str]) -> dict[str, Any]:
        """What is remembered of it: hashes in the place of addresses."""
        labels = self._hands.labels()
        message_id = hashlib.sha256(f"{labels.get('nova_worker', '')} {key}".encode()).hexdigest()[:20]
        marked = [
            replace(one, args={**labels, "nova_message": f"{message_id}.{place}", **one.args})
            for place, one in enumerate(people)
        ]
        left = [one for one in marked if _mark(one) not in skipped]
        message = None
        for _ in range(_WRONG_AT_MOST):
            if not left:
                break
            try:
                message = self._post(mail, left)
                break
            except WrongRecipients as wrong:
                places = {place for place in wrong.places if place < len(left)}
                if not places or len(people) == 1:
                    raise
                skipped |= {_mark(left[place]): "refused" for place in places}
                left = [one for place, one in enumerate(left) if place not in places]
        else:
            raise WrongRecipients("sendgrid goes on finding recipients of this mail wrong")
        return {"message": message, "accepted": len(left), "skipped": sorted(skipped.items())}

    def _post(self, mail: Mail, people: Sequence[Recipient]) -> str | None:
        said = body(mail, people)
        check_size(said)

        def request() -> str | None:
            from platforms.sendgrid_wire import json_of

            answer = self.api.answer("post", ("mail", "send"), None, said)
            json_of(answer)
            found: str | None = answer.headers.get("X-Message-Id")
            if found is None and not mail.sandbox:
                raise BadAnswer("sendgrid answered without the id of a message")
            return found

        return self.api.line.call("mail", request, repeatable=mail.sandbox, units=0 if mail.sandbox else len(people))

    def _suppressed(self, mail: Mail, people: Sequence[Recipient]) -> dict[str, str]:
        """By mark. Beyond a few, SendGrid is not asked about each: it drops what its own lists hold by itself."""
        emails = [one.email for one in people]
        found = {_mark_of(email): why for email, why in self._hands.suppressed(emails).items()}
        left = [email for email in emails if _mark_of(email) not in found]
        if mail.group is not None and left:
            gone = self.suppressions.in_group(mail.group, left)
            found |= {_mark_of(email): "group" for email in left if email.lower() in gone}
        if len(people) <= _LOOKED_UP and not mail.sandbox:
            for email in left:
                why = found.get(_mark_of(email)) or self.suppressions.of(email)
                if why is not None:
                    found[_mark_of(email)] = why
        return found


def _usable(people: Sequence[Recipient]) -> tuple[list[Recipient], tuple[Skipped, ...]]:
    """Each once, with addresses as they are to be written; and who is left out."""
    usable: dict[str, Recipient] = {}
    left_out = []
    for one in people:
        try:
            known = replace(one, email=checked_email(one.email))
        except UsageProblem:
            left_out.append(Skipped(one.email, "invalid"))
            continue
        usable.setdefault(_mark(known), known)
    return list(usable.values()), tuple(left_out)


def _mark(one: Recipient) -> str:
    return _mark_of(one.email)


def _mark_of(email: str) -> str:
    return subject_of_email(email)[-16:]


@readable("sendgrid")
def _days(rows: Any) -> tuple[Day, ...]:
    return tuple(
        Day(date.fromisoformat(row["date"][:10]), _figures(one["metrics"]), one.get("name"))
        for row in rows
        for one in row["stats"]
    )


def _figures(metrics: Mapping[str, Any]) -> dict[str, int]:
    return {name: int(metrics.get(name) or 0) for name in _METRICS}


@readable("sendgrid")
def _template(row: Mapping[str, Any]) -> Template:
    used: Mapping[str, Any] = next((one for one in row.get("versions") or () if one.get("active")), {})
    return Template(row["id"], row["name"], row.get("generation", "dynamic"), used.get("subject"))
