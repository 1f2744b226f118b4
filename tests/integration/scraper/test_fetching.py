from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from nova.errors import Unreachable, UsageProblem
from platforms.base import PlatformFailed, RateLimited
from platforms.connections import Connections
from platforms.line import Stopped
from platforms.web_scraper import AddressRefused, Manners, RobotsForbid, WebScraper
from tests.hands import QuickHands

Make = Callable[..., WebScraper]


def answer(body: bytes | str = "", status: int = 200, **headers: str) -> dict[str, Any]:
    return {
        "body": body,
        "status": status,
        "headers": {name.replace("_", "-"): value for name, value in headers.items()},
    }


def test_a_page_comes_with_what_tells_its_next_version(site: Any, scraper: Make) -> None:
    site.pages["/a"] = answer("<p>hello</p>", ETag='"1"', Content_Type="text/html; charset=latin-1")
    page = scraper().fetch(site.url("/a"))
    assert page is not None
    assert (page.body, page.charset, page.etag) == (b"<p>hello</p>", "latin-1", '"1"')
    assert site.asked[-1][1]["host"] == f"127.0.0.1:{site.port}"
    assert site.asked[-1][1]["user-agent"] == "nova-scraper"


def test_an_unchanged_page_is_none(site: Any, scraper: Make) -> None:
    site.pages["/a"] = lambda headers: answer(status=304) if headers.get("if-none-match") == '"1"' else answer("x")
    assert scraper().fetch(site.url("/a"), etag='"1"') is None
    assert scraper().fetch(site.url("/a"), etag='"0"') is not None


def test_robots_are_asked_once_and_obeyed(site: Any, scraper: Make) -> None:
    site.pages["/robots.txt"] = answer("User-agent: *\nDisallow: /private\n", Content_Type="text/plain")
    site.pages["/a"] = site.pages["/private"] = answer("x")
    web = scraper()
    web.fetch(site.url("/a"))
    with pytest.raises(RobotsForbid):
        web.fetch(site.url("/private"))
    assert site.paths() == ["/robots.txt", "/a"]


def test_robots_for_this_agent_win_over_those_for_all(site: Any, scraper: Make) -> None:
    site.pages["/robots.txt"] = answer("User-agent: *\nDisallow: /\n\nUser-agent: nova-scraper\nAllow: /\n")
    site.pages["/a"] = answer("x")
    assert scraper(agent="nova-scraper/1.0 (+https://example.com)").fetch(site.url("/a")) is not None


@pytest.mark.parametrize("status", [500, 503, 429])
def test_robots_that_cannot_be_had_forbid_everything(status: int, site: Any, scraper: Make) -> None:
    site.pages["/robots.txt"] = answer(status=status)
    site.pages["/a"] = answer("x")
    with pytest.raises(RobotsForbid, match="answered"):
        scraper(attempts=2).fetch(site.url("/a"))
    assert "/a" not in site.paths()


@pytest.mark.parametrize("status", [401, 403, 404])
def test_robots_that_are_not_there_forbid_nothing(status: int, site: Any, scraper: Make) -> None:
    site.pages["/robots.txt"] = answer(status=status)
    site.pages["/a"] = answer("x")
    assert scraper().fetch(site.url("/a")) is not None


def test_the_pause_is_the_longer_of_ours_and_theirs(site: Any, scraper: Make, hands: QuickHands) -> None:
    site.pages["/robots.txt"] = answer("User-agent: *\nCrawl-delay: 7\n")
    site.pages["/a"] = answer("x")
    web = scraper(delay_s=2.0)
    for _ in range(3):
        web.fetch(site.url("/a"))
    assert hands.slept == [7.0, 7.0]


def test_a_site_that_wants_longer_pauses_than_we_wait_is_left_alone(site: Any, scraper: Make) -> None:
    site.pages["/robots.txt"] = answer("User-agent: *\nCrawl-delay: 3600\n")
    site.pages["/a"] = answer("x")
    with pytest.raises(RateLimited):
        scraper().fetch(site.url("/a"))


def test_what_may_pass_is_tried_again(site: Any, scraper: Make, hands: QuickHands) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    busy = answer(status=503, Retry_After="3")
    site.pages["/a"] = [answer(status=500), busy, answer(status=429, Retry_After=later), answer("x")]
    assert scraper().fetch(site.url("/a")) is not None
    assert 0.5 <= hands.slept[0] <= 1.0
    assert 3.0 <= hands.slept[1] <= 3.75
    assert 15 < hands.slept[2] <= 21


