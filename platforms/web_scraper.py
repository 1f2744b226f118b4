"""Pages of the web, fetched with manners: robots.txt, pauses, limits, and no way into private networks."""

from __future__ import annotations

import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING

from nova.errors import Unreachable, UsageProblem
from platforms.base import PlatformFailed, RateLimited, retry_after_seconds
from platforms.connections import Connections
from platforms.hands import Hands
from platforms.line import Line, Patience
from platforms.web_address import AddressRefused, Resolve, permitted, resolve
from platforms.web_robots import MOST_BYTES, Robots, RobotsAnswer, RobotsForbid

if TYPE_CHECKING:
    import httpx

    from platforms.web_stream import Transport

__all__ = ["PROBLEMS", "AddressRefused", "Manners", "Page", "RobotsForbid", "WebScraper", "checked_url"]

PLATFORM = "web"

# What a single page can fail with: the next one may be better.
PROBLEMS = (AddressRefused, RobotsForbid, PlatformFailed, Unreachable)

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({429, 500, 502, 503, 504})
_MOST_HOSTS = 64  # whose connections are kept


@dataclass(frozen=True, slots=True)
class Manners:
    """`delay_s` lies between two requests to a host; the site's own robots.txt may ask for more. At once it is asked
    `per_host` times at most.

    `timeout_s` bounds each wait for the server, `total_s` a whole answer, `longest_wait_s` any single pause.
    """

    agent: str = "nova-scraper"
    delay_s: float = 1.0
    per_host: int = 2
    timeout_s: float = 20.0
    total_s: float = 120.0
    max_bytes: int = 10_000_000
    max_redirects: int = 5
    attempts: int = 4
    first_retry_s: float = 1.0
    longest_wait_s: float = 60.0
    allow_private: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """`url` is where it was found after redirects; `charset` what the HTTP header says."""

    url: str
    body: bytes
    charset: str | None
    content_type: str
    etag: str | None
    last_modified: str | None


@dataclass(frozen=True, slots=True)
class _Answer:
    url: httpx.URL
    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def redirected(self) -> bool:
        return self.status in _REDIRECTS and "location" in self.headers


class _Busy(Unreachable):
    """The server cannot answer now."""

    status = 503


class _Limited(RateLimited, _Busy):
    """It says when it can."""


def _busy(url: httpx.URL, status: int, retry_after_s: float | None) -> Unreachable:
    said = f"{shown(url)} answered {status}"
    if status == 429 or retry_after_s is not None:
        return _Limited(said, retry_after_s=retry_after_s)
    return _Busy(said)


