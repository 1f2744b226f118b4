"""Takes readers of mails off every list: by one click of their mail program (RFC 8058), or on a page that asks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from nova.link_tokens import WAY_OUT, link_key, subject_in

if TYPE_CHECKING:
    from pathlib import Path

    from nova.ledger.suppressions import Suppressions

_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    '<meta name="robots" content="noindex"><title>Mail</title>'
    '<body style="font-family:sans-serif;max-width:30em;margin:4em auto;padding:0 1em">{}</body></html>'
)
_ASKING = '<form method="post"><p>Do you want no more mail from us?</p><button>No more mail</button></form>'
_GONE = "<p>You get no more mail from us.</p>"
_UNKNOWN = "<p>This link is not complete. Please copy all of it.</p>"


class Departures:
    """A GET changes nothing: programs follow the links of mails to look at them."""

    def __init__(self, suppressions: Suppressions, home: Path) -> None:
        self._suppressions = suppressions
        self._key = link_key(home)

    async def answer(self, request: Request) -> Response:
        subject = subject_in(self._key, WAY_OUT, request.path_params["token"])
        if subject is None:
            return HTMLResponse(_PAGE.format(_UNKNOWN), 404)
        if request.method == "POST":  # the body says List-Unsubscribe=One-Click, or nothing; the address says it all
            await asyncio.to_thread(self._suppressions.add, [subject], "unsubscribe", "reader")
        told = _GONE if request.method == "POST" else _ASKING
        return HTMLResponse(_PAGE.format(told), 200, {"cache-control": "no-store", "referrer-policy": "no-referrer"})
