"""Stripe by hand: the commands as they are typed, before an emulated Stripe."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nova.cli.app import run
from nova.clock import SystemClock
from nova.demo.storefront import Storefront
from tests.emulators.stripe import Shop, ShopAccount

Ask = Callable[..., str]


@pytest.fixture
def account() -> ShopAccount:
    return ShopAccount(clock=SystemClock())


@pytest.fixture
def store(account: ShopAccount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storefront]:
    with Storefront(account, api=Shop) as found:
        monkeypatch.setenv("NOVA_HOME", str(tmp_path))
        monkeypatch.setenv("STRIPE_API_KEY", found.key)
        monkeypatch.setenv("STRIPE_API_BASE", found.url)
        yield found


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Ask:
    """What a command printed; its exit code must be `code`."""

    def ask(*words: str, code: int = 0) -> str:
        got = run(list(words))
        out, err = capsys.readouterr()
        assert got == code, (words, err)
        return out

    return ask


@pytest.mark.parametrize(
    "words", ["payments list", "subscriptions list", "disputes list", "products list", "link list", "payouts"]
)
def test_an_empty_account_says_so_on_stderr_alone(
    store: Storefront, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    assert run(["platforms", "stripe", *words.split()]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "no such" in err or "nothing is on sale yet" in err


def test_stripe_by_hand(typed: Ask, store: Storefront, account: ShopAccount) -> None:
    def ask(*words: str, code: int = 0) -> str:
        return typed("platforms", "stripe", *words, code=code)

    def told(*words: str) -> Any:
        return json.loads(ask(*words, "--json"))

    made = told("products", "create", "Weekly ✓", "--price", "9", "--every", "month")
    assert "$9.00 a month" in ask("products", "list")
    url = ask("link", "create", "--price", made["price"], "--worker", "mailer").strip()
    (link,) = told("link", "list")["links"]
    assert (link["url"], link["worker"]) == (url, "mailer")
    account.buy(account.get(link["id"]))
    assert "is closed" in ask("link", "close", link["id"])
    assert "mailer" in ask("subscriptions", "list")
    (subscription,) = told("subscriptions", "list")["subscriptions"]
    ask("subscriptions", "cancel", subscription["id"], code=2)
    assert "ends" in ask("subscriptions", "cancel", subscription["id"], "--yes")
    assert "goes on" in ask("subscriptions", "resume", subscription["id"])
    assert "has ended" in ask("subscriptions", "cancel", subscription["id"], "--now", "--yes")
    assert "ada@example.com" in ask("customers")
    assert "paid" in ask("invoices", "--status", "paid")

    sale = store.sell("20.00", worker="mailer")
    ask("refund", sale.intent, "5.00", code=2)
    ask("refund", sale.intent, "21.00", "--yes", code=4)
    assert "$5.00 given back" in ask("refund", sale.intent, "5.00", "--yes")
    assert told("refund", sale.intent, "--yes")["amount"] == "15.00"
    ask("refund", sale.intent, "--yes", code=4)
    shown = told("payments", "show", sale.intent)
    assert [one["amount"] for one in shown["refunds"]] == ["15.00", "5.00"] and "secret" not in str(shown)
    assert sale.intent in ask("payments", "list") and "mailer" in ask("payments", "show", sale.intent)
    ask("payments", "show", "pi_none", code=3)

    for _ in range(2):
        store.dispute(store.sell("30.00"))
    first, second = (one["id"] for one in told("disputes", "list")["disputes"])
    assert "needs_response" in ask("disputes", "answer", first, "delivered", "--draft")
    assert "won" in ask("disputes", "answer", first, "winning_evidence", "--yes")
    assert "lost" in ask("disputes", "close", second, "--yes")
    account.payout(500, "usd")
    assert "$5.00" in ask("payouts")
    (held,) = told("balance")["balance"]
    assert held["currency"] == "USD" and held["available"] in ask("balance").replace("$", "")
    assert typed("audit", "log").count("stripe_refund") == 2


def test_without_its_key_stripe_is_not_configured(
    typed: Ask, store: Storefront, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STRIPE_API_KEY")
    typed("platforms", "stripe", "balance", code=5)


def test_the_example_of_reconcile_names_what_the_sync_has_not_seen(typed: Ask, store: Storefront) -> None:
    store.sell("20.00", worker="mailer")
    typed("revenue", "sync", "stripe")
    assert typed("revenue", "reconcile", "stripe", "--since", "2026-01-01").split()[:6] == [
        "source", "ledger", "platform", "difference", "opening", "paid",
    ]  # fmt: skip
    store.sell("30.00")
    typed("revenue", "reconcile", "stripe", "--since", "2026-01-01", code=1)
