"""The application by itself, where time is short: bodies that come slowly, and what a sender that hangs up leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from nova.api import app as served
from nova.api.app import Parts, application
from nova.api.departures import Departures
from nova.api.redirect import Redirects, is_person
from nova.bootstrap import Nova
from nova.clock import ManualClock
from nova.errors import Unreachable
from nova.people import subject_of_email
from nova.webhooks.endpoints import endpoints
from nova.webhooks.intake import Intake
from tests import signing
from workers.links import TrackedLinks

BODY = signing.stripe_event("evt_1")


def asked(nova: Nova, body: list[bytes], ends: str, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
    """Sends these parts; then it is complete, says nothing more, or hangs up."""
    parts = Parts(
        Intake(nova.ledger.store, nova.clock, nova.alerts.send),
        lambda: endpoints(nova.settings, (), {}),
        Redirects(nova.ledger.links, nova.clock, nova.settings.nova_home),
    )
    path = "/webhooks/stripe"
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()], "root_path": "",
    }  # fmt: skip
    coming = [{"type": "http.request", "body": part, "more_body": True} for part in body]
    said: list[Any] = []

    async def receive() -> Any:
        if coming:
            return coming.pop(0)
        if ends == "silent":
            await asyncio.sleep(60)
        return {"type": "http.disconnect"} if ends == "gone" else {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        said.append(message)

    async def call() -> None:
        await application(parts)(scope, receive, send)
        await parts.intake.drained()

    asyncio.run(call())
    return said[0]["status"], {name.decode(): value.decode() for name, value in said[0]["headers"]}


@pytest.fixture
def grouped(open_nova: Callable[..., Nova]) -> Nova:
    return open_nova(grouped=True)


def test_a_body_in_parts_is_one(grouped: Nova, clock: ManualClock) -> None:
    headers = signing.by_stripe(BODY, clock.now().timestamp())
    assert asked(grouped, [BODY[:5], b"", BODY[5:]], "complete", headers)[0] == 200
    assert grouped.ledger.deliveries.find("stripe", "evt_1").body == BODY


def test_a_body_that_drips_is_not_waited_for(
    grouped: Nova, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "BODY_S", 0.02)
    status, headers = asked(grouped, [BODY[:5]], "silent", signing.by_stripe(BODY, clock.now().timestamp()))
    assert (status, headers["connection"]) == (408, "close")
    assert grouped.ledger.deliveries.counts() == []


def test_of_a_body_that_was_cut_off_nothing_is_kept(grouped: Nova, clock: ManualClock) -> None:
    assert asked(grouped, [BODY[:5]], "gone", signing.by_stripe(BODY, clock.now().timestamp()))[0] == 400
    assert grouped.ledger.deliveries.counts() == []


def test_a_body_grows_no_further_than_it_may(grouped: Nova) -> None:
    parts = [b"x" * 600_000] * 3
    assert asked(grouped, parts, "silent", {"content-length": "10"})[0] == 413
    for length in ("1000001", "9" * 30):
        assert asked(grouped, [], "silent", {"content-length": length})[0] == 413


def test_who_follows_a_link_is_led_on_though_it_cannot_be_written_down(
    grouped: Nova, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = grouped.ledger.links.make("mailer", "https://shop.example/")
    monkeypatch.setattr(grouped.ledger.links, "visited", _full)
    redirects = Redirects(grouped.ledger.links, clock, grouped.settings.nova_home)
    target = asyncio.run(redirects.target(link.slug, {}, {"user-agent": "Mozilla/5.0 Firefox/140.0"}, "GET"))
    assert target is not None and target.startswith("https://shop.example/")


def test_programs_are_no_people() -> None:
    browser = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1"
    assert is_person({"user-agent": browser})
    for agent in (
        "",
        "Mozilla/5.0 (compatible; bingbot/2.0)",
        "Slackbot-LinkExpanding 1.0",
        "python-requests/2",
        "curl/8",
    ):
        assert not is_person({"user-agent": agent})
    for header in ({"purpose": "prefetch"}, {"sec-purpose": "prefetch;prerender"}, {"x-moz": "prefetch"}):
        assert not is_person({"user-agent": browser, **header})


def test_a_reader_leaves_by_a_post_and_not_by_a_look(grouped: Nova, monkeypatch: pytest.MonkeyPatch) -> None:
    home = grouped.settings.nova_home
    subject = subject_of_email("ann@example.com")
    path = TrackedLinks(grouped.ledger, "", home).way_out(subject)
    parts = Parts(
        Intake(grouped.ledger.store, grouped.clock, grouped.alerts.send),
        lambda: endpoints(grouped.settings, (), {}),
        Redirects(grouped.ledger.links, grouped.clock, home),
        Departures(grouped.ledger.suppressions, home),
    )

    async def answers(method: str, path: str) -> tuple[int, str]:
        transport = httpx.ASGITransport(app=application(parts))
        async with httpx.AsyncClient(transport=transport, base_url="https://go.example") as browser:
            got = await browser.request(
                method, path, content="List-Unsubscribe=One-Click" if method == "POST" else None
            )
        return got.status_code, got.text

    code, page = asyncio.run(answers("GET", path))
    assert code == 200 and '<form method="post">' in page
    assert asyncio.run(answers("POST", path[:-2] + "xx"))[0] == 404
    assert grouped.ledger.suppressions.of([subject]) == {}
    assert asyncio.run(answers("POST", path))[0] == asyncio.run(answers("POST", path))[0] == 200
    assert grouped.ledger.suppressions.of([subject]) == {subject: "unsubscribe"}
    monkeypatch.setattr(grouped.ledger.suppressions, "add", _full)
    assert asyncio.run(answers("POST", path))[0] == 503  # mail programs ask again


def _full(*_: object) -> None:
    raise Unreachable("no space is left for the ledger")


def test_a_link_that_cannot_be_looked_up_now_is_asked_for_later(
    grouped: Nova, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(grouped.ledger.links, "get", _full)
    redirects = Redirects(grouped.ledger.links, grouped.clock, grouped.settings.nova_home)
    intake = Intake(grouped.ledger.store, grouped.clock, grouped.alerts.send)

    async def follow() -> httpx.Response:
        made = application(Parts(intake, lambda: endpoints(grouped.settings, (), {}), redirects))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=made), base_url="https://go.example") as browser:
            return await browser.get("/l/aaaaaaaaaaaa?s=secret")

    answer = asyncio.run(follow())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "no space" in str(vars(caplog.records[-1])) and "aaaaaaaaaaaa" not in str(vars(caplog.records[-1]))
