"""What a person does with webhooks from the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nova.bootstrap import Nova
from nova.cli import app
from nova.clock import ManualClock, SystemClock, to_us
from nova.ledger.deliveries import Arrived
from nova.webhooks.processing import Processor
from tests.signing import as_json

Terminal = Callable[..., str]


@pytest.fixture
def terminal(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """Runs a command, which has to end with `code`, and returns what it said."""
    monkeypatch.setenv("SHOP_SECRET", "whsec_c2VjcmV0c2VjcmV0c2VjcmV0")

    def run(*words: str, code: int = 0) -> str:
        found = app.run(["webhooks", *words])
        told = capsys.readouterr()
        assert (found, "whsec_" in told.out + told.err) == (code, False), told.err
        return told.out + told.err

    return run


def test_a_dead_delivery_is_seen_mended_and_replayed(nova: Nova, terminal: Terminal, clock: ManualClock) -> None:
    declared = ("add", "shop", "--secret-env", "SHOP_SECRET", "--worker", "mailer")
    assert "/webhooks/shop" in terminal(*declared, "--amount-path", "sum")
    body = as_json({"id": "o-1", "total": "12.50", "by": "é\x1b[31m"})
    nova.ledger.deliveries.keep([Arrived("shop", f"msg_{n}", to_us(nova.clock.now()), None, body) for n in (1, 2)])
    Processor(nova).step()
    rows = json.loads(terminal("dead", "--json"))["dead"]
    assert [row["id"] for row in rows] == ["msg_1", "msg_2"] and "no amount stands at sum" in rows[0]["error"]
    shown = terminal("show", "shop", "msg_1")
    assert "12.50" in shown and "\x1b" not in shown
    terminal("show", "shop", "msg_", code=3)
    terminal("replay", "nobody", code=3)
    terminal(*declared, "--amount-path", "total")
    assert "2 deliveries will be looked into again" in terminal("replay", "shop")
    clock.set(SystemClock().now())  # which is the command's
    Processor(nova).step()
    assert "nothing is dead" in terminal("dead")
    shop = next(row for row in json.loads(terminal("list", "--json"))["webhooks"] if row["name"] == "shop")
    assert (shop["waiting"], shop["done"], shop["dead"], shop["ready"]) == (0, 2, 0, True)
    assert "shop" in terminal("list") and len(nova.ledger.entries.of_object("webhook:shop", "o-1")) == 1
    [replayed] = [row for row in nova.ledger.audit.log() if row.action == "webhook_replayed"]
    assert replayed.subject == "shop" and "msg_2" in str(replayed.detail)
    assert "taken no longer" in terminal("remove", "shop")
    terminal("remove", "shop", code=3)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("stripe", "--secret-env", "SHOP_SECRET"), "an endpoint of its own"),
        (("shop", "--secret-env", "not a name"), "not"),
        (("shop", "--secret-env", "SHOP_SECRET", "--scheme", "md5"), "standard or hmac-sha256"),
        (("shop", "--secret-env", "SHOP_SECRET", "--header", "X: y"), "fixed"),
        (("../x", "--secret-env", "SHOP_SECRET"), "name"),
        (("shop", "--secret-env", "SHOP_SECRET", "--amount-path", "a..b"), "not a path"),
        (("shop", "--secret-env", "SHOP_SECRET", "--currency", "euro"), "not a currency"),
    ],
)
def test_what_is_wrong_is_told_in_words(words: tuple[str, ...], reason: str, nova: Nova, terminal: Terminal) -> None:
    assert reason in terminal("add", *words, code=2)
    assert nova.fleet.snapshot().webhooks == ()
