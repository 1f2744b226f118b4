"""Whatever a site answers: a page is read, a header understood or passed over, and no pause is below zero."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nova.errors import NovaError
from platforms import web_data, web_extract, web_robots, web_scraper
from platforms.base import retry_after_seconds

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PAGE = "http://shop.example/list"
MARKUP = [
    "<table>", "<tr>", "<td rowspan=9999 colspan=99999>", "<td rowspan=0>", "<a href='http://[x'>", "<a href='//'>",
    "<base href='http://['>", "<base href=''>", "<script type='application/ld+json'>", '{"@graph":[1,{}]}', "[[[",
    "</script>", "<link rel=next href='//'>", "<meta property='og:x' content>", "<br>", "&#0;&#xD800;", "<!--", "]]>",
    "<meta charset='x-user-defined'>", "\x00", "x", "<li class='a b'>",
]  # fmt: skip
ROBOTS = [
    "User-agent: *\n", "Crawl-delay: nan\n", "Crawl-delay: -1\n", "Crawl-delay: 1e400\n", "Request-rate: 0/0\n",
    "Request-rate: 1/0s\n", "Request-rate: 1/5 1200-9999\n", "Disallow: /%zz*$\n", "Disallow: *****$\n", "Allow:\n",
    "\x00", "Sitemap: http://[\n", "Crawl-delay: ١\n",
]  # fmt: skip
CHARSETS = [None, "utf-8", "utf-7", "nope", "base64", "rot13", "idna", "punycode", "utf-16", "\x00", "é"]
few = settings(max_examples=200)


@pytest.mark.filterwarnings("ignore::bs4.XMLParsedAsHTMLWarning")
@few
@given(
    st.lists(st.sampled_from(MARKUP), max_size=14).map(lambda some: "".join(some).encode()) | st.binary(max_size=80),
    st.sampled_from(CHARSETS),
)
def test_any_page_is_read(body: bytes, charset: str | None) -> None:
    page = web_extract.parse(body, charset)
    for found in web_data.links(page, PAGE):
        assert found.url.startswith(("http://", "https://"))
    web_data.json_ld(page), web_data.open_graph(page), web_data.next_page(page, PAGE)
    for table in web_data.tables(page):
        web_data.records_of(table)
    fields = {"name": web_extract.Selector.parse(".b"), "link": web_extract.Selector.parse("a@href")}
    json.dumps(web_extract.rows_of(page, PAGE, "li", fields))


@few
@given(st.text(max_size=30))
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("Wed, 21 Oct 2015 07:28:00 +9999999")
@example("nan")
@example("-1")
@example("9" * 400)
def test_any_header_is_understood_or_passed_over(header: str) -> None:
    for wait_s in (web_scraper._retry_after(header, NOW), retry_after_seconds(header)):
        assert wait_s is None or wait_s >= 0
    web_scraper._content_type(header)
    with contextlib.suppress(NovaError):
        assert web_scraper._led_on(httpx.URL(PAGE), header).scheme in ("http", "https")


@few
@given(st.lists(st.sampled_from(ROBOTS), max_size=6).map("".join) | st.text(max_size=60))
def test_any_robots_txt_allows_or_forbids(text: str) -> None:
    robots = web_robots.Robots("nova")
    with contextlib.suppress(web_robots.RobotsForbid):
        robots.check("o", f"{PAGE}?b=%zz", lambda origin: web_robots.RobotsAnswer(200, text), 0.0)
    assert robots.delay_s("o") >= 0
