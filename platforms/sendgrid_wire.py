"""SendGrid's SDK made safe to use: it has no timeout, follows redirects with the key, and logs keys and mails."""

from __future__ import annotations

import http.client
import json
import logging
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any
from urllib.error import HTTPError as UrlError
from urllib.error import URLError
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from python_http_client import Client
from python_http_client.exceptions import HTTPError, handle_error

from nova.errors import NovaError
from platforms.base import BadAnswer, NotConnected, Unreachable, problem_of, shown, without
from platforms.deadline import response_within
from platforms.sendgrid_api import BASE, KEY, WrongRecipients

_SAID_CHARS = 300
_RECIPIENT = re.compile(r"personalizations\.(\d{1,4})\.to", re.ASCII)

logging.getLogger("python_http_client.client").addFilter(lambda record: False)  # it logs headers and bodies


class Wire(Client):  # type: ignore[misc]
    """The SDK's own way of building requests, each over a connection of its own.

    So none goes over a connection that has gone stale, which would leave in doubt whether a mail was taken.
    """

    def __init__(self, *, timeout_s: float, total_s: float, **options: Any) -> None:
        super().__init__(**options)
        self._limits = (timeout_s, total_s)

    def _build_client(self, name: str | None = None) -> Wire:
        return Wire(
            timeout_s=self._limits[0],
            total_s=self._limits[1],
            host=self.host,
            version=self._version,
            request_headers=self.request_headers,
            url_path=[*self._url_path, name] if name else self._url_path,
        )

    def _make_request(self, opener: Any, request: Request, timeout: float | None = None) -> Any:
        timeout_s, total_s = self._limits
        limited = build_opener(_NoRedirect, _Http(total_s), _Https(total_s))
        try:
            with limited.open(request, timeout=timeout or timeout_s) as answer:
                return _Answer(answer.getcode(), answer.read(), answer.info())
        except UrlError as refused:
            with refused:
                raise handle_error(refused) from None


@dataclass(frozen=True, slots=True)
class _Answer:
    """Read to its end, in the form that the SDK reads."""

    code: int
    content: bytes
    head: Any

    def getcode(self) -> int:
        return self.code

    def read(self) -> bytes:
        return self.content

    def info(self) -> Any:
        return self.head


def wire_to(key: str, base: str, *, timeout_s: float, total_s: float) -> Wire:
    """The SDK's client, with its headers, to one account."""
    from sendgrid import SendGridAPIClient

    sdk = SendGridAPIClient(api_key=key, host=base)
    headers = dict(sdk.client.request_headers)
    return Wire(timeout_s=timeout_s, total_s=total_s, host=base, version=3, request_headers=headers)


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class _Http(HTTPHandler):
    def __init__(self, total_s: float) -> None:
        super().__init__()
        self._total_s = total_s

    def http_open(self, request: Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_connection, http.client.HTTPConnection, self._total_s), request)


class _Https(HTTPSHandler):
    def __init__(self, total_s: float) -> None:
        super().__init__()
        self._total_s = total_s

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    def https_open(self, request: Request) -> http.client.HTTPResponse:
        make = partial(_connection, http.client.HTTPSConnection, self._total_s)
        return self.do_open(make, request, context=self._trust)


def _connection(kind: type[http.client.HTTPConnection], total_s: float, host: str, **options: Any) -> Any:
    made = kind(host, **options)
    made.response_class = response_within(total_s)
    return made


def json_of(answer: Any) -> Any:
    """What was answered, None where that is nothing. Raises BadAnswer."""
    body: bytes = answer.body
    if not body:
        return None
    kind = answer.headers.get("Content-Type", "application/json")
    if "json" not in kind:
        raise BadAnswer(f"sendgrid answered with {kind.partition(';')[0][:60]} instead of JSON")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise BadAnswer("sendgrid answered with what is no JSON") from None


def problem_in(base: str, error: Exception, secret: str) -> NovaError | None:
    """What an error of a request means; None where it is none of a request's."""
    if isinstance(error, HTTPError):
        headers: Mapping[str, str] = error.headers or {}
        wait = _wait(error.status_code, headers)
        told = problem_of("sendgrid", error.status_code, _said(error.body, secret), key=KEY, retry_after=wait)
        wrong = _wrong_recipients(error.body) if error.status_code == 400 else []
        return WrongRecipients(told.message, wrong) if wrong else told
    where, hint = f"sendgrid cannot be reached at {shown(base)}", f"check the network and {BASE}"
    if isinstance(error, URLError):  # before or while the request was sent: a part of it is no request
        return NotConnected(f"{where}: {type(error.reason).__name__}", hint=hint)
    if isinstance(error, http.client.IncompleteRead):
        return BadAnswer("sendgrid's answer was cut off", hint=hint)
    if isinstance(error, OSError | http.client.HTTPException):
        return Unreachable(f"{where}: {type(error).__name__}", hint=hint)
    return None


def _wait(status: int, headers: Mapping[str, str]) -> str | None:
    """SendGrid tells when its limit begins anew instead of how long to wait."""
    if status != 429:
        return None
    asked = headers.get("Retry-After")
    reset = headers.get("X-RateLimit-Reset")
    if asked is None and reset is not None and re.fullmatch(r"\d{1,12}", reset, re.ASCII):
        import time

        return str(max(0.0, int(reset) - time.time()))
    return asked


def _said(body: bytes, secret: str) -> str:
    """SendGrid's own words, on one line, without the key."""
    try:
        errors = json.loads(body)["errors"]
        words = "; ".join(
            f"{one['message']} ({one['field']})" if one.get("field") else str(one["message"]) for one in errors
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return " ".join(without(words, [secret]).split())[:_SAID_CHARS]


def _wrong_recipients(body: bytes) -> list[int]:
    """The places of those whose part of the request SendGrid found wrong; none where anything else was wrong too."""
    try:
        fields = [str(one["field"]) for one in json.loads(body)["errors"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    found = [_RECIPIENT.match(one) for one in fields]
    return sorted({int(one[1]) for one in found if one}) if all(found) else []
