"""Leads who follows a tracked link to where it goes, and counts people, not machines."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

from nova.errors import NovaError
from nova.ledger.links import Link, Visit
from nova.link_tokens import PARAMETER, link_key, subject_in

if TYPE_CHECKING:
    from pathlib import Path

    from nova.clock import Clock
    from nova.ledger.links import Links

log = logging.getLogger(__name__)

_MACHINES = re.compile(
    r"bot\b|bot/|crawl|spider|slurp|preview|facebookexternalhit|whatsapp|telegram|skype|embedly|scan|monitor|check"
    r"|headless|phantom|curl|wget|python|java/|okhttp|go-http|httpclient|libwww|axios|node-fetch|ruby|perl|proxy",
    re.IGNORECASE,
)
_FETCHED_AHEAD = ("sec-purpose", "purpose", "x-purpose", "x-moz")


class Redirects:
    def __init__(self, links: Links, clock: Clock, home: Path) -> None:
        self._links = links
        self._clock = clock
        self._key = link_key(home)

    async def target(self, slug: str, query: Mapping[str, str], headers: Mapping[str, str], method: str) -> str | None:
        """Where the link leads; None where there is none. What is told beside the slug cannot change where."""
        link = self._links.known(slug) or await asyncio.to_thread(self._links.get, slug)
        if link is None:
            return None
        if method == "HEAD" or not is_person(headers):
            return link.target()
        return link.target(self._visited(link, query.get(PARAMETER)))

    def _visited(self, link: Link, token: str | None) -> str:
        person = None if token is None else subject_in(self._key, link.slug, token)
        id = secrets.token_hex(10)
        try:
            self._links.visited(Visit(id, link, self._clock.now(), person))
        except NovaError as problem:  # who follows a link is led on, whether it can be written down or not
            log.error("click_not_kept", extra={"action": "click_not_kept", "error": problem.message})
        return id


def is_person(headers: Mapping[str, str]) -> bool:
    """A program that names itself, or a browser that only fetches ahead, is none."""
    agent = headers.get("user-agent", "")
    ahead = any(re.search("prefetch|preview", headers.get(name, ""), re.IGNORECASE) for name in _FETCHED_AHEAD)
    return bool(agent) and not ahead and _MACHINES.search(agent) is None
