"""Gumroad's sales in the ledger, with the real binary before an emulated Gumroad."""

from __future__ import annotations

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


def test_what_gumroad_took_is_synced_and_reconciled(nova: Home, shop: Shop, gumroad: Gumroad) -> None:
    guide = shop.product("Guide")
    shop.sell(guide, url_params={"nova_worker": "mailer"})
    other = shop.sell(guide)
    nova.run("revenue", "reconcile", "gumroad", code=1)
    (row,) = nova.json("revenue", "sync")["sources"]
    assert (row["source"], row["new"], row["attributed"]) == ("gumroad", 2, 1)
    shop.refund(other, 100)
    assert nova.json("revenue", "sync", "gumroad")["sources"][0]["refunds"] == "1.00"
    assert nova.json("revenue", "reconcile", "gumroad")["ok"] is True
    assert nova.json("ledger", "verify")["ok"]
    gumroad.token = "another"
    refused = nova.run("revenue", "sync", "gumroad", code=5)
    assert "gumroad-emulated" not in refused.stdout + refused.stderr
