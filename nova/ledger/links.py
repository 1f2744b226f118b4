"""Tracked links: addresses that lead to another one and count who goes there. The same link is one row."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from sqlalchemy import Connection, Row, func, insert, select

from nova.clock import from_us, to_us
from nova.errors import LedgerConflict, UsageProblem
from nova.ledger import subjects, touches
from nova.ledger.facts import check_name
from nova.ledger.schema_revenue import links
from nova.ledger.schema_revenue import touches as met
from nova.ledger.touches import Touch
from nova.people import CLICK, subject_of_click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nova.ledger.store import Store

LINK = "nova_link"  # what the address that it leads to is told: by which link
LONGEST_URL = 2000
_SLUG_CHARS = 12
_SLUG = re.compile(r"[a-z2-7]{12}")
_WORD = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,100}")
_MOST_KNOWN = 5_000


@dataclass(frozen=True, slots=True)
class Link:
    slug: str
    worker: str
    url: str
    channel: str | None
    campaign: str | None
    content: str | None
    at: datetime

    def target(self, click: str | None = None) -> str:
        """Where it leads: with its campaign's tags where the address has none, its slug, and the id of the click.

        What another link or click left in an address that was copied gives way: the payment is this one's.
        """
        parts = urlsplit(self.url)
        query = "&".join(one for one in parts.query.split("&") if one.partition("=")[0] not in (LINK, CLICK))
        there = {name for name, _ in parse_qsl(query, keep_blank_values=True)}
        tags = {
            "utm_source": "nova", "utm_medium": self.channel, "utm_campaign": self.campaign,
            "utm_content": self.content, LINK: self.slug, CLICK: click,
        }  # fmt: skip
        added = urlencode([(name, value) for name, value in tags.items() if value and name not in there])
        return urlunsplit(parts._replace(query="&".join(part for part in (query, added) if part)))


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody went there. `person` is whom the link was made for, where it says so."""

    id: str
    link: Link
    at: datetime
    person: str | None = None


@dataclass(frozen=True, slots=True)
class Visited:
    link: Link
    clicks: int
    last_at: datetime | None


def checked_url(url: str) -> str:
    """As it is sent: in ASCII. Raises UsageProblem for what a browser should not be led to."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
        ascii_host = host if host.isascii() else host.encode("idna").decode()
    except (ValueError, UnicodeError, AttributeError):
        raise _not_a_link(url) from None
    strange = parts.scheme.lower() not in ("http", "https") or not ascii_host or "@" in parts.netloc
    if strange or re.search(r"[\x00-\x20\x7f\\<>\"\ud800-\udfff]", url.strip()) or len(url) > LONGEST_URL:
        raise _not_a_link(url)
    named = f"[{ascii_host}]" if ":" in ascii_host else ascii_host
    rest = (quote(part, safe="/%:@!$&'()*+,;=~?-._[]") for part in (parts.path, parts.query, parts.fragment))
    made = urlunsplit((parts.scheme.lower(), named if port is None else f"{named}:{port}", *rest))
    if len(made) > LONGEST_URL:
        raise _not_a_link(url)
    return made


def _not_a_link(url: str) -> UsageProblem:
    return UsageProblem(
        f"not an address to lead to: {str(url)[:100]!r}",
        hint=f"it begins with http:// or https://, names no user, and has at most {LONGEST_URL} characters",
    )


def visit(conn: Connection, now_us: int, visits: Sequence[Visit]) -> None:
    """Each is a touch of whom the link was made for, else of the click itself; a payment may name the click later."""
    touches.add(conn, [_touch(one) for one in visits])
    known = [(subject_of_click(one.id), one.person) for one in visits if one.person is not None]
    if known:
        subjects.same(conn, now_us, known)


def _touch(one: Visit) -> Touch:
    link = one.link
    subject = one.person or subject_of_click(one.id)
    return Touch(f"click:{one.id}", subject, link.worker, "click", one.at, link.channel, link.campaign, link.slug)


class Links:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Link] = {}

    def make(
        self,
        worker: str,
        url: str,
        *,
        channel: str | None = None,
        campaign: str | None = None,
        content: str | None = None,
    ) -> Link:
        """The same again is the same link. Durable on return. Raises UsageProblem."""
        check_name("worker", worker)
        for word in (channel, campaign, content):
            if word is not None and not (isinstance(word, str) and _WORD.fullmatch(word)):
                raise UsageProblem(f"not a word for a link: {word!r}"[:200], hint="at most 100 characters, in one line")
        target = checked_url(url)
        slug = _slug(worker, target, channel, campaign, content)
        known = self.get(slug)
        if known is None:
            known = Link(slug, worker, target, channel, campaign, content, self._store.clock.now())
            self._store.apply(lambda conn: _put(conn, known))
            self._remember(known)
        if (known.worker, known.url) != (worker, target):
            raise LedgerConflict(f"the link {slug} is another one already")
        return known

    def get(self, slug: str) -> Link | None:
        if slug not in self._known and _SLUG.fullmatch(slug):
            with self._store.read() as conn:
                row = conn.execute(select(links).where(links.c.slug == slug)).first()
            if row is not None:
                self._remember(_link(row))
        return self._known.get(slug)

    def known(self, slug: str) -> Link | None:
        """Without asking the ledger."""
        return self._known.get(slug)

    def visited(self, one: Visit) -> None:
        """Written within a moment, together with others."""
        self._store.collect(self._visit, one)

    def all(self, worker: str | None = None) -> list[Visited]:
        """Those with the most clicks first."""
        clicks = select(met.c.link, func.count().label("clicks"), func.max(met.c.at_us).label("last_us"))
        counted = clicks.where(met.c.link.is_not(None)).group_by(met.c.link).subquery()
        query = select(links, counted.c.clicks, counted.c.last_us).outerjoin(counted, counted.c.link == links.c.slug)
        if worker is not None:
            query = query.where(links.c.worker == worker)
        with self._store.read() as conn:
            rows = conn.execute(query)
            found = [
                Visited(_link(row), row.clicks or 0, None if row.last_us is None else from_us(row.last_us))
                for row in rows
            ]
        return sorted(found, key=lambda one: (-one.clicks, one.link.worker, one.link.slug))

    def _visit(self, conn: Connection, visits: Sequence[Visit]) -> None:
        visit(conn, self._store.now_us(), visits)

    def _remember(self, link: Link) -> None:
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[link.slug] = link


def _slug(*said: str | None) -> str:
    digest = hashlib.sha256(json.dumps(said).encode()).digest()
    return base64.b32encode(digest).decode().lower()[:_SLUG_CHARS]


def _put(conn: Connection, link: Link) -> None:
    values = {
        "slug": link.slug, "worker": link.worker, "url": link.url, "channel": link.channel,
        "campaign": link.campaign, "content": link.content, "at_us": to_us(link.at),
    }  # fmt: skip
    conn.execute(insert(links).prefix_with("OR IGNORE"), values)


def _link(row: Row[Any]) -> Link:
    return Link(row.slug, row.worker, row.url, row.channel, row.campaign, row.content, from_us(row.at_us))
