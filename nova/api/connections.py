"""The connections of `nova serve`: who does not say what he wants is not listened to for ever."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 20.0
MOST_HEAD_BYTES = 65_536


class Connection(HttpToolsProtocol):
    """Hangs up on a request whose first lines take too long or have no end, and on who connects and asks nothing.

    Otherwise a few that say nothing would take the place of all who may connect.
    """

    _head_bytes: int | None = None  # of the request that is being read; None behind its head
    _until: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._until = self.loop.call_later(HEAD_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self.transport.abort()

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        if self._until is None:
            self._until = self.loop.call_later(HEAD_S, self.transport.abort)
        cast(Any, super()).on_message_begin()

    def on_headers_complete(self) -> None:
        self._arrived()
        cast(Any, super()).on_headers_complete()

    def _arrived(self) -> None:
        self._head_bytes = None
        if self._until is not None:
            self._until.cancel()
            self._until = None
