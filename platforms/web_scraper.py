"""Pages of the web, fetched with manners: robots.txt, pauses, limits, and no way into private networks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING

from nova.errors import NovaError, Unreachable, UsageProblem
from platforms.base import PlatformFailed, RateLimited, retry_after_seconds
from platforms.web_address import AddressRefused, Resolve, permitted, resolve
from platforms.web_robots import MOST_BYTES, Pace, Robots, RobotsAnswer, RobotsForbid

if TYPE_CHECKING:
    import httpx
    from tenacity import RetryCallState

__all__ = ["PROBLEMS", "AddressRefused", "FetchStopped", "Manners", "Page", "RobotsForbid", "WebScraper", "checked_url"]

log = logging.getLogger(__name__)

# What a single page can fail with: the next one may be better.
PROBLEMS = (AddressRefused, RobotsForbid, PlatformFailed, Unreachable)

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({429, 500, 502, 503, 504})
_PACE = Pace()


class FetchStopped(NovaError):
    """The fetch was given up because its run is to end."""


@dataclass(frozen=True, slots=True)
class Manners:
    """`delay_s` lies between two requests to a host; the site's own robots.txt may ask for more.

    `timeout_s` bounds each wait for the server, `total_s` a whole answer, `longest_wait_s` any single pause.
    """

    agent: str = "nova-scraper"
    delay_s: float = 1.0
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


class _Passing(Unreachable):
    """A failure that may pass."""

    def __init__(self, message: str, *, busy: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.busy = busy
        self.retry_after_s = retry_after_s


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


class WebScraper:
    """Serves one thread at a time. Where `sleep` returns true, waiting has become pointless: FetchStopped is raised."""

    def __init__(
        self,
        manners: Manners | None = None,
        *,
        sleep: Callable[[float], object] = time.sleep,
        resolver: Resolve = resolve,
        pace: Pace = _PACE,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.manners = manners or Manners()
        self.sleep = sleep
        self._resolver = resolver
        self._pace = pace
        self._monotonic = monotonic
        self._now = now
        self._robots = Robots(self.manners.agent.partition("/")[0], self._ask_robots, monotonic)

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
        if "_client" in self.__dict__:
            self._client.close()

    def __enter__(self) -> WebScraper:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def _client(self) -> httpx.Client:
        """Connects to addresses that were checked, past any proxy. So nothing that belongs to a host's name is kept
        between requests: neither connections nor cookies."""
        import httpx

        return httpx.Client(
            headers={"User-Agent": self.manners.agent, "Accept": "text/html,application/xhtml+xml,*/*;q=0.5"},
            timeout=self.manners.timeout_s,
            limits=httpx.Limits(max_keepalive_connections=0),
            verify=httpx.create_ssl_context(),
            trust_env=False,
        )

    def _ask_robots(self, origin: str) -> RobotsAnswer:
        """What is longer than a robots.txt may be is read as far as it may be."""
        try:
            answer = self._follow(checked_url(f"{origin}/robots.txt"), {}, MOST_BYTES, robots=False)
        except _Passing as problem:
            if problem.busy:
                return RobotsAnswer(503, "")
            raise
        return RobotsAnswer(answer.status, answer.body.decode("utf-8", "replace"))

    def _follow(self, url: httpx.URL, headers: dict[str, str], max_bytes: int, *, robots: bool) -> _Answer:
        """Every step is checked like the first."""
        for _ in range(self.manners.max_redirects + 1):
            if robots:
                self._may(url)
            answer = self._patiently(url, headers, max_bytes, cut=not robots)
            if not answer.redirected:
                return answer
            url = checked_url(str(url.join(answer.headers["location"])))
        raise PlatformFailed(f"{shown(url)} is the end of more than {self.manners.max_redirects} redirects")

    def _may(self, url: httpx.URL) -> None:
        self._robots.check(_origin(url), shown(url))

    def _patiently(self, url: httpx.URL, headers: dict[str, str], max_bytes: int, *, cut: bool) -> _Answer:
        from tenacity import Retrying, retry_if_exception_type

        attempts, longest_s, first_s = self.manners.attempts, self.manners.longest_wait_s, self.manners.first_retry_s

        def wait(state: RetryCallState) -> float:
            problem = state.outcome.exception() if state.outcome is not None else None
            asked = problem.retry_after_s if isinstance(problem, _Passing) else None
            return first_s * 2 ** (state.attempt_number - 1) if asked is None else asked

        def stop(state: RetryCallState) -> bool:
            return state.attempt_number >= attempts or wait(state) > longest_s

        def ask() -> _Answer:
            return self._ask(url, headers, max_bytes, cut=cut)

        retrying = Retrying(
            retry=retry_if_exception_type(_Passing), wait=wait, stop=stop, sleep=self._wait, reraise=True
        )
        try:
            found: _Answer = retrying(ask)
        except _Passing as problem:
            if problem.retry_after_s is not None and not cut:
                raise RateLimited(problem.message, retry_after_s=problem.retry_after_s) from problem
            raise
        return found

    def _ask(self, url: httpx.URL, headers: dict[str, str], max_bytes: int, *, cut: bool) -> _Answer:
        """One request. `cut` takes the beginning of what is longer than `max_bytes`, which is refused otherwise."""
        self._take_turn(url, with_robots=not cut)
        with self._opened(url, headers) as response:
            if response.status_code in _PASSING:
                after = _retry_after(response.headers.get("retry-after"), self._now())
                raise _Passing(f"{shown(url)} answered {response.status_code}", busy=True, retry_after_s=after)
            body = b"" if response.status_code in _REDIRECTS else self._read(url, response, max_bytes, cut=cut)
            return _Answer(url, response.status_code, response.headers, body)

    def _take_turn(self, url: httpx.URL, *, with_robots: bool) -> None:
        asked_s = self._robots.delay_s(_origin(url)) if with_robots else 0.0
        wait_s = self._pace.take(url.host, max(self.manners.delay_s, asked_s), self.manners.longest_wait_s)
        if wait_s is None:
            raise RateLimited(f"{url.host} wants to be asked less often than every {self.manners.longest_wait_s:g} s")
        if wait_s > 0:
            self._wait(wait_s)

    def _wait(self, seconds: float) -> None:
        if self.sleep(seconds):
            raise FetchStopped

    @contextmanager
    def _opened(self, url: httpx.URL, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """Tries the host's addresses in turn; the name still stands in the request and for its certificate."""
        import httpx

        port = url.port or (443 if url.scheme == "https" else 80)
        addresses = permitted(url.host, port, allow_private=self.manners.allow_private, resolver=self._resolver)
        if not addresses:
            raise Unreachable(f"the host {url.host} has no address")
        for address in addresses:
            last = address == addresses[-1]
            self._client.cookies.clear()
            request = self._client.build_request(
                "GET",
                url.copy_with(host=address, fragment=None),
                headers={**headers, "Host": url.netloc.decode("ascii")},
                extensions={"sni_hostname": url.raw_host.decode("ascii")},
            )
            try:
                response = self._client.send(request, stream=True)
            except httpx.ConnectError as problem:
                if not last:
                    continue
                raise _Passing(f"{shown(url)} cannot be reached: {problem}") from problem
            except httpx.TransportError as problem:
                raise _Passing(f"{shown(url)} cannot be reached: {_words(problem)}") from problem
            try:
                yield response
            finally:
                response.close()
            return

    def _read(self, url: httpx.URL, response: httpx.Response, max_bytes: int, *, cut: bool) -> bytes:
        import httpx

        until = self._monotonic() + self.manners.total_s
        chunks, size = [], 0
        try:
            for chunk in response.iter_bytes(65_536):
                chunks.append(chunk)
                size += len(chunk)
                if size > max_bytes:
                    if cut:
                        break
                    raise PlatformFailed(f"{shown(url)} is larger than {max_bytes} bytes")
                if self._monotonic() > until:
                    raise _Passing(f"{shown(url)} took longer than {self.manners.total_s:g} s")
        except httpx.DecodingError as problem:
            raise PlatformFailed(f"{shown(url)} cannot be read: {problem}") from problem
        except httpx.TransportError as problem:
            raise _Passing(f"{shown(url)} broke off: {_words(problem)}") from problem
        return b"".join(chunks)[:max_bytes]


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
