"""The way of tweepy's requests: to the address that is configured, with limits on time and size, answers checked.

tweepy fixes the host and reads answers without doubting them; so it is given a session that does both otherwise.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from nova.clock import format_duration
from nova.errors import NovaError, UsageProblem
from platforms.base import (
    BadAnswer,
    Declined,
    Missing,
    NotConnected,
    PlatformFailed,
    PlatformRefused,
    RateLimited,
    Unreachable,
    problem_of,
    retry_after_seconds,
    shown,
    without,
)
from platforms.deadline import session_within
from platforms.twitter_keys import BEARER, PLATFORM, USER_KEYS, named
from platforms.twitter_types import Limit

T = TypeVar("T")
_MOST_BYTES = 20_000_000
_SAID_CHARS = 300
_LONGEST_WAIT_S = 25 * 3600.0
_WINDOWS = (("x-rate-limit", "15m"), ("x-user-limit-24hour", "24h"), ("x-app-limit-24hour", "24h"))
_NO_TO_CONTENT = re.compile(
    r"duplicate content|not allowed to|is not allowed because|already|not visible to you", re.IGNORECASE
)
_USED_UP = re.compile(rb"usage-capped|UsageCapExceeded|CreditsDepleted|SpendCapReached")
_ID = re.compile(r"(?<!^)/\d+(?=/|$)")
_NAME = re.compile(r"/by/username/[^/]+")


class Wire:
    """What tweepy takes for a session of requests. What it raises are NovaErrors, without any secret."""

    def __init__(
        self,
        base: str,
        timeout_s: tuple[float, float],
        total_s: float,
        now: Callable[[], float] = time.time,
        secrets: Sequence[str | None] = (),
    ) -> None:
        self._base = base.rstrip("/")
        self._timeout_s = timeout_s
        self._now = now
        self._secrets = tuple(secrets)
        self._session = session_within(total_s)
        self.limits: dict[tuple[str, str], Limit] = {}

    def request(self, method: str, url: str, *, headers: Mapping[str, str], auth: Any = None, **options: Any) -> Any:
        """Raises what the answer means, for whatever is no good answer."""
        path = urlsplit(url).path
        answer = self._session.request(
            method,
            f"{self._base}{path}",
            headers=headers,
            auth=auth,
            timeout=self._timeout_s,
            allow_redirects=False,
            stream=True,
            **options,
        )
        try:
            _read(answer)
        finally:
            answer.close()
        self._note(endpoint_of(method, path), answer.headers)
        key = BEARER if auth is None else named(USER_KEYS)
        if problem := self._refusal(answer, key):
            raise problem
        if answer.status_code != 204:
            _parsed(answer)
        return answer

    def close(self) -> None:
        self._session.close()

    def problem(self, error: Exception) -> NovaError | None:
        """What an error of requests means; None where it is none."""
        import requests
        from urllib3.exceptions import NewConnectionError

        if not isinstance(error, requests.RequestException):
            return None
        if isinstance(error, requests.ConnectTimeout):
            return NotConnected(f"twitter cannot be reached in time at {shown(self._base)}", hint="try again later")
        if isinstance(error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError):
            return BadAnswer("twitter's answer was cut off", hint="try again later")
        if isinstance(error, requests.Timeout) or "took too long" in str(error):
            return Unreachable(f"twitter did not answer in time at {shown(self._base)}", hint="try again later")
        kind = NotConnected if isinstance(_reason(error), NewConnectionError) else Unreachable
        return kind(
            f"twitter cannot be reached at {shown(self._base)}: {type(error).__name__}",
            hint="check the network and TWITTER_API_BASE",
        )

    def wait_s(self, headers: Mapping[str, str]) -> float | None:
        """How long what is used up stays so, by X's own clock where it tells it; None: nothing is."""
        waits = [
            reset - self._server_time(headers)
            for prefix, _ in _WINDOWS
            if headers.get(f"{prefix}-remaining") == "0"
            and (reset := _number(headers.get(f"{prefix}-reset"))) is not None
        ]
        longest = max(waits, default=0)
        return min(longest, _LONGEST_WAIT_S) if longest > 0 else None

    def _refusal(self, answer: Any, key: str) -> NovaError | None:
        status, headers = int(answer.status_code), answer.headers
        if 200 <= status < 300:
            return None
        if 300 <= status < 400:
            return BadAnswer(f"twitter answered with a redirection (HTTP {status})", hint="check TWITTER_API_BASE")
        said = without(_said(answer), self._secrets)[:_SAID_CHARS]
        if status == 402 or _USED_UP.search(answer.content):
            words = f": {said}" if said else ""
            return PlatformRefused(
                f"twitter wants to be paid first{words}", hint="see credits and caps at console.x.com"
            )
        if status == 429:
            asked = retry_after_seconds(headers.get("retry-after"))
            wait_s = self.wait_s(headers) or asked or self._reset_s(headers)
            when = f"in {format_duration(math.ceil(wait_s))}" if wait_s else "later"
            return RateLimited("twitter asks to be called less often", retry_after_s=wait_s, hint=f"try again {when}")
        if status == 403 and _NO_TO_CONTENT.search(said):
            return Declined(f"twitter says no: {said}")
        return problem_of(PLATFORM, status, said, key=key)

    def _reset_s(self, headers: Mapping[str, str]) -> float | None:
        reset = _number(headers.get("x-rate-limit-reset"))
        wait_s = None if reset is None else reset - self._server_time(headers)
        return wait_s if wait_s is not None and 0 < wait_s <= _LONGEST_WAIT_S else None

    def _server_time(self, headers: Mapping[str, str]) -> float:
        try:
            return parsedate_to_datetime(headers["date"]).timestamp()
        except (KeyError, ValueError, TypeError, OverflowError):
            return self._now()

    def _note(self, endpoint: str, headers: Mapping[str, str]) -> None:
        for prefix, window in _WINDOWS:
            numbers = [_number(headers.get(f"{prefix}-{part}")) for part in ("limit", "remaining", "reset")]
            if None not in numbers:
                limit, remaining, reset = (int(number or 0) for number in numbers)
                at = datetime.fromtimestamp(min(reset, 2**33), UTC)
                self.limits[endpoint, window] = Limit(endpoint, window, limit, remaining, at)


