"""Requests to SendGrid: what every part of its client goes through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

from nova.errors import NovaError
from nova.money import Money
from platforms.base import BadAnswer, InvalidRequest
from platforms.hands import Hands
from platforms.line import Line, Patience

if TYPE_CHECKING:
    from platforms.sendgrid_wire import Wire

NAME = "sendgrid"
KEY, BASE = "SENDGRID_API_KEY", "SENDGRID_API_BASE"
DEFAULT_BASE = "https://api.sendgrid.com"
MARKETING = "marketing"  # limited apart from mails
_PAGE = 500


class WrongRecipients(InvalidRequest):
    """SendGrid finds some recipients wrong, and took none. `places` are theirs in the request."""

    def __init__(self, message: str, places: Sequence[int] = (), *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.places = tuple(places)


class Api:
    """One account. Answers are JSON; every error is a NovaError."""

    def __init__(
        self,
        key: str,
        base: str | None,
        hands: Hands | None,
        patience: Patience | None,
        limits_s: tuple[float, float],
        prices: Mapping[str, Money],
    ) -> None:
        self._key = key
        self.base = (base or DEFAULT_BASE).rstrip("/")
        self._limits_s = limits_s
        self.line = Line(NAME, self._problem, hands, patience, prices=prices)

    @cached_property
    def client(self) -> Wire:
        """The SDK's client, for what is not wrapped here."""
        from platforms.sendgrid_wire import wire_to

        return wire_to(self._key, self.base, timeout_s=self._limits_s[0], total_s=self._limits_s[1])

    def ask(
        self,
        what: str,
        method: str,
        *path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        part: str = "",
        repeatable: bool = True,
    ) -> Any:
        """Names in the path need no quoting. None where there was no content."""
        from platforms.sendgrid_wire import json_of

        def request() -> Any:
            return json_of(self.answer(method, path, query, body))

        return self.line.call(what, request, part=part, repeatable=repeatable)

    def answer(self, method: str, path: Sequence[str], query: Mapping[str, Any] | None, body: Any) -> Any:
        """As the SDK has it. Raises what the SDK raises."""
        client = self.client
        for name in path:
            client = client._(quote(name, safe=""))
        options = {"query_params": dict(query)} if query else {}
        return getattr(client, method)(request_body=body, **options)

    def offset_pages(self, what: str, *path: str, query: Mapping[str, Any]) -> Iterator[list[Any]]:
        """Of a list that is read from an offset on; where the offset is not heeded, of all of it at once."""
        offset, before = 0, None
        while True:
            page = self.ask(what, "get", *path, query={**query, "limit": _PAGE, "offset": offset})
            rows = page if isinstance(page, list) else []
            if rows == before:
                return
            yield rows
            if len(rows) != _PAGE:
                return
            offset, before = offset + len(rows), rows

    def token_pages(self, what: str, *path: str, query: Mapping[str, Any], part: str = "") -> Iterator[list[Any]]:
        """Of a list whose every page names the next one."""
        token: str | None = None
        seen = set[str]()
        while True:
            more = {"page_token": token} if token else {}
            page = self.ask(what, "get", *path, query={**query, **more}, part=part)
            if not isinstance(page, dict):
                raise BadAnswer(f"sendgrid answered {what} with what is no page")
            yield page.get("result") or []
            after = (page.get("_metadata") or {}).get("next") or ""
            token = next(iter(parse_qs(urlsplit(after).query).get("page_token", [])), None)
            if not token or token in seen:
                return
            seen.add(token)

    def _problem(self, error: Exception) -> NovaError | None:
        if isinstance(error, NovaError):
            return error
        from platforms.sendgrid_wire import problem_in

        return problem_in(self.base, error, self._key)
