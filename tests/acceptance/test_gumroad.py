"""Gumroad by hand and in the ledger, with the real binary before an emulated Gumroad."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from nova.clock import SystemClock
from tests.emulators.gumroad import Gumroad
from tests.emulators.gumroad_shop import Shop

from .conftest import Home


@pytest.fixture
def shop() -> Shop:
    return Shop(SystemClock().now)


@pytest.fixture
def gumroad(nova: Home, shop: Shop) -> Iterator[Gumroad]:
    with Gumroad(shop) as found:
        nova.env |= {"GUMROAD_ACCESS_TOKEN": found.token, "GUMROAD_API_BASE": found.url}
        yield found


def test_gumroad_by_hand(nova: Home, shop: Shop, gumroad: Gumroad) -> None:
    def ask(*words: str, code: int = 0) -> str:
        return nova.run("platforms", "gumroad", *words, code=code).stdout

    guide, club = shop.product("Guide ✓", 1000, "eur"), shop.product("Club", 500, recurrence="monthly")
    sale = shop.sell(guide, url_params={"nova_worker": "mailer"})
    shop.subscribe(club, email="bob@example.com")
    assert "answers; account Ada's shop" in nova.run("platforms", "check", "gumroad").stdout
    assert "Guide ✓" in ask("products")
    assert "€12.00" in ask("price", guide.permalink, "12") or "12.00 EUR" in ask("price", guide.permalink, "12")
    assert "not published" in ask("unpublish", guide.id) and "is published" in ask("publish", guide.id)
    assert "20%" in ask("codes", guide.id, "--add", "SPRING", "--off", "20%")
    assert "SPRING" not in ask("codes", guide.id, "--remove", "SPRING")
    assert "mailer" in ask("sales", "--product", guide.id)
    assert "bob@example.com" in ask("subscribers", club.id)
    assert "good; used 0 times" in ask("license", guide.id, sale.key)
    nova.run("platforms", "gumroad", "license", guide.id, "nonsense", code=3)
    nova.run("platforms", "gumroad", "refund", sale.id, code=2)
    assert "left to give" in ask("refund", sale.id, "--amount", "2.50", "--yes")
    assert nova.json("platforms", "gumroad", "refund", sale.id, "--yes")["refundable"] == "0.00 EUR"
    assert "not good" in ask("license", guide.id, sale.key, code=4)
    nova.env["GUMROAD_WEBHOOK_SECRET"] = "0123456789abcdef0123456789"
    address = "https://nova.example/webhooks/gumroad/0123456789abcdef0123456789"
    told = ask("hooks", "--add", address, "--on", "sale", "--on", "refund")
    assert "refund" in told and "0123456789abcdef" not in told and shop.hooks[0]["post_url"] == address
    assert len(shop.hooks) == 2
    rows = nova.json("platforms", "gumroad", "revenue")["products"]
    assert [(row["name"], row["gross"], row["refunds"]) for row in rows] == [
        ("Club", "5.00", "0.00"), ("Guide ✓", "11.11", "11.11"),
    ]  # fmt: skip
    told = nova.run("audit", "log").stdout
    assert told.count("gumroad_refund") == 2 and "gumroad_price" in told


def test_what_gumroad_took_is_synced_and_reconciled(nova: Home, shop: Shop, gumroad: Gumroad) -> None:
    nova.deploy("mailer", "true", "--every", "1h")
    guide = shop.product("Guide")
    mine, other = shop.sell(guide, url_params={"nova_worker": "mailer"}), shop.sell(guide)
    nova.run("revenue", "reconcile", "gumroad", code=1)
    (row,) = nova.json("revenue", "sync")["sources"]
    assert (row["source"], row["new"], row["attributed"]) == ("gumroad", 2, 1)
    shop.refund(other, 100)
    assert nova.json("revenue", "sync", "gumroad")["sources"][0]["refunds"] == "1.00"
    assert nova.json("revenue", "reconcile", "gumroad")["ok"] is True
    assert nova.json("ledger", "verify")["ok"]
    lines = [json.loads(text) for text in nova.run("ledger", "export").stdout.splitlines()]
    assert mine.id in {line.get("object") for line in lines}
    gumroad.token = "another"
    refused = nova.run("revenue", "sync", "gumroad", code=5)
    assert "gumroad-emulated" not in refused.stdout + refused.stderr
