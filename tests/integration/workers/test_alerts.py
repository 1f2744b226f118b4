"""What people are told: every alert of the issue really arrives, and no secret of its address is written anywhere."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from nova.bootstrap import Nova, build
from nova.config import load_settings
from nova.fleet.documents import BudgetLimit, Declaration
from nova.ledger.entries import Entry
from nova.ledger.runs import RunRecord, import_runs
from nova.money import Money
from workers.control import running_managers, start_background, stop

from .conftest import until

SECRETS = ("hunter2", "SECRETPATH", "sk_test_secret")
SPEND = """echo '{"nova":"spend","amount":"0.03"}'"""


class Inbox(list[str]):
    """The titles that arrived at a server on loopback."""

    def __init__(self) -> None:
        super().__init__()
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                inbox.append(json.loads(body)["title"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://me:hunter2@127.0.0.1:{self.server.server_port}/SECRETPATH"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self._thread.start()

    def has(self, *words: str) -> bool:
        return any(all(word in title for word in words) for title in self)

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    opened = Inbox()
    yield opened
    opened.close()


@pytest.fixture
def nova(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nova]:
    settings = {
        "NOVA_ALERT_URLS": inbox.url, "WORKER_MAX_CRASHES": "1", "WORKER_CRASH_COOLDOWN": "1",
        "AUTONOMOUS_ENABLED": "true", "MAX_DAILY_BUDGET": "5000",
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    nova = build(load_settings())
    yield nova
    stop(nova.settings, 5.0)
    nova.close()


def shell(nova: Nova, name: str, command: str, **more: Any) -> None:
    nova.fleet.deploy(Declaration(name, "d", "shell", config={"command": command}, **{"every_s": 0.2, **more}))


def winner(nova: Nova) -> None:
    """Whose next step up costs more than fifty dollars a day."""
    now, usd = datetime.now(UTC), lambda text: Money.parse(text, "USD")
    starts = [now - timedelta(hours=hours) for hours in range(1, 169)]
    runs = [RunRecord(f"r{at}", "big", "big#1", at, at + timedelta(seconds=1), "succeeded") for at in starts]
    nova.ledger.apply(lambda conn: import_runs(conn, runs))
    money = [("cost", "5.00"), ("revenue", "40.00")]
    nova.ledger.entries.record(
        [Entry(f"{kind}{at}", "history", kind, usd(amount), at, "big") for at in starts for kind, amount in money]
    )
    shell(nova, "big", "true", every_s=3600.0)


def written(home: Path) -> str:
    files = [path for path in home.rglob("*") if path.is_file() and path.suffix not in (".db-wal", ".db-shm")]
    return "".join(path.read_text(errors="replace") for path in files)


def test_parked_budgets_approvals_and_a_dead_manager_are_told(nova: Nova, inbox: Inbox, home: Path) -> None:
    shell(nova, "bad", "exit 3")
    shell(nova, "hog", SPEND, budget=(BudgetLimit("day", Money.parse("0.05", "USD")),))
    winner(nova)
    pid = start_background(nova.settings, with_autonomous="1s")
    for words in (("bad", "is cooling down"), ("bad", "is parked"), ("hog", "paused by its budget"), ("big", "waits")):
        until(lambda words=words: inbox.has(*words), " ".join(words))
    os.kill(pid, signal.SIGKILL)
    until(lambda: not running_managers(nova.settings), "it is dead")
    assert not inbox.has("restarted")
    start_background(nova.settings)
    until(lambda: inbox.has("the manager was restarted"), "restarted")
    stop(nova.settings, 5.0)
    assert not any(secret in written(home) for secret in SECRETS)


def test_revenue_that_becomes_stale_is_told_without_a_cycle(
    nova: Nova, inbox: Inbox, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTONOMOUS_ENABLED", "false")
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_secret")
    monkeypatch.setenv("STRIPE_API_BASE", "http://127.0.0.1:9")  # where nothing listens
    start_background(nova.settings)
    until(lambda: inbox.has("revenue is stale: stripe"), "stale", 30.0)  # once all attempts were made
    stop(nova.settings, 5.0)
    assert not any(secret in written(home) for secret in SECRETS)


def test_people_who_cannot_be_reached_hold_up_nothing(
    nova: Nova, monkeypatch: pytest.MonkeyPatch, inbox: Inbox
) -> None:
    monkeypatch.setenv("NOVA_ALERT_URLS", "json://127.0.0.1:9")
    shell(nova, "bad", "exit 3")
    shell(nova, "good", "true", every_s=0.05)
    start_background(nova.settings)
    until(lambda: nova.fleet.get("bad").state == "parked", "parked")
    count = nova.ledger.runs.totals()["good"].succeeded
    until(lambda: nova.ledger.runs.totals()["good"].succeeded > count + 10, "the loop goes on")
    assert stop(nova.settings, 10.0).killed == ()