def checked_url(text: str) -> httpx.URL:
    """Raises UsageProblem for what is not an http(s) address."""
    import httpx

    try:
        url = httpx.URL(text.strip())
    except (httpx.InvalidURL, UnicodeError) as problem:
        raise UsageProblem(f"not a web address: {text!r}: {problem}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise UsageProblem(f"not a web address: {shown(url)!r}", hint="it begins with http:// or https://")
    return url


def shown(url: httpx.URL) -> str:
    """Without the password."""
    return str(url.copy_with(userinfo=b"")) if url.userinfo else str(url)


class Ways:
    """What a process keeps of the web: connections by origin, and what robots.txt files say.

    Connections go to addresses that were checked, past any proxy, and serve no other name. They keep no cookies.
    """

    def __init__(self, agent: str, per_host: int) -> None:
        self.robots = Robots(agent.partition("/")[0])
        self._per_host = per_host
        self._lock = threading.Lock()
        self._open: OrderedDict[str, Transport] = OrderedDict()
        self._places: dict[str, threading.Semaphore] = {}

    def place(self, host: str) -> threading.Semaphore:
        """To be held while a host is asked."""
        with self._lock:
            return self._places.setdefault(host, threading.Semaphore(self._per_host))

    def to(self, origin: str) -> Transport:
        import httpx

        from platforms.web_stream import Transport

        with self._lock:
            way = self._open.pop(origin, None)
            if way is None:
                limits = httpx.Limits(max_keepalive_connections=self._per_host, keepalive_expiry=15.0)
                way = Transport(verify=self._tls, limits=limits)
            self._open[origin] = way
            if len(self._open) > _MOST_HOSTS:
                self._open.popitem(last=False)[1].close()
            return way

    def close(self) -> None:
        with self._lock:
            ways, self._open = self._open, OrderedDict()
        for way in ways.values():
            way.close()

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        import httpx

        return httpx.create_ssl_context()


class WebScraper:
    """For several threads. `Stopped` is raised where the run is to end that it works for."""

    def __init__(
        self,
        manners: Manners | None = None,
        *,
        hands: Hands | None = None,
        connections: Connections | None = None,
        resolver: Resolve = resolve,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.manners = manners = manners or Manners()
        patience = Patience(manners.attempts, manners.longest_wait_s, manners.longest_wait_s * 4, manners.first_retry_s)
        self.line = Line(PLATFORM, lambda error: None, hands, patience)
        self._resolver = resolver
        self._monotonic = monotonic
        self._now = now
        self._own = connections is None
        name = f"{PLATFORM} {manners.agent} {manners.per_host}"
        self._ways = (connections or Connections()).of(
            name, lambda: Ways(manners.agent, manners.per_host), lambda ways: ways.close()
        )

    def fetch(self, address: str, *, etag: str | None = None, last_modified: str | None = None) -> Page | None:
        """None where it has not changed since `etag` or `last_modified`. Raises one of PROBLEMS."""
        told = {"If-None-Match": etag, "If-Modified-Since": last_modified}
        given = {name: value for name, value in told.items() if value is not None}
        answer = self._follow(checked_url(address), given, self.manners.max_bytes, robots=True)
        if answer.status == 304 and given:
            return None
        where = shown(answer.url)
        if not 200 <= answer.status < 300:
            raise PlatformFailed(f"{where} answered {answer.status}")
        kind, charset = _content_type(answer.headers.get("content-type", ""))
        if kind and not (kind.startswith("text/") or kind.endswith(("/xml", "+xml"))):
            raise PlatformFailed(f"{where} is {kind}, not a page")
        headers = answer.headers
        return Page(where, answer.body, charset, kind, headers.get("etag"), headers.get("last-modified"))

    def close(self) -> None:
        """What belongs to its process stays open."""
        if self._own:
            self._ways.close()

    def __enter__(self) -> WebScraper:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask_robots(self, origin: str) -> RobotsAnswer:
        """What is longer than a robots.txt may be is read as far as it may be."""
        try:
            answer = self._follow(checked_url(f"{origin}/robots.txt"), {}, MOST_BYTES, robots=False)
        except _Busy as problem:
            return RobotsAnswer(problem.status, "")
        return RobotsAnswer(answer.status, answer.body.decode("utf-8", "replace"))

    def _follow(self, url: httpx.URL, headers: dict[str, str], max_bytes: int, *, robots: bool) -> _Answer:
        """Every step is checked like the first."""
        for _ in range(self.manners.max_redirects + 1):
            if robots:
                self._may(url)
            answer = self._patiently(url, headers, max_bytes, cut=not robots)
            if not answer.redirected:
                return answer
            url = _led_on(url, answer.headers["location"])
        raise PlatformFailed(f"{shown(url)} is the end of more than {self.manners.max_redirects} redirects")

    def _may(self, url: httpx.URL) -> None:
        self._ways.robots.check(_origin(url), shown(url), self._ask_robots, self._monotonic())

    def _patiently(self, url: httpx.URL, headers: dict[str, str], max_bytes: int, *, cut: bool) -> _Answer:
        """`cut` takes the beginning of what is longer than `max_bytes`, which is refused otherwise."""
        every_s = 0.0
        if not cut:
            every_s = max(self.manners.delay_s, self._ways.robots.delay_s(_origin(url)))
        if every_s > self.manners.longest_wait_s:
            raise RateLimited(f"{url.host} wants to be asked less often than every {self.manners.longest_wait_s:g} s")
        with self._ways.place(url.host):
            return self.line.call(
                "fetch",
                lambda: self._ask(url, headers, max_bytes, cut=cut),
                part=url.raw_host.decode("ascii"),
                every_s=every_s,
            )

    def _ask(self, url: httpx.URL, headers: dict[str, str], max_bytes: int, *, cut: bool) -> _Answer:
        way = self._ways.to(_origin(url))
        with (
            way.within(self.manners.total_s, lambda: self.line.hands.wait(0)),
            self._opened(way, url, headers) as response,
        ):
            if response.status_code in _PASSING:
                after = _retry_after(response.headers.get("retry-after"), self._now())
                raise _busy(url, response.status_code, after)
            body = b"" if response.status_code in _REDIRECTS else self._read(url, response, max_bytes, cut=cut)
            return _Answer(url, response.status_code, response.headers, body)

    @contextmanager
    def _opened(self, way: Transport, url: httpx.URL, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """Tries the host's addresses in turn; the name still stands in the request and for its certificate."""
        import httpx

        port = url.port or (443 if url.scheme == "https" else 80)
        addresses = permitted(url.host, port, allow_private=self.manners.allow_private, resolver=self._resolver)
        if not addresses:
            raise Unreachable(f"the host {url.host} has no address")
        for address in addresses:
            try:
                response = way.handle_request(self._request(url, address, headers))
            except httpx.ConnectError as problem:
                if address != addresses[-1]:
                    continue
                raise Unreachable(f"{shown(url)} cannot be reached: {problem}") from problem
            except httpx.TransportError as problem:
                raise Unreachable(f"{shown(url)} cannot be reached: {_words(problem)}") from problem
            try:
                yield response
            finally:
                response.close()
            return

    def _request(self, url: httpx.URL, address: str, headers: dict[str, str]) -> httpx.Request:
        import httpx

        request = httpx.Request(
            "GET",
            url.copy_with(host=address, fragment=None, userinfo=b""),
            headers={
                "User-Agent": self.manners.agent,
                "Accept": "text/html,application/xhtml+xml,*/*;q=0.5",
                "Accept-Encoding": "gzip, deflate",
                **headers,
                "Host": url.netloc.decode("ascii"),
            },
            extensions={
                "sni_hostname": url.raw_host.decode("ascii"),
                "timeout": httpx.Timeout(self.manners.timeout_s).as_dict(),
            },
        )
        if url.userinfo:
            request = next(httpx.BasicAuth(url.username, url.password).auth_flow(request))
        return request

    def _read(self, url: httpx.URL, response: httpx.Response, max_bytes: int, *, cut: bool) -> bytes:
        import httpx

        chunks, size = [], 0
        try:
            for chunk in response.iter_bytes():
                chunks.append(chunk)
                size += len(chunk)
                if size > max_bytes:
                    if cut:
                        break
                    raise PlatformFailed(f"{shown(url)} is larger than {max_bytes} bytes")
        except httpx.DecodingError as problem:
            raise PlatformFailed(f"{shown(url)} cannot be read: {problem}") from problem
        except httpx.TransportError as problem:
            raise Unreachable(f"{shown(url)} broke off: {_words(problem)}") from problem
        return b"".join(chunks)[:max_bytes]


def _led_on(url: httpx.URL, location: str) -> httpx.URL:
    import httpx

    try:
        return checked_url(str(url.join(location)))
    except (httpx.InvalidURL, UnicodeError, UsageProblem):
        raise PlatformFailed(f"{shown(url)} leads on to what is no web address: {location[:200]!a}") from None


def _origin(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def _words(problem: Exception) -> str:
    return str(problem) or type(problem).__name__


def _content_type(header: str) -> tuple[str, str | None]:
    from email.message import Message

    parsed = Message()
    parsed["content-type"] = header
    return (parsed.get_content_type() if header else "", parsed.get_content_charset())


def _retry_after(header: str | None, now: datetime) -> float | None:
    """In seconds, also from a date."""
    seconds = retry_after_seconds(header)
    if seconds is not None or header is None:
        return seconds
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())