def data_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for; an answer without it holds errors, although its status is 200."""
    data = body.get("data")
    if isinstance(data, dict):
        return data
    raise _absent(body)


def _absent(body: Mapping[str, Any]) -> NovaError:
    errors = body.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    words = " ".join(str(first.get("detail") or first.get("title") or "").split())[:300]
    kind = str(first.get("type", "")).rpartition("/")[2]
    if kind == "resource-not-found":
        return Missing(f"{PLATFORM} does not know it: {words}")
    if kind.startswith("not-authorized-for") or kind in ("disallowed-resource", "resource-unavailable"):
        return Declined(f"{PLATFORM} does not show it: {words}")
    if not words:
        return BadAnswer(f"{PLATFORM} answered without what was asked for")
    return PlatformFailed(f"{PLATFORM} did not answer what was asked: {words}")


def understood(make: Callable[[Any], T], body: Any) -> T:
    """What `make` reads from an answer. Raises BadAnswer where that is not as X publishes it."""
    try:
        return make(body)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, UsageProblem):
        raise BadAnswer(f"{PLATFORM}'s answer is not as it is published") from None


def endpoint_of(method: str, path: str) -> str:
    return f"{method} {_NAME.sub('/by/username/{name}', _ID.sub('/{id}', path))}"


def _read(answer: Any) -> None:
    """Takes the body as it comes; a larger one than X ever sends is none."""
    parts, size = [], 0
    for part in answer.iter_content(65_536):
        size += len(part)
        if size > _MOST_BYTES:
            raise BadAnswer(f"twitter's answer is longer than {_MOST_BYTES} bytes")
        parts.append(part)
    answer._content = b"".join(parts)


def _parsed(answer: Any) -> dict[str, Any]:
    kind = answer.headers.get("content-type", "")
    if "json" not in kind:
        raise BadAnswer(f"twitter answered with {kind.partition(';')[0] or 'no type'} instead of JSON")
    try:
        body = json.loads(answer.content)
    except (ValueError, RecursionError):
        raise BadAnswer("twitter's answer is no JSON") from None
    if not isinstance(body, dict):
        raise BadAnswer("twitter's answer is no JSON object")
    return body


def _said(answer: Any) -> str:
    """X's own words, from whichever form of its errors."""
    try:
        body = _parsed(answer)
    except BadAnswer:
        return ""
    errors = body.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    words = first.get("message") or first.get("detail") or body.get("detail") or body.get("title") or ""
    return " ".join(str(words).split())


def _number(text: str | None) -> float | None:
    return float(text) if text is not None and re.fullmatch(r"\d{1,12}", text, re.ASCII) else None


def _reason(error: Exception) -> object:
    """Why urllib3 gave up, where it was that which did."""
    return getattr(error.args[0] if error.args else None, "reason", None)
