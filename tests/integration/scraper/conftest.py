"""A small site on loopback whose answers a test writes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from platforms.web_scraper import Manners, WebScraper
from tests.hands import QuickHands

Reply = Mapping[str, Any]  # body, status, headers
Answer = Reply | Callable[[dict[str, str]], Reply]


class Site:
    """`pages` by path; a list is answered in turn, its last for ever. `asked` is every request: path and headers."""

    def __init__(self) -> None:
        self.pages: dict[str, Answer | list[Answer]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.connections = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _reply(self, path: str, headers: dict[str, str]) -> Reply:
        self.asked.append((path, headers))
        found = self.pages.get(path, {"body": "nothing here", "status": 404})
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        return found(headers) if callable(found) else found

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                site.connections += 1
                super().setup()

            def do_GET(self) -> None:
                reply = site._reply(self.path, {name.lower(): value for name, value in self.headers.items()})
                body = reply.get("body", b"")
                body = body.encode() if isinstance(body, str) else body
                self.send_response(reply.get("status", 200))
                for name, value in {"Content-Type": "text/html", **reply.get("headers", {})}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body)
                except (BrokenPipeError, ConnectionResetError):
                    return

            def log_message(self, *_: object) -> None:
                return

        return Handler


@pytest.fixture
def site() -> Iterator[Site]:
    opened = Site()
    yield opened
    opened.close()


@pytest.fixture
def hands() -> QuickHands:
    return QuickHands()


@pytest.fixture
def scraper(hands: QuickHands) -> Iterator[Callable[..., WebScraper]]:
    opened: list[WebScraper] = []

    def make(**manners: object) -> WebScraper:
        given = {"allow_private": True, "delay_s": 0.0, "timeout_s": 5.0, **manners}
        web = WebScraper(Manners(**given), hands=hands, monotonic=lambda: hands.now)  # type: ignore[arg-type]
        opened.append(web)
        return web

    yield make
    for web in opened:
        web.close()
