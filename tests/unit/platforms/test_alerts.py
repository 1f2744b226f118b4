"""Alerts reach a real listener, say a thing once, and never stand in the way."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from nova.clock import ManualClock
from platforms.alerts_integration import Alerts

# apprise brings modules that this Python calls old.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


class Listener:
    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.gate = threading.Event()
        self.gate.set()
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                listener.gate.wait(10)
                listener.heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Silent."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://127.0.0.1:{self.server.server_address[1]}/secret-token"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()


@pytest.fixture
def listener() -> Iterator[Listener]:
    opened = Listener()
    yield opened
    opened.gate.set()
    opened.server.shutdown()
    opened.thread.join()
    opened.server.server_close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 5, 1, tzinfo=UTC))


def test_an_alert_arrives(listener: Listener, clock: ManualClock) -> None:
    alerts = Alerts([listener.url], clock)
    assert alerts.send("worker_parked", "mailer is parked", "five crashes")
    assert alerts.close(10)
    assert [(told["title"], told["message"]) for told in listener.heard] == [("nova: mailer is parked", "five crashes")]


def test_the_same_is_not_said_twice_in_ten_minutes(listener: Listener, clock: ManualClock) -> None:
    alerts = Alerts([listener.url], clock)
    assert alerts.send("budget", "mailer spent all", "1", key="budget:mailer")
    assert not alerts.send("budget", "mailer spent all!", "2", key="budget:mailer")
    assert alerts.send("budget", "shop spent all", "3", key="budget:shop")
    clock.advance(601)
    assert alerts.send("budget", "mailer spent all", "4", key="budget:mailer")
    alerts.close(10)
    assert [told["message"] for told in listener.heard] == ["1", "3", "4"]


def test_a_slow_listener_delays_nobody(listener: Listener, clock: ManualClock) -> None:
    listener.gate.clear()
    alerts = Alerts([listener.url], clock)
    taken = [alerts.send("event", f"title {n}", "body") for n in range(400)]
    assert taken[0] and not taken[-1]
    assert not alerts.close(0.05)
    assert not alerts.send("event", "after closing", "body")


@pytest.mark.parametrize("url", ["json://127.0.0.1:9/secret-token", "nonsense://secret-token", "secret-token"])
def test_what_cannot_be_sent_raises_nothing_and_shows_no_secret(
    url: str, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    alerts = Alerts([url], clock)
    alerts.send("event", "title", "body")
    assert alerts.close(20)
    assert any(record.message == "alert_failed" for record in caplog.records)
    ours = [record for record in caplog.records if record.name.startswith(("platforms", "apprise"))]
    assert "secret-token" not in "".join(f"{record.getMessage()} {record.__dict__}" for record in ours)


def test_without_urls_nothing_happens() -> None:
    alerts = Alerts([])
    assert not alerts.send("event", "title", "body")
    assert alerts.close()
