"""Pages a second that the scraper takes from a server on loopback, polite limits off.

    python tests/benchmarks/scraper.py [pages]

Each page is a listing of thirty articles (3 kB). Once its pages are only fetched (robots.txt asked, addresses checked),
once each is also made into thirty rows of three fields, as scraper_agent does it. The server is a process of its own.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from platforms.web_extract import Selector, extract
from platforms.web_scraper import Manners, Page, WebScraper

_FIELDS = {name: Selector.parse(css) for name, css in {"name": "a", "link": "a@href", "price": ".price"}.items()}
_ROWS = "".join(
    f'<li class="item"><a href="/p/{n}">Article {n}</a> <span class="price">{n}.99</span></li>' for n in range(30)
)
_BODY = f"<html><head><title>Articles</title></head><body><ul>{_ROWS}</ul></body></html>".encode()
_FOUND = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n\r\n" % len(_BODY)
_MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class Site(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport, self.rest = transport, b""

    def data_received(self, data: bytes) -> None:
        self.rest += data
        while b"\r\n\r\n" in self.rest:
            head, _, self.rest = self.rest.partition(b"\r\n\r\n")
            self.transport.write(_MISSING if b"/robots.txt" in head.split(b"\r\n")[0] else _FOUND + _BODY)


def serve(told: Any) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Site, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def main() -> None:
    pages = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    ours, theirs = multiprocessing.Pipe()
    site = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    site.start()
    base = f"http://127.0.0.1:{ours.recv()}"
    manners = Manners(delay_s=0, allow_private=True, per_host=4)
    with WebScraper(manners) as web, ThreadPoolExecutor(4) as pool:
        urls = [f"{base}/list/{n}" for n in range(pages)]
        web.fetch(urls[0])
        began = time.perf_counter()
        fetched = list(pool.map(web.fetch, urls))
        print(f"fetched, four at once: {pages / (time.perf_counter() - began):.0f} pages/s")
        assert len(fetched) == pages and all(isinstance(page, Page) for page in fetched)
        began, rows = time.perf_counter(), 0
        for page in pool.map(web.fetch, urls):
            assert page is not None
            rows += len(extract(page.body, page.charset, page.url, ".item", _FIELDS))
        print(f"fetched and made into rows: {pages / (time.perf_counter() - began):.0f} pages/s")
        assert rows == pages * 30
    site.terminate()


if __name__ == "__main__":
    main()
