"""A product kept as declared at both shops, by real runs over a real ledger, whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nova.clock import SystemClock
from nova.config import load_settings
from nova.demo.storefront import Storefront
from nova.errors import Unreachable, UsageProblem
from platforms.exchange import limits_of
from platforms.pace import Paces
from platforms.stripe_catalog import Links
from tests.emulators.gumroad import Gumroad
from tests.emulators.gumroad_shop import Shop
from tests.emulators.stripe import Shop as StripeApi
from tests.emulators.stripe import ShopAccount
from tests.integration.workers.conftest import Agents, Rig, until
from workers.agents import product_agent, product_shops
from workers.agents.configuration import checked
from workers.agents.product_agent import ProductAgent

GUIDE = {"platform": "gumroad", "name": "Guide", "price": "9.90"}


@pytest.fixture
def shop() -> Shop:
    return Shop(SystemClock().now)


@pytest.fixture
def gumroad(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gumroad]:
    with Gumroad(shop) as opened:
        monkeypatch.setenv("GUMROAD_ACCESS_TOKEN", opened.token)
        monkeypatch.setenv("GUMROAD_API_BASE", opened.url)
        yield opened


@pytest.fixture
def account() -> ShopAccount:
    return ShopAccount(clock=SystemClock())


@pytest.fixture
def store(account: ShopAccount, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storefront]:
    with Storefront(account, api=StripeApi) as opened:
        monkeypatch.setenv("STRIPE_API_KEY", opened.key)
        monkeypatch.setenv("STRIPE_API_BASE", opened.url)
        yield opened


@pytest.fixture
def run(rig: Rig, agents: Agents) -> Iterator[Callable[..., Any]]:
    """Runs the agent once more with this configuration and returns the run."""
    agents["product_agent"] = ProductAgent
    count = 0

    def one(runtime: str = "thread", **config: Any) -> Any:
        nonlocal count
        count += 1
        exchange: Any = rig.services.exchange
        exchange._settings = load_settings(None, rig.agents.parent)
        exchange.paces = Paces(limits_of(exchange._settings))
        secrets = ProductAgent.secrets_of(checked("product_agent", ProductAgent, config))
        more = {"due_now": True, "runtime": runtime, "generation": count, "secrets": secrets}
        rig.sync(rig.spec(agent="product_agent", config=config, **more))
        ended = rig.ended("w", count)
        rig.sync()
        until(lambda: not rig.states(), "the end of the instance")
        return ended

    yield one
    rig.services.exchange.close()


def test_a_gumroad_product_is_found_priced_linked_and_counted(
    run: Callable[..., Any], rig: Rig, shop: Shop, gumroad: Gumroad
) -> None:
    guide = shop.product("Guide", 500)
    shop.sell(guide)
    assert run(**GUIDE).status == "succeeded", rig.log("w")
    assert (guide.price, len(shop.products)) == (990, 1)
    state = rig.ledger.state.all("w")
    assert state["product"]["url"] == f"https://shop.gumroad.com/l/{guide.permalink}?nova_worker=w"
    assert [one["price"] for one in state["prices"]] == ["9.90 USD"]
    assert state["sales"]["by_price"] == {"5.00 USD": {"units": 1, "revenue": "5.00"}}
    for _ in range(2):
        shop.sell(guide)
    run(**GUIDE)
    run(**GUIDE)
    assert gumroad.asked("PUT /v2/products/{id}") == 1
    sums = rig.ledger.state.all("w")["sales"]["by_price"]
    assert sums == {"5.00 USD": {"units": 1, "revenue": "5.00"}, "9.90 USD": {"units": 2, "revenue": "19.80"}}
    run(**{**GUIDE, "price": "12.50", "published": False})
    assert (guide.price, guide.published) == (1250, False)
    assert [one["price"] for one in rig.ledger.state.all("w")["prices"]] == ["9.90 USD", "12.50 USD"]
    (mapped,) = rig.ledger.mappings.all()
    assert (mapped.source, mapped.kind, mapped.object, mapped.worker) == ("gumroad", "product", guide.id, "w")


def test_a_product_that_is_not_there_is_made_once_where_that_is_declared(
    run: Callable[..., Any], rig: Rig, shop: Shop, gumroad: Gumroad
) -> None:
    ended = run(**GUIDE)
    assert ended.status == "failed" and "create=true" in ended.error
    assert run("process", **GUIDE, create=True).status == "succeeded", rig.log("w")
    run(**GUIDE, create=True)
    (made,) = shop.products
    assert (made.name, made.price, made.published) == ("Guide", 990, True)


def test_what_a_shop_refuses_fails_the_run_and_no_more(
    run: Callable[..., Any], rig: Rig, shop: Shop, gumroad: Gumroad
) -> None:
    shop.product("Guide", 500, tiered=True, recurrence="monthly")
    ended = run(**GUIDE)
    assert ended.status == "failed" and "tiers" in ended.error
    rig.ledger.mappings.declare("gumroad", "product", shop.product("Other", 990).id, "somebody", "ada")
    assert run(**{**GUIDE, "name": "Other"}).status == "succeeded"
    assert "somebody's already" in rig.log("w")


def test_at_stripe_another_price_is_another_link(
    run: Callable[..., Any], rig: Rig, account: ShopAccount, store: Storefront
) -> None:
    book = {"platform": "stripe", "name": "Book", "price": "20", "create": "true"}
    for _ in range(2):
        assert run(**book).status == "succeeded", rig.log("w")
    (link,) = account.newest_first("payment_link")
    first = rig.ledger.state.all("w")["product"]
    assert first["url"] == link["url"] and link["metadata"]["nova_worker"] == "w"
    account.buy(link)
    assert run(**{**book, "price": "25"}).status == "succeeded", rig.log("w")
    newest, old = account.newest_first("payment_link")
    assert (newest["active"], old["active"]) == (True, False)
    account.buy(newest)
    account.buy(newest)
    run(**{**book, "price": "25"})
    sums = rig.ledger.state.all("w")["sales"]["by_price"]
    assert sums == {"20.00 USD": {"units": 1, "revenue": "20.00"}, "25.00 USD": {"units": 2, "revenue": "50.00"}}
    run(**{**book, "price": "20"})
    assert len(account.newest_first("price")) == 2 and len(account.newest_first("product")) == 1
    run(**{**book, "published": "false"})
    assert not any(one["active"] for one in account.newest_first("payment_link"))


def test_while_a_price_changes_there_is_always_a_link_to_buy_by(
    run: Callable[..., Any], account: ShopAccount, store: Storefront, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise Unreachable("cut")

    book = {"platform": "stripe", "name": "Book", "price": "20", "create": "true"}
    run(**book)
    with monkeypatch.context() as patched:
        patched.setattr(Links, "close", cut)
        assert run(**{**book, "price": "25"}).status == "failed"
    assert [one["active"] for one in account.newest_first("payment_link")] == [True, True]
    assert run(**{**book, "price": "25"}).status == "succeeded"
    assert [one["active"] for one in account.newest_first("payment_link")] == [True, False]


@pytest.mark.parametrize("step", ["_price", "_link"])
def test_a_run_that_was_cut_leaves_nothing_twice(
    run: Callable[..., Any],
    rig: Rig,
    account: ShopAccount,
    store: Storefront,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    book = {"platform": "stripe", "name": "Book", "price": "20", "create": True}

    def die(*_: object) -> None:
        raise Unreachable("cut")

    with monkeypatch.context() as patched:
        patched.setattr(product_shops.StripeShop, step, die)
        assert run(**book).status == "failed"
    with monkeypatch.context() as patched:
        patched.setattr(product_agent, "_remember", die)
        assert run(**book).status == "failed"
    assert run(**book).status == "succeeded", rig.log("w")
    assert [len(account.newest_first(kind)) for kind in ("product", "price", "payment_link")] == [1, 1, 1]


def test_a_product_whose_making_was_not_remembered_is_not_made_again(
    run: Callable[..., Any], shop: Shop, gumroad: Gumroad, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Unreachable("cut")

    with monkeypatch.context() as patched:
        patched.setattr(product_agent, "_remember", die)
        run(**GUIDE, create=True)
    run(**GUIDE, create=True)
    assert len(shop.products) == 1


def test_what_is_declared_is_checked(shop: Shop) -> None:
    wrong = [
        {"platform": "gumroad", "price": "9"},
        {"platform": "gumroad", "name": "X", "price": "0"},
        {"platform": "gumroad", "name": "X", "price": "9.999"},
        {"platform": "gumroad", "name": "X", "price": "9", "every": "month"},
        {"platform": "paypal", "name": "X", "price": "9"},
        {"platform": "stripe", "name": "X", "price": "1.5", "currency": "jpy"},
    ]
    for config in wrong:
        with pytest.raises(UsageProblem):
            checked("product_agent", ProductAgent, config)
    valid = checked("product_agent", ProductAgent, {**GUIDE, "candidates": "7.90, 9.90,12"})
    assert ProductAgent.tunables_of(valid) == {"price": ("7.90", "9.90", "12")}
    assert ProductAgent.secrets_of(valid) == ("GUMROAD_ACCESS_TOKEN",)
