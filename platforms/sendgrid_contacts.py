"""SendGrid's contacts and lists. Changes are jobs there: they are done a while after they were taken."""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platforms.base import BadAnswer, Missing, PlatformFailed, Unreachable, problem_of
from platforms.reading import readable
from platforms.sendgrid_api import MARKETING

if TYPE_CHECKING:
    from platforms.sendgrid_api import Api

_AT_ONCE = 5_000  # SendGrid takes 30,000, but at most 6 MB
_LOOKED_UP = 50
_DELETED = 100
_MOST_BYTES = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Contact:
    email: str
    first_name: str | None = None
    last_name: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)  # custom ones
    id: str | None = None
    lists: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ContactList:
    id: str
    name: str
    contacts: int


@dataclass(frozen=True, slots=True)
class Export:
    """`state` is pending, ready or failure; `urls` are where a ready one is fetched, for some days."""

    id: str
    state: str
    urls: tuple[str, ...] = ()
    note: str | None = None


class Contacts:
    def __init__(self, api: Api) -> None:
        self._api = api

    def upsert(self, contacts: Sequence[Contact], lists: Sequence[str] = ()) -> tuple[str, ...]:
        """Adds or changes them, by address. Returns the ids of the jobs that do it."""
        jobs = []
        for first in range(0, len(contacts), _AT_ONCE):
            body: dict[str, Any] = {"contacts": [_row(one) for one in contacts[first : first + _AT_ONCE]]}
            if lists:
                body["list_ids"] = list(lists)
            jobs.append(_told(self._ask("contacts", "put", "contacts", body=body), "job_id"))
        return tuple(jobs)

    def job(self, id: str) -> str:
        """The state of a job: pending, completed, errored or failed."""
        return _told(self._ask("contacts", "get", "contacts", "imports", id), "status")

    def find(self, emails: Sequence[str]) -> dict[str, Contact]:
        """Those that there are, by address."""
        found: dict[str, Contact] = {}
        for first in range(0, len(emails), _LOOKED_UP):
            asked = [email.lower() for email in emails[first : first + _LOOKED_UP]]
            with suppress(Missing):  # none of them
                found |= _by_email(
                    self._ask("contacts", "post", "contacts", "search", "emails", body={"emails": asked})
                )
        return found

    def search(self, query: str) -> tuple[Contact, ...]:
        """By SendGrid's query language: `email LIKE 'ann%'`. At most the first 50."""
        answer = self._ask("contacts", "post", "contacts", "search", body={"query": query})
        return _contacts(answer)

    def count(self) -> int:
        return _counted(self._ask("contacts", "get", "contacts", "count"))

    def delete(self, ids: Sequence[str]) -> tuple[str, ...]:
        """From everywhere. Returns the ids of the jobs that do it."""
        return tuple(
            _told(self._ask("contacts", "delete", "contacts", query={"ids": ",".join(some)}), "job_id")
            for some in _some(ids)
        )

    def lists(self) -> tuple[ContactList, ...]:
        pages = self._api.token_pages("lists", "marketing", "lists", query={"page_size": 100}, part=MARKETING)
        return tuple(_list(row) for page in pages for row in page)

    def find_list(self, name: str) -> ContactList:
        """By id or name. Raises Missing."""
        for one in self.lists():
            if name in (one.id, one.name):
                return one
        raise Missing(f"sendgrid has no list {name!r}", hint="nova platforms sendgrid lists shows them")

    def create_list(self, name: str) -> ContactList:
        """The one of this name, which is made where there is none."""
        with suppress(Missing):
            return self.find_list(name)
        return _list(self._ask("lists", "post", "lists", body={"name": name}, repeatable=False))

    def delete_list(self, id: str, *, with_contacts: bool = False) -> None:
        query = {"delete_contacts": "true"} if with_contacts else None
        self._ask("lists", "delete", "lists", id, query=query)

    def remove(self, list_id: str, ids: Sequence[str]) -> None:
        """From the list; they stay contacts."""
        for some in _some(ids):
            self._ask("lists", "delete", "lists", list_id, "contacts", query={"contact_ids": ",".join(some)})

    def export(self, list_id: str) -> str:
        """Asks for a file of everybody on the list, and returns the id to look for it by; it takes minutes."""
        body = {"list_ids": [list_id], "file_type": "json"}
        return _told(self._ask("exports", "post", "contacts", "exports", body=body), "id")

    def exported(self, id: str) -> Export:
        return _export(self._ask("exports", "get", "contacts", "exports", id), id)

    def download(self, export: Export, path: Path, *, total_s: float = 600.0) -> int:
        """Writes a ready export as one JSON object a line, and returns how many. The file changes as a whole or not."""
        if export.state != "ready":
            raise PlatformFailed(f"the export {export.id} is {export.state}")
        partial = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            with partial.open("wb") as file:
                os.chmod(file.fileno(), 0o600)  # noqa: PTH101 - of an open file
                count = sum(self._fetch(url, file, total_s) for url in export.urls)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return count

    def _fetch(self, url: str, file: Any, total_s: float) -> int:
        def fetch() -> bytes:
            import httpx

            until, parts = time.monotonic() + total_s, bytearray()
            try:
                with httpx.stream("GET", url, timeout=30.0) as answer:  # the address itself is the permission: no key
                    if answer.status_code >= 300:
                        raise problem_of("sendgrid", answer.status_code)
                    for part in answer.iter_bytes():
                        parts += part
                        if time.monotonic() > until or len(parts) > _MOST_BYTES:
                            raise Unreachable("sendgrid's export takes too long or is too large")
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise Unreachable(f"sendgrid's export cannot be fetched: {type(error).__name__}") from None
            return bytes(parts)

        count = 0
        for row in _rows_of(self._api.line.call("exports", fetch, part=MARKETING)):
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            count += 1
        return count

    def _ask(self, what: str, method: str, *path: str, **options: Any) -> Any:
        return self._api.ask(what, method, "marketing", *path, part=MARKETING, **options)


