"""Feeds that are sold: given to who bought one, by whichever way a feed reader tells its key, and to nobody else."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from nova.api.feeds import Feeds
from nova.clock import ManualClock
from nova.errors import Unreachable


class Desk:
    """Feeds of two deployments, and what was asked at Gumroad."""

    def __init__(self, home: Path, clock: ManualClock) -> None:
        self.asked: list[tuple[str, str]] = []
        self.good = {("prod", "GOOD")}
        self.down = False
        self.config: dict[str, Any] = {"feed": "pens.xml", "buyers": "gumroad:prod"}
        self.state, self.agent = "active", "scraper_agent"
        (home / "data").mkdir()
        (home / "data" / "pens.xml").write_text("<feed/>")
        (home / "data" / "keys.txt").write_text("k-one # Kim\n\nk-two\n")
        self.feeds = Feeds(self.deployments, self.is_good, home / "data", clock)

    def deployments(self) -> Mapping[str, Any]:
        return {"pens": SimpleNamespace(config=self.config, state=self.state, agent=self.agent)}

    def is_good(self, product: str, key: str) -> bool:
        self.asked.append((product, key))
        if self.down:
            raise Unreachable("gumroad cannot be reached")
        return (product, key) in self.good

    def get(self, path: str, **headers: str) -> httpx.Response:
        app = Starlette(routes=[Route("/feeds/{name}", self.feeds.answer)])

        async def call() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://nova") as client:
                return await client.get(path, headers=headers)

        return asyncio.run(call())


@pytest.fixture
def desk(home: Path, clock: ManualClock) -> Desk:
    return Desk(home, clock)


def test_a_good_key_gets_the_feed_by_any_way_to_tell_it(desk: Desk) -> None:
    basic = base64.b64encode(b"me:GOOD").decode()
    for answer in (
        desk.get("/feeds/pens?key=GOOD"),
        desk.get("/feeds/pens", authorization="Bearer GOOD"),
        desk.get("/feeds/pens", authorization=f"Basic {basic}"),
    ):
        assert (answer.status_code, answer.text) == (200, "<feed/>")
        assert answer.headers["content-type"].startswith("application/atom+xml")
    assert desk.asked == [("prod", "GOOD")], "what Gumroad said is remembered for a while"


def test_a_key_that_was_refunded_is_refused_after_a_while(desk: Desk, clock: ManualClock) -> None:
    assert desk.get("/feeds/pens?key=GOOD").status_code == 200
    desk.good.clear()
    clock.advance(601)
    assert desk.get("/feeds/pens?key=GOOD").status_code == 401


@pytest.mark.parametrize("query", ["", "?key=", "?key=BAD", f"?key={'x' * 5000}", "?key=%00"])
def test_nobody_else_gets_it(desk: Desk, query: str) -> None:
    answer = desk.get(f"/feeds/pens{query}")
    assert (answer.status_code, "feed/>" in answer.text) == (401, False)


def test_who_tries_many_keys_is_stopped_and_buyers_are_not(desk: Desk, clock: ManualClock) -> None:
    assert desk.get("/feeds/pens?key=GOOD").status_code == 200
    codes = [desk.get(f"/feeds/pens?key=guess{number}").status_code for number in range(40)]
    assert codes.count(429) >= 10
    assert len(desk.asked) <= 31
    assert desk.get("/feeds/pens?key=GOOD").status_code == 200
    clock.advance(61)
    assert desk.get("/feeds/pens?key=other").status_code == 401


def test_a_gumroad_that_cannot_be_asked_says_so(desk: Desk) -> None:
    desk.down = True
    answer = desk.get("/feeds/pens?key=GOOD")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")


def test_keys_may_stand_in_a_file(desk: Desk) -> None:
    desk.config["buyers"] = "keys:keys.txt"
    assert [desk.get(f"/feeds/pens?key={key}").status_code for key in ("k-one", "k-two", "Kim", "k")] == [
        200, 200, 401, 401,
    ]  # fmt: skip
    desk.config["buyers"] = "keys:missing.txt"
    assert desk.get("/feeds/pens?key=k-one").status_code == 401


def test_a_public_feed_asks_for_no_key_and_what_is_no_feed_is_not_there(desk: Desk) -> None:
    desk.config["buyers"] = "public"
    assert desk.get("/feeds/pens").status_code == 200
    assert desk.get("/feeds/other").status_code == 404
    desk.agent = "shell"
    assert desk.get("/feeds/pens").status_code == 404
    desk.state, desk.agent = "killed", "scraper_agent"
    assert desk.get("/feeds/pens").status_code == 404
    desk.state, desk.config["buyers"] = "active", None
    assert desk.get("/feeds/pens").status_code == 404
