"""The addresses that workers give out instead of their own, so that who follows them is counted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nova.link_tokens import PARAMETER, WAY_OUT, link_key, token_of

if TYPE_CHECKING:
    from nova.ledger.ledger import Ledger


class TrackedLinks:
    """`public_url` is where `nova serve` is reached from outside."""

    def __init__(self, ledger: Ledger, public_url: str, home: Path) -> None:
        self._ledger = ledger
        self._public_url = public_url
        self._home = home
        self._key: bytes | None = None

    def address(
        self,
        worker: str,
        url: str,
        campaign: str | None,
        channel: str | None,
        content: str | None,
        subject: str | None = None,
    ) -> str:
        """The same arguments, the same address. Raises UsageProblem for what nobody should be led to."""
        link = self._ledger.links.make(worker, url, channel=channel, campaign=campaign, content=content)
        made = f"{self._public_url}/l/{link.slug}"
        if subject is None:
            return made
        token = self._token(link.slug, subject)
        return made if token is None else f"{made}?{PARAMETER}={token}"

    def way_out(self, subject: str) -> str:
        """Takes its reader off every list, by a POST."""
        return f"{self._public_url}/u/{self._token(WAY_OUT, subject)}"

    def _token(self, slug: str, subject: str) -> str | None:
        if self._key is None:
            self._key = link_key(self._home)
        return token_of(self._key, slug, subject)
