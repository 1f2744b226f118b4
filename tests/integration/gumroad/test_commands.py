"""What a person does with Gumroad from the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nova.cli import app
from nova.clock import SystemClock
from tests.emulators.gumroad import Gumroad
from tests.emulators.gumroad_shop import Shop

Nova = Callable[..., str]
SECRET = "0123456789abcdef0123456789"


@pytest.fixture
def shop() -> Shop:
    return Shop(SystemClock().now)


@pytest.fixture
def nova(home: Path, server: Gumroad, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nova:
    """Runs a command, which has to end with `code`, and returns what it said."""
    monkeypatch.setenv("GUMROAD_ACCESS_TOKEN", server.token)
    monkeypatch.setenv("GUMROAD_API_BASE", server.url)
    monkeypatch.setenv("GUMROAD_WEBHOOK_SECRET", SECRET)

    def run(*words: str, code: int = 0) -> str:
        found = app.run(list(words))
        told = capsys.readouterr()
        assert found == code, f"nova {' '.join(words)}: exit {found}\n{told.out}\n{told.err}"
        assert server.token not in told.out + told.err and SECRET not in told.out + told.err
        return told.out if code in (0, 4) else told.err

    return run


def test_gumroad_by_hand(nova: Nova, shop: Shop) -> None:
    def ask(*words: str, code: int = 0) -> str:
        return nova("platforms", "gumroad", *words, code=code)

    guide, club = shop.product("Guide ✓", 1000, "eur"), shop.product("Club", 500, recurrence="monthly")
    sale = shop.sell(guide, url_params={"nova_worker": "mailer"})
    shop.subscribe(club, email="bob@example.com")
    assert "answers; account Ada's shop" in nova("platforms", "check", "gumroad")
    assert "Guide ✓" in ask("products")
    assert "12.00 EUR, before 10.00 EUR" in ask("price", guide.permalink, "12")
    assert "not published" in ask("unpublish", guide.id) and "is published" in ask("publish", guide.id)
    assert "20%" in ask("codes", guide.id, "--add", "SPRING", "--off", "20%")
    assert "SPRING" not in ask("codes", guide.id, "--remove", "SPRING")
    assert "mailer" in ask("sales", "--product", guide.id)
    assert "bob@example.com" in ask("subscribers", club.id)
    assert "good; used 0 times" in ask("license", guide.id, sale.key)
    ask("license", guide.id, "nonsense", code=3)
    ask("refund", sale.id, code=2)
    assert "left to give" in ask("refund", sale.id, "2.50", "--yes")
    assert json.loads(ask("refund", sale.id, "--yes", "--json"))["refundable"] == "0.00 EUR"
    assert "not good" in ask("license", guide.id, sale.key, code=4)
    rows = json.loads(ask("revenue", "--json"))["products"]
    assert [(row["name"], row["gross"], row["refunds"]) for row in rows] == [
        ("Club", "5.00", "0.00"), ("Guide ✓", "11.11", "11.11"),
    ]  # fmt: skip
    told = nova("audit", "log")
    assert told.count("gumroad_refund") == 2 and "gumroad_price" in told
    assert "gumroad_code_added" in told and "gumroad_code_removed" in told


def test_an_address_for_pings_is_declared_and_its_secret_shown_nowhere(nova: Nova, shop: Shop) -> None:
    address = f"https://nova.example/webhooks/gumroad/{SECRET}"
    told = nova("platforms", "gumroad", "hooks", "--add", address, "--on", "sale", "--on", "refund")
    assert nova("audit", "log").count("gumroad_hook_added") == 2
    assert "refund" in told and len(shop.hooks) == 2 and shop.hooks[0]["post_url"] == address
