"""Requests to Gumroad over httpx: what is answered as JSON, or a NovaError that says what was wrong.

Gumroad answers many problems with HTTP 200 and `success: false`. The token goes in a header and stays out of all texts.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from nova.errors import NovaError, UsageProblem
from platforms.base import (
    BadAnswer,
    Declined,
    Forbidden,
    InvalidRequest,
    Missing,
    NotConnected,
    Unreachable,
    problem_of,
    shown,
    without,
)

if TYPE_CHECKING:
    import httpx

SOURCE = "gumroad"
KEY = "GUMROAD_ACCESS_TOKEN"
_MOST_BYTES = 32_000_000
_SAID_CHARS = 300
_MISSING = re.compile(r"not found|does not exist", re.IGNORECASE)
_WRONG = re.compile(r"^(invalid|valid |unable to subscribe|you are missing)|is required|is not a supported")

Params = Mapping[str, str]
PRIVATE = ("license_key", "post_url")  # a customer's key, and an address that holds a secret: in no text


class Wire:
    """One account's connection, for several threads. `total_s` bounds the whole of an answer."""

    def __init__(self, token: str, base: str, timeout_s: tuple[float, float], total_s: float) -> None:
        self._token = token
        self._base = base.rstrip("/")
        self._timeout_s = timeout_s
        self._total_s = total_s
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None

    def ask(self, method: str, path: str, params: Params, scope: str) -> dict[str, Any]:
        """`scope` is the right that the token needs for it."""
        sent: dict[str, Any] = {"params" if method == "GET" else "data": dict(params)} if params else {}
        client = self._open()
        until = time.monotonic() + self._total_s
        with client.stream(method, f"{self._base}{path}", **sent) as answer:
            content = bytearray()
            for part in answer.iter_bytes():
                content += part
                if len(content) > _MOST_BYTES:
                    raise BadAnswer("gumroad answered with more than can be read")
                if time.monotonic() > until:
                    raise Unreachable("gumroad took too long to answer", hint="try again later")
            hidden = [self._token, *(params[name] for name in PRIVATE if name in params)]
            return self._read(answer, bytes(content), scope, hidden)

    def translate(self, error: Exception) -> NovaError | None:
        import httpx

        if not isinstance(error, httpx.HTTPError | httpx.InvalidURL):
            return None
        unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        kind = NotConnected if unsent else Unreachable
        return kind(
            f"gumroad cannot be reached at {shown(self._base)}: {type(error).__name__}",
            hint="check the network, and GUMROAD_API_BASE where it is set",
        )

    def close(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _open(self) -> httpx.Client:
        import httpx

        with self._lock:
            if self._client is None:
                connect_s, read_s = self._timeout_s
                self._client = httpx.Client(
                    headers={
                        "Authorization": f"Bearer {self._token}",
                        "Accept": "application/json",
                        "User-Agent": "nova",
                    },
                    timeout=httpx.Timeout(read_s, connect=connect_s),
                    follow_redirects=False,  # the token is for this host alone
                )
            return self._client

    def _read(self, answer: httpx.Response, content: bytes, scope: str, hidden: list[str]) -> dict[str, Any]:
        said = _object(content)
        if answer.status_code >= 400:
            raise _refusal(answer, _words(said or {}, hidden), scope)
        if said is None or not isinstance(said.get("success"), bool) or answer.status_code >= 300:
            raise BadAnswer("gumroad answered with something that is no answer", hint="try again later")
        if not said["success"]:
            raise _said_no(_words(said, hidden))
        return said


def _refusal(answer: httpx.Response, words: str, scope: str) -> NovaError:
    if answer.status_code == 402:
        return Declined(f"gumroad declined: {words or 'without a reason'}")
    problem = problem_of(SOURCE, answer.status_code, words, key=KEY, retry_after=answer.headers.get("retry-after"))
    if isinstance(problem, Forbidden):
        return Forbidden(problem.message, hint=f"give the token of {KEY} the scope {scope}")
    return problem


def _words(said: Mapping[str, Any], hidden: list[str]) -> str:
    """What Gumroad says of it, without what it was sent in confidence."""
    return " ".join(without(str(said.get("message") or said.get("error") or ""), hidden).split())[:_SAID_CHARS]


def _said_no(words: str) -> NovaError:
    if _MISSING.search(words):
        return Missing(f"gumroad does not know it: {words}")
    if _WRONG.search(words.lower()):
        return InvalidRequest(f"gumroad did not accept the request: {words}")
    return Declined(f"gumroad declined: {words or 'without a reason'}")


def _object(content: bytes) -> dict[str, Any] | None:
    """Halves of characters, which JSON can name and nothing can write down, are made question marks."""
    try:
        said = json.loads(content)
        if b"\\ud" in content.lower():
            said = json.loads(json.dumps(said, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def known_id(what: str, id: Any) -> str:
    """Raises Missing where a person said that it was made, and Gumroad does not list it."""
    if not isinstance(id, str):
        raise Missing(f"gumroad has no such {what}, although somebody said that it was made")
    return id


def part_of(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = said.get(name)
    if not isinstance(part, Mapping):
        raise BadAnswer(f"gumroad answered without its {name}", hint="try again later")
    return part


def parts_of(said: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    parts = said.get(name)
    if not isinstance(parts, list) or not all(isinstance(one, Mapping) for one in parts):
        raise BadAnswer(f"gumroad answered without its {name}", hint="try again later")
    return parts


def in_path(id: str) -> str:
    """Ids end in `==`, and nothing that a person types may reach another path."""
    if not id or id in (".", ".."):
        raise UsageProblem("an id of Gumroad is missing")
    return quote(id, safe="")
