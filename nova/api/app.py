"""What `nova serve` answers: webhooks, tracked links, and whether it is well. Every error is one line of JSON."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from nova.api.redirect import Redirects
from nova.errors import NotFound, NovaError
from nova.webhooks.endpoints import GUMROAD, Endpoints
from nova.webhooks.intake import Intake
from platforms.signatures import Forged, Unsigned

log = logging.getLogger(__name__)

MOST_BYTES = 1_000_000
BODY_S = 10.0
_RECEIVED = b'{"received":true}'
_LAST = {"connection": "close"}  # what still comes of a body is not read


@dataclass(frozen=True, slots=True)
class Parts:
    """`endpoints` tells what is taken now: senders may be declared while it serves."""

    intake: Intake
    endpoints: Callable[[], Endpoints]
    redirects: Redirects


def application(parts: Parts) -> Starlette:
    async def webhook(request: Request) -> Response:
        return await _webhook(parts, request)

    async def link(request: Request) -> Response:
        slug = request.path_params["slug"]
        target = await parts.redirects.target(slug, request.query_params, request.headers, request.method)
        if target is None:
            return _problem(404, "no such link")
        return RedirectResponse(target, 302, {"cache-control": "no-store"})

    async def healthz(_request: Request) -> Response:
        well = parts.intake.writable
        return JSONResponse({"status": "ok" if well else "the ledger cannot be written"}, 200 if well else 503)

    return Starlette(
        routes=[
            Route("/webhooks/{name}", webhook, methods=["POST"]),
            Route("/webhooks/{name}/{rest}", webhook, methods=["POST"]),
            Route("/l/{slug}", link, methods=["GET"]),
            Route("/healthz", healthz, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )


async def _webhook(parts: Parts, request: Request) -> Response:
    name, rest = request.path_params["name"], request.path_params.get("rest", "")
    refused = parts.intake.refusals.refused
    try:
        if rest and name != GUMROAD:
            raise NotFound("no such webhook")
        endpoint = parts.endpoints().find(name)
    except NotFound as problem:
        refused("-", problem.message)
        return _problem(404, problem.message, last=True)
    try:
        body = await _body(request)
        await parts.intake.take(endpoint, body, request.headers, rest)
    except _TooLarge:
        refused(name, "too large")
        return _problem(413, f"more than {MOST_BYTES} bytes", last=True)
    except TimeoutError:
        refused(name, "too slow")
        return _problem(408, "the body took too long", last=True)
    except ClientDisconnect:
        return _problem(400, "the body was cut off", last=True)
    except Forged as problem:
        refused(name, type(problem).__name__.lower())
        return _problem(400 if isinstance(problem, Unsigned) else 401, _why(problem))
    except NovaError as problem:
        log.error("webhook_not_kept", extra={"action": "webhook_not_kept", "endpoint": name, "error": problem.message})
        return _problem(503, "it could not be kept: send it again", {"retry-after": "30"})
    return Response(_RECEIVED, media_type="application/json")


class _TooLarge(Exception):
    pass


async def _body(request: Request) -> bytes:
    """Raises _TooLarge before all of it is read, TimeoutError and ClientDisconnect."""
    told = request.headers.get("content-length", "0")
    if told.isdecimal() and (len(told) > 9 or int(told) > MOST_BYTES):
        raise _TooLarge
    chunks, size = [], 0
    async with asyncio.timeout(BODY_S):
        async for chunk in request.stream():
            size += len(chunk)
            if size > MOST_BYTES:
                raise _TooLarge
            chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _why(problem: Forged) -> str:
    return problem.message if type(problem) is not Forged else "the signature is not the sender's"


def _problem(code: int, words: str, headers: dict[str, str] | None = None, *, last: bool = False) -> Response:
    return JSONResponse({"error": words}, code, {**(headers or {}), **(_LAST if last else {})})


async def _refused(_request: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)
    return _problem(problem.status_code, problem.detail.lower(), dict(problem.headers or {}))


async def _failed(_request: Request, problem: Exception) -> Response:
    return _problem(500, "it failed: see the log")