def test_a_longer_wait_than_ours_is_told_and_not_waited(site: Any, scraper: Make, hands: QuickHands) -> None:
    site.pages["/a"] = answer(status=429, Retry_After="3600")
    with pytest.raises(RateLimited) as refused:
        scraper().fetch(site.url("/a"))
    assert refused.value.retry_after_s == 3600 and hands.slept == []


def test_patience_ends(site: Any, scraper: Make) -> None:
    site.pages["/a"] = answer(status=500)
    with pytest.raises(Unreachable, match="answered 500"):
        scraper(attempts=3).fetch(site.url("/a"))
    assert site.paths().count("/a") == 3


def test_what_does_not_pass_is_not_tried_again(site: Any, scraper: Make) -> None:
    with pytest.raises(PlatformFailed, match="answered 404"):
        scraper().fetch(site.url("/gone"))
    assert site.paths().count("/gone") == 1


def test_a_page_that_is_too_large_is_refused(site: Any, scraper: Make) -> None:
    site.pages["/a"] = answer(b"x" * 300_000)
    with pytest.raises(PlatformFailed, match="larger than 100000"):
        scraper(max_bytes=100_000).fetch(site.url("/a"))


def test_what_is_no_page_is_refused(site: Any, scraper: Make) -> None:
    site.pages["/a"] = answer(b"%PDF", Content_Type="application/pdf")
    with pytest.raises(PlatformFailed, match="application/pdf"):
        scraper().fetch(site.url("/a"))


def test_redirects_are_followed_under_the_rules_of_where_they_lead(site: Any, scraper: Make) -> None:
    site.pages["/robots.txt"] = answer("User-agent: *\nDisallow: /private\n")
    site.pages["/a"] = answer(status=302, Location="/b")
    site.pages["/b"] = answer("x")
    page = scraper().fetch(site.url("/a"))
    assert page is not None and page.url == site.url("/b")
    site.pages["/a"] = answer(status=301, Location="/private")
    with pytest.raises(RobotsForbid):
        scraper().fetch(site.url("/a"))
    site.pages["/a"] = answer(status=302, Location="/a")
    with pytest.raises(PlatformFailed, match="redirects"):
        scraper().fetch(site.url("/a"))
    for nowhere in ("file:///etc/passwd", "http://[::1", "mailto:ann@example.com"):
        site.pages["/a"] = answer(status=302, Location=nowhere)
        with pytest.raises(PlatformFailed, match="no web address"):
            scraper().fetch(site.url("/a"))


def names(**known: str) -> Callable[[str, int], list[str]]:
    return lambda host, port: [known[host]]


def test_private_addresses_are_refused_by_what_the_name_resolves_to(site: Any, hands: QuickHands) -> None:
    web = WebScraper(resolver=names(intranet="127.0.0.1"), hands=hands)
    with web, pytest.raises(AddressRefused, match=r"127\.0\.0\.1"):
        web.fetch(site.url("/a", "intranet"))
    assert site.asked == []


def test_a_redirect_into_a_private_network_is_refused(site: Any, hands: QuickHands) -> None:
    site.pages["/a"] = answer(status=302, Location="http://metadata/latest")
    manners = Manners(allow_private=True, delay_s=0)
    where = names(public="127.0.0.1", metadata="169.254.169.254")
    web = WebScraper(manners, resolver=where, hands=hands)
    with web, pytest.raises(AddressRefused, match=r"169\.254\.169\.254"):
        web.fetch(site.url("/a", "public"))


def test_the_connection_goes_to_the_address_that_was_checked(site: Any, hands: QuickHands) -> None:
    """A second look-up of the name could give another one."""
    site.pages["/a"] = answer("x")
    looked_up: list[str] = []

    def resolver(host: str, port: int) -> list[str]:
        looked_up.append(host)
        return ["127.0.0.1"]

    with WebScraper(Manners(allow_private=True, delay_s=0), resolver=resolver, hands=hands) as web:
        page = web.fetch(site.url("/a", "only-here.invalid"))
    assert page is not None and page.url == site.url("/a", "only-here.invalid")
    assert looked_up == ["only-here.invalid"] * 2
    assert site.asked[-1][1]["host"] == f"only-here.invalid:{site.port}"


