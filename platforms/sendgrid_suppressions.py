"""Whom SendGrid itself does not deliver to: unsubscribed, bounced, complained, invalid, or out of a group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from platforms.reading import readable

if TYPE_CHECKING:
    from platforms.sendgrid_api import Api

# By reason: the list of it.
LISTS = {
    "unsubscribe": "unsubscribes",
    "bounce": "bounces",
    "spam": "spam_reports",
    "invalid": "invalid_emails",
}
_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Suppression:
    email: str
    reason: str
    at: datetime
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """An unsubscribe group: whoever leaves it still gets what is sent to others."""

    id: int
    name: str
    description: str
    unsubscribed: int


class Suppressions:
    def __init__(self, api: Api) -> None:
        self._api = api

    def all(self, since: datetime | None = None, reasons: Sequence[str] = tuple(LISTS)) -> Iterator[Suppression]:
        """Those that were added since then, list by list."""
        query = {} if since is None else {"start_time": int(since.timestamp())}
        for reason in reasons:
            for page in self._api.offset_pages("suppressions", "suppression", LISTS[reason], query=query):
                yield from (_suppression(row, reason) for row in page)

    def of(self, email: str) -> str | None:
        """Why SendGrid would not deliver to the address; None: it would."""
        found = self._api.ask("suppressions", "get", "asm", "suppressions", "global", email)
        if isinstance(found, dict) and found.get("recipient_email"):
            return "unsubscribe"
        for reason in ("bounce", "spam", "invalid"):
            if self._api.ask("suppressions", "get", "suppression", LISTS[reason], email):
                return reason
        return None

    def in_group(self, group: int, emails: Sequence[str]) -> set[str]:
        """Those of them that have left the group, in small letters."""
        left = set[str]()
        for first in range(0, len(emails), _AT_ONCE):
            body = {"recipient_emails": list(emails[first : first + _AT_ONCE])}
            path = ("asm", "groups", str(group), "suppressions", "search")
            left |= {email.lower() for email in self._api.ask("suppressions", "post", *path, body=body) or ()}
        return left

    def groups(self) -> tuple[Group, ...]:
        rows = self._api.ask("suppressions", "get", "asm", "groups") or []
        return tuple(_group(row) for row in rows)

    def add(self, emails: Sequence[str], group: int | None = None) -> None:
        """Nothing is sent to them any more, or nothing of the group. What is there already stays."""
        path = ("asm", "suppressions", "global") if group is None else ("asm", "groups", str(group), "suppressions")
        for first in range(0, len(emails), _AT_ONCE):
            self._api.ask("suppress", "post", *path, body={"recipient_emails": list(emails[first : first + _AT_ONCE])})

    def remove(self, email: str, group: int | None = None) -> None:
        """They wish to be written to again."""
        path = ("asm", "suppressions", "global") if group is None else ("asm", "groups", str(group), "suppressions")
        self._api.ask("unsuppress", "delete", *path, email)


@readable("sendgrid")
def _group(row: dict[str, Any]) -> Group:
    return Group(row["id"], row["name"], row.get("description") or "", int(row.get("unsubscribes") or 0))


@readable("sendgrid")
def _suppression(row: dict[str, Any], reason: str) -> Suppression:
    return Suppression(row["email"], reason, datetime.fromtimestamp(row["created"], UTC), row.get("reason"))
