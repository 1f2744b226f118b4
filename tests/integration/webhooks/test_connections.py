"""Who connects and does not say what he wants is hung up on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from nova.api import connections
from nova.api.connections import MOST_HEAD_BYTES, Connection
from nova.api.server import listening

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ASKED = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def _app(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(0.2)  # longer than the head may take
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def talk(what: Talk) -> None:
    async def work() -> None:
        listener = listening("127.0.0.1", 0)
        server = uvicorn.Server(uvicorn.Config(_app, http=Connection, lifespan="off", log_config=None))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        try:
            await asyncio.wait_for(what(reader, writer), 10)
        finally:
            writer.close()
            server.should_exit = True
            await serving

    asyncio.run(work())


async def _ends(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost:", b"GET /"])
def test_who_does_not_finish_is_hung_up_on(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.05)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        assert await _ends(reader) == b""

    talk(silent)


def test_who_has_asked_is_answered_however_long_it_takes_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.05)

    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            writer.write(ASKED)
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        writer.write(ASKED[:-2])  # and the third never ends
        assert await _ends(reader) == b""

    talk(twice)


def test_a_head_without_an_end_is_not_read_on() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(ASKED[:-2])
        for _ in range(2 * MOST_HEAD_BYTES // 1000):
            writer.write(b"X-Long: " + b"x" * 1000 + b"\r\n")
        assert await _ends(reader) == b""

    talk(endless)
