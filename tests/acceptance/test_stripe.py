"""Stripe by hand, with the real binary before an emulated Stripe."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nova.clock import SystemClock
from nova.demo.storefront import Storefront
from tests.emulators.stripe import Shop, ShopAccount

from .conftest import Home


@pytest.fixture
def account() -> ShopAccount:
    return ShopAccount(clock=SystemClock())


@pytest.fixture
def store(nova: Home, account: ShopAccount) -> Iterator[Storefront]:
    with Storefront(account, api=Shop) as found:
        nova.env |= {"STRIPE_API_KEY": found.key, "STRIPE_API_BASE": found.url}
        yield found


def test_stripe_by_hand(nova: Home, store: Storefront, account: ShopAccount) -> None:
    def ask(*words: str, code: int = 0) -> str:
        return nova.run("platforms", "stripe", *words, code=code).stdout

    made = nova.json("platforms", "stripe", "products", "create", "Weekly ✓", "--price", "9", "--every", "month")
    assert "$9.00 a month" in ask("products", "list")
    url = ask("link", "create", "--price", made["price"], "--worker", "mailer").strip()
    (link,) = nova.json("platforms", "stripe", "link", "list")["links"]
    assert (link["url"], link["worker"]) == (url, "mailer")
    account.buy(account.get(link["id"]))
    assert "is closed" in ask("link", "close", link["id"])
    assert "mailer" in ask("subscriptions", "list")
    (subscription,) = nova.json("platforms", "stripe", "subscriptions", "list")["subscriptions"]
    nova.run("platforms", "stripe", "subscriptions", "cancel", subscription["id"], code=2)
    assert "ends" in ask("subscriptions", "cancel", subscription["id"], "--yes")
    assert "goes on" in ask("subscriptions", "resume", subscription["id"])
    assert "has ended" in ask("subscriptions", "cancel", subscription["id"], "--now", "--yes")
    assert "ada@example.com" in ask("customers")
    assert "paid" in ask("invoices", "--status", "paid")

    sale = store.sell("20.00", worker="mailer")
    nova.run("platforms", "stripe", "refund", sale.intent, "5.00", code=2)
    nova.run("platforms", "stripe", "refund", sale.intent, "21.00", "--yes", code=4)
    assert "$5.00 given back" in ask("refund", sale.intent, "5.00", "--yes")
    assert nova.json("platforms", "stripe", "refund", sale.intent, "--yes")["amount"] == "15.00"
    nova.run("platforms", "stripe", "refund", sale.intent, "--yes", code=4)
    shown = nova.json("platforms", "stripe", "payments", "show", sale.intent)
    assert [one["amount"] for one in shown["refunds"]] == ["15.00", "5.00"] and "secret" not in str(shown)
    assert sale.intent in ask("payments", "list") and "mailer" in ask("payments", "show", sale.intent)
    nova.run("platforms", "stripe", "payments", "show", "pi_none", code=3)

    for _ in range(2):
        store.dispute(store.sell("30.00"))
    first, second = (one["id"] for one in nova.json("platforms", "stripe", "disputes", "list")["disputes"])
    assert "needs_response" in ask("disputes", "answer", first, "delivered", "--draft")
    assert "won" in ask("disputes", "answer", first, "winning_evidence", "--yes")
    assert "lost" in ask("disputes", "close", second, "--yes")
    account.payout(500, "usd")
    assert "$5.00" in ask("payouts")
    (held,) = nova.json("platforms", "stripe", "balance")["balance"]
    assert held["currency"] == "USD" and held["available"] in ask("balance").replace("$", "")
    assert nova.run("audit", "log").stdout.count("stripe_refund") == 2


def test_without_its_key_stripe_is_not_configured(nova: Home) -> None:
    nova.run("platforms", "stripe", "balance", code=5)