def test_no_cookie_goes_from_one_host_to_another_at_the_same_address(site: Any, hands: QuickHands) -> None:
    site.pages["/a"] = answer("x", Set_Cookie="session=secret; Path=/")
    resolver = names(one="127.0.0.1", two="127.0.0.1")
    with WebScraper(Manners(allow_private=True, delay_s=0), resolver=resolver, hands=hands) as web:
        web.fetch(site.url("/a", "one"))
        web.fetch(site.url("/a", "two"))
    assert all("cookie" not in headers for _, headers in site.asked)


def test_a_password_in_the_address_is_used_and_never_told(site: Any, scraper: Make) -> None:
    with pytest.raises(PlatformFailed) as refused:
        scraper().fetch(site.url("/a", "me:hunter2@127.0.0.1"))
    assert "hunter2" not in refused.value.message
    assert site.asked[-1][1]["authorization"].startswith("Basic ")


def test_a_run_that_is_to_end_does_not_wait(site: Any) -> None:
    site.pages["/a"] = answer(status=429, Retry_After="1")
    with WebScraper(Manners(allow_private=True), hands=QuickHands(ends=True)) as web, pytest.raises(Stopped):
        web.fetch(site.url("/a"))


def test_connections_are_kept_for_the_host_and_no_more_are_open_than_allowed(site: Any, hands: QuickHands) -> None:
    most, now, lock = [0], [0], threading.Lock()

    def slow(headers: dict[str, str]) -> dict[str, Any]:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        threading.Event().wait(0.02)
        with lock:
            now[0] -= 1
        return answer("x")

    site.pages |= {f"/{n}": slow for n in range(12)}
    web = WebScraper(Manners(allow_private=True, delay_s=0, per_host=3), hands=hands)
    with web, ThreadPoolExecutor(8) as pool:
        pages = list(pool.map(lambda n: web.fetch(site.url(f"/{n}")), range(12)))
    assert all(page is not None and page.body == b"x" for page in pages)
    assert most[0] <= 3
    assert site.paths().count("/robots.txt") == 1
    assert site.connections <= 4


def test_runs_of_a_process_share_what_robots_say_and_the_pace(site: Any, hands: QuickHands) -> None:
    site.pages["/a"] = answer("x")
    connections = Connections()
    for _ in range(2):
        with WebScraper(Manners(allow_private=True, delay_s=5), hands=hands, connections=connections) as web:
            web.fetch(site.url("/a"))
    connections.close()
    assert site.paths() == ["/robots.txt", "/a", "/a"]
    assert hands.slept == [5.0]


def test_a_server_that_is_not_there_is_unreachable(scraper: Make) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Unreachable, match="cannot be reached"):
        scraper(attempts=1).fetch(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    "address", ["", "example.com", "ftp://example.com/", "file:///etc/passwd", "http://", "http://[::1"]
)
def test_what_is_no_web_address_is_refused(address: str, scraper: Make) -> None:
    with pytest.raises(UsageProblem, match="not a web address"):
        scraper().fetch(address)


def dripping(head: bytes) -> int:
    """A port whose server, after `head`, sends a byte now and then until nobody listens any more."""
    server = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        with server:
            with server.accept()[0] as robots:
                robots.recv(65_536)
                robots.sendall(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            with server.accept()[0] as page, suppress(OSError):
                page.recv(65_536)
                page.sendall(head)
                while True:
                    page.sendall(b"x")
                    threading.Event().wait(0.05)

    threading.Thread(target=drip, daemon=True).start()
    return int(server.getsockname()[1])


DRIPS = pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nX-Long: ", b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9999\r\n\r\n"],
    ids=["head", "body"],
)


@DRIPS
def test_an_answer_that_drips_is_given_up(scraper: Make, head: bytes) -> None:
    with pytest.raises(Unreachable, match="too long"):
        scraper(total_s=0.3, attempts=1).fetch(f"http://127.0.0.1:{dripping(head)}/a")


@DRIPS
def test_an_answer_that_drips_holds_up_no_end(scraper: Make, hands: QuickHands, head: bytes) -> None:
    url = f"http://127.0.0.1:{dripping(head)}/a"
    threading.Timer(0.2, lambda: setattr(hands, "ends", True)).start()
    with pytest.raises(Stopped):
        scraper(attempts=1).fetch(url)