def _rows_of(content: bytes) -> Iterator[dict[str, Any]]:
    try:
        plain = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        for line in plain.splitlines():
            if line.strip():
                yield _flat(json.loads(line))
    except (ValueError, OSError, EOFError, AttributeError, LookupError, TypeError, RecursionError) as error:
        raise BadAnswer(f"sendgrid's export cannot be read: {type(error).__name__}") from None


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    known = {"email": row["email"], "first_name": row.get("first_name"), "last_name": row.get("last_name")}
    return {**(row.get("custom_fields") or {}), **{name: value for name, value in known.items() if value}}


def _some(ids: Iterable[str]) -> Iterator[list[str]]:
    every = list(ids)
    for first in range(0, len(every), _DELETED):
        yield every[first : first + _DELETED]


def _row(contact: Contact) -> dict[str, Any]:
    row = {"email": contact.email, "first_name": contact.first_name, "last_name": contact.last_name}
    plain = {name: value for name, value in row.items() if value}
    return {**plain, "custom_fields": dict(contact.fields)} if contact.fields else plain


@readable("sendgrid")
def _told(said: Any, name: str) -> str:
    return str(said[name])


@readable("sendgrid")
def _counted(said: Any) -> int:
    return int(said["contact_count"])


@readable("sendgrid")
def _by_email(said: Any) -> dict[str, Contact]:
    return {email: _contact(row["contact"]) for email, row in said["result"].items() if "contact" in row}


@readable("sendgrid")
def _contacts(said: Any) -> tuple[Contact, ...]:
    return tuple(_contact(row) for row in said.get("result") or ())


@readable("sendgrid")
def _export(said: Any, id: str) -> Export:
    return Export(id, said["status"], tuple(said.get("urls") or ()), said.get("message"))


@readable("sendgrid")
def _contact(row: dict[str, Any]) -> Contact:
    return Contact(
        row["email"],
        row.get("first_name") or None,
        row.get("last_name") or None,
        row.get("custom_fields") or {},
        row.get("id"),
        tuple(row.get("list_ids") or ()),
    )


@readable("sendgrid")
def _list(row: dict[str, Any]) -> ContactList:
    return ContactList(row["id"], row["name"], int(row.get("contact_count") or 0))
