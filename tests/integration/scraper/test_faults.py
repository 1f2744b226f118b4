"""What the scraper does when a site, or the way to it, fails: as any client, but that a page is no JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from platforms.base import PlatformFailed
from platforms.web_scraper import Manners, WebScraper
from tests.emulators.faults import FAULTS, Fault, Faulty, hold_reading, seconds_for
from tests.hands import QuickHands


def of_pages(fault: Fault) -> Fault:
    """What is refused is told with its status, and what is no page is refused at once."""
    if (fault.act == "answer" and fault.status < 429) or fault.act == "garbage":
        return replace(fault, raises=PlatformFailed, passing=False)
    return fault


@pytest.fixture
def faulty(site: Any) -> Iterator[Faulty]:
    site.pages |= {"/robots.txt": {"body": ""}, "/page": {"body": "<p>x</p>"}}
    with Faulty(site.url("")) as between:
        yield between


@pytest.mark.parametrize(
    "fault", [of_pages(fault) for fault in FAULTS if fault.act != "html"], ids=lambda fault: fault.name
)
def test_a_page_waits_out_what_passes(fault: Fault, faulty: Faulty, hands: QuickHands) -> None:
    timeout_s, total_s = seconds_for(fault)
    manners = Manners(allow_private=True, delay_s=0.0, timeout_s=timeout_s, total_s=total_s, attempts=2)
    page = f"{faulty.url.replace('//', '//ann:nevershown00@')}/page"
    with WebScraper(manners, hands=hands) as web:
        web.fetch(page)  # so that its robots.txt is known
        faulty.clear()
        hold_reading(fault, faulty, hands, lambda: web.fetch(page))
