"""A platform's money, from the sync to the P&L, with the real binary and the real SDK before an emulated Stripe."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from nova.clock import SystemClock
from nova.demo.storefront import Fault, Storefront
from nova.demo.stripe_account import Account

from .conftest import Home


@pytest.fixture
def store(nova: Home) -> Iterator[Storefront]:
    with Storefront(Account(clock=SystemClock())) as found:
        nova.env |= {"STRIPE_API_KEY": found.key, "STRIPE_API_BASE": found.url}
        yield found


def test_what_the_platform_took_is_synced_attributed_and_reconciled(nova: Home, store: Storefront) -> None:
    nova.deploy("mailer", "true", "--every", "1h")
    sale = store.sell("20.00", worker="mailer")
    store.refund(sale, "5.00")
    store.sell("30.00")
    nova.run("revenue", "reconcile", "stripe", code=1)
    words = nova.run("revenue", "sync", "stripe").stdout.splitlines()
    assert words[0].split()[:3] == ["source", "fetched", "new"]
    assert words[1].startswith("stripe")
    again = nova.json("revenue", "sync")["sources"]
    assert [(row["source"], row["new"]) for row in again] == [("stripe", 0)]
    assert nova.json("revenue", "reconcile")["ok"] is True
    assert "stripe" in nova.run("revenue", "reconcile").stdout
    report = nova.json("revenue", "report")
    assert report["unattributed"]["entries"] > 0
    assert "(unattributed)" in nova.run("revenue", "report").stdout
    lines = map(json.loads, nova.run("ledger", "export").stdout.splitlines())
    orphan = next(row for row in lines if row.get("worker") is None and row["kind"] == "revenue")
    moved = nova.run("revenue", "attribute", f"stripe/{orphan['id']}", "mailer").stdout
    assert "given to mailer" in moved
    after = nova.json("revenue", "report")
    assert after["unattributed"]["revenue"] in ("0", "0.00")
    assert after["total"]["revenue"] == report["total"]["revenue"] == after["rows"][0]["revenue"]
    assert nova.json("ledger", "verify")["ok"]


def test_a_platform_that_answers_is_checked(nova: Home, store: Storefront) -> None:
    assert nova.json("platforms", "check", "stripe")["platforms"][0]["ok"] is True
    assert store.key not in nova.run("platforms", "list").stdout + nova.run("doctor").stdout


def test_a_refused_key_is_5_and_a_failing_platform_69(nova: Home, store: Storefront) -> None:
    nova.env["STRIPE_API_KEY"] = "sk_test_wrong"
    refused = nova.run("revenue", "sync", "stripe", code=5)
    assert "sk_test_wrong" not in refused.stderr + refused.stdout
    nova.run("platforms", "check", code=5)
    nova.env["STRIPE_API_KEY"] = store.key
    store.fail(Fault("error", times=100))
    assert nova.json("revenue", "sync", "stripe", code=69)["error"]["code"] == 69
    assert "sync" in json.dumps(nova.json("workers", "health", code=1))


def test_what_a_platform_tells_otherwise_is_named_and_exits_1(nova: Home, store: Storefront) -> None:
    nova.deploy("mailer", "true", "--every", "1h")
    store.sell("20.00", worker="mailer")
    nova.run("revenue", "sync", "stripe")
    booked = nova.run("ledger", "export").stdout
    sale = next(row for row in map(json.loads, booked.splitlines()) if row.get("kind") == "revenue")
    other = nova.path / "other.jsonl"
    store.sell("30.00", worker="mailer", at=SystemClock().now())
    other.write_text(json.dumps({**sale, "id": _newest(store), "currency": "EUR"}) + "\n")
    nova.run("ledger", "import", str(other))
    told = nova.run("revenue", "sync", "stripe", code=1)
    assert "stripe" in told.stderr and _newest(store) in told.stderr


def _newest(store: Storefront) -> str:
    return str(store.account.newest_first("balance_transaction")[0]["id"])
