"""What `nova serve` answers: webhooks, tracked links, who wants no more mail, feeds, and whether it is well.

Every error is one line of JSON.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from nova.api.departures import Departures
from nova.api.feeds import Feeds
from nova.api.redirect import Redirects
from nova.errors import NotFound, NovaError
from nova.webhooks.endpoints import GUMROAD, Endpoints
from nova.webhooks.intake import Intake
from platforms.signatures import Forged, Headers, Unsigned

log = logging.getLogger(__name__)

MOST_BYTES = 1_000_000
BODY_S = 10.0
_RECEIVED = b'{"received":true}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_RECEIVED))]
_LAST = {"connection": "close"}  # what still comes of a body is not read


@dataclass(frozen=True, slots=True)
class Parts:
    """`endpoints` tells what is taken now: senders may be declared while it serves."""

    intake: Intake
    endpoints: Callable[[], Endpoints]
    redirects: Redirects
    departures: Departures | None = None
    feeds: Feeds | None = None


def application(parts: Parts) -> Starlette:
    async def link(request: Request) -> Response:
        slug = request.path_params["slug"]
        target = await parts.redirects.target(slug, request.query_params, request.headers, request.method)
        if target is None:
            return _problem(404, "no such link")
        return RedirectResponse(target, 302, {"cache-control": "no-store"})

    async def healthz(_request: Request) -> Response:
        well = parts.intake.writable
        return JSONResponse({"status": "ok" if well else "the ledger cannot be written"}, 200 if well else 503)

    webhooks = _Webhooks(parts)
    made = Starlette(
        routes=[
            Route("/webhooks/{name}", webhooks, methods=["POST"]),
            Route("/webhooks/{name}/{rest}", webhooks, methods=["POST"]),
            Route("/l/{slug}", link, methods=["GET"]),
            *([Route("/u/{token}", parts.departures.answer, methods=["GET", "POST"])] if parts.departures else ()),
            *([Route("/feeds/{name}", parts.feeds.answer, methods=["GET"])] if parts.feeds else ()),
            Route("/healthz", healthz, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _refused, NovaError: _not_now, Exception: _failed},
    )
    made.router.redirect_slashes = False  # to wherever the Host header says
    return made


class _Webhooks:
    """An ASGI application, since what is built around every request takes longer than to verify and to keep it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = await self._take(scope, receive)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": _RECEIVED})

    async def _take(self, scope: Scope, receive: Receive) -> Response | None:
        """None when it is durable, else what is said instead."""
        name, rest = scope["path_params"]["name"], scope["path_params"].get("rest", "")
        intake, refused = self._parts.intake, self._parts.intake.refusals.refused
        try:
            endpoint = self._parts.endpoints().find(name if name == GUMROAD or not rest else "")
        except NotFound as problem:
            refused("-", problem.message)
            return _problem(404, problem.message, last=True)
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        try:
            await intake.take(endpoint, await _body(receive, headers), headers, rest)
        except _TooLarge:
            refused(name, "too large")
            return _problem(413, f"more than {MOST_BYTES} bytes", last=True)
        except TimeoutError:
            refused(name, "too slow")
            return _problem(408, "the body took too long", last=True)
        except _HungUp:
            return _problem(400, "the body was cut off", last=True)
        except Forged as problem:
            refused(name, type(problem).__name__.lower())
            return _problem(400 if isinstance(problem, Unsigned) else 401, _why(problem))
        except NovaError as problem:
            fields = {"action": "webhook_not_kept", "endpoint": name, "error": problem.message}
            log.error("webhook_not_kept", extra=fields)
            return _problem(503, "it could not be kept: send it again", {"retry-after": "30"})
        return None


class _TooLarge(Exception):
    pass


class _HungUp(Exception):
    pass


async def _body(receive: Receive, headers: Headers) -> bytes:
    """Raises _TooLarge before all of it is read, TimeoutError and _HungUp."""
    told = headers.get("content-length", "0")
    if told.isdecimal() and (len(told) > 9 or int(told) > MOST_BYTES):
        raise _TooLarge
    parts, size, more = [], 0, True
    async with asyncio.timeout(BODY_S):
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _HungUp
            part, more = message.get("body", b""), message.get("more_body", False)
            size += len(part)
            if size > MOST_BYTES:
                raise _TooLarge
            parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _why(problem: Forged) -> str:
    return problem.message if type(problem) is not Forged else "the signature is not the sender's"


def _problem(code: int, words: str, headers: dict[str, str] | None = None, *, last: bool = False) -> Response:
    return JSONResponse({"error": words}, code, {**(headers or {}), **(_LAST if last else {})})


async def _refused(_request: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)
    return _problem(problem.status_code, problem.detail.lower(), dict(problem.headers or {}))


async def _not_now(request: Request, problem: Exception) -> Response:
    """Of the address only its kind is written down: what follows may be secret."""
    assert isinstance(problem, NovaError)
    place = request.url.path.split("/")[1]
    log.error("not_answered", extra={"action": "not_answered", "place": place, "error": problem.message})
    return _problem(503, "it cannot be done now: try again", {"retry-after": "5"})


async def _failed(_request: Request, _found: Exception) -> Response:
    return _problem(500, "it failed: see the log")
