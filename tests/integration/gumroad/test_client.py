"""What the client can do at Gumroad, and how Gumroad's ways of saying no are told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from nova.clock import ManualClock
from nova.errors import Refused, UsageProblem
from nova.money import Money
from platforms.base import Declined, Forbidden, InDoubt, InvalidRequest, Missing, PlatformFailed, PlatformRefused
from platforms.gumroad_integration import Gumroad, product_address
from tests.emulators.gumroad import Gumroad as Emulator
from tests.emulators.gumroad_shop import Shop
from tests.hands import QuickHands, Settled
from tests.published import Document

DOLLARS = Money.parse("12.50", "USD")


class Forgetful(QuickHands):
    """As a run that was made again: an effect under a key is told again, or looked for where its end is not known."""

    def __init__(self) -> None:
        super().__init__()
        self.done: dict[str, Any] = {}
        self.doubtful: set[str] = set()

    def key(self, what: str, content: str) -> str:
        return f"{what} {content}"

    def once(self, what: str, key: str, payload: Any, action: Any, find: Any = None, *, known_s: float = 0.0) -> Any:
        if key in self.done:
            return self.done[key]
        if key in self.doubtful:
            if find is None:
                raise InDoubt
            there = find(key)
            if there is not None:
                return self.done.setdefault(key, there)
        self.doubtful.add(key)
        self.done[key] = action(key)
        return self.done[key]


def test_a_check_names_the_account(gumroad: Gumroad) -> None:
    assert gumroad.check() == "answers; account Ada's shop"


def test_products_are_listed_changed_and_taken_from_the_shop(shop: Shop, gumroad: Gumroad) -> None:
    for n in range(23):
        shop.product(f"Product {n}", 100 * (n + 1))
    yen = shop.product("Yen", 500, "jpy")
    shop.sell(yen)
    listed = list(gumroad.products())
    assert len(listed) == 24 and listed[0].price == Money.parse("500", "JPY")
    assert (listed[0].sold, listed[0].taken) == (1, Money.parse("3.33", "USD"))
    assert gumroad.product(yen.permalink).id == yen.id
    assert not gumroad.disable(yen.id).published and gumroad.enable(yen.id).published
    changed = gumroad.update_product(yen.id, price=Money.parse("650", "JPY"), name="More yen")
    assert (changed.price, changed.name) == (Money.parse("650", "JPY"), "More yen")
    assert product_address(changed, "shop/1").endswith("?nova_worker=shop%2F1")
    made = gumroad.create_product("New", DOLLARS)
    assert (made.price, made.published) == (DOLLARS, False)


def test_what_gumroad_cannot_change_is_said(shop: Shop, emulate: Callable[..., Emulator], connect: Any) -> None:
    plain, tiered = shop.product(), shop.product("Club", 500, recurrence="monthly", tiered=True)
    old = connect(emulate(shop, updates=False))
    with pytest.raises(PlatformFailed, match="changes no products") as caught:
        old.update_product(plain.id, price=DOLLARS)
    assert "page" in str(caught.value.hint)
    with pytest.raises(UsageProblem, match="tiers"):
        old.update_product(tiered.id, price=DOLLARS)
    with pytest.raises(UsageProblem):
        old.update_product(plain.id)


def test_offer_codes(shop: Shop, gumroad: Gumroad) -> None:
    product = shop.product(currency="eur")
    ten = gumroad.create_offer_code(product.id, "TEN", percent=10, most=5)
    off = gumroad.create_offer_code(product.id, "OFF", amount=Money.parse("2", "EUR"))
    assert (ten.percent, ten.most, off.amount) == (10, 5, Money.parse("2", "EUR"))
    with pytest.raises(Declined, match="unique"):
        gumroad.create_offer_code(product.id, "TEN", percent=20)
    with pytest.raises(UsageProblem):
        gumroad.create_offer_code(product.id, "X")
    gumroad.delete_offer_code(product.id, ten.id)
    assert [code.name for code in gumroad.offer_codes(product.id)] == ["OFF"]
    with pytest.raises(Missing):
        gumroad.delete_offer_code(product.id, ten.id)


def test_sales_by_day_product_person_and_order(shop: Shop, clock: ManualClock, gumroad: Gumroad) -> None:
    one, other = shop.product("One"), shop.product("Other")
    for n in range(30):
        shop.sell(one if n % 3 else other, email=f"p{n % 2}@example.com")
        clock.advance(86400)
    first = date(2026, 5, 1)
    some = list(gumroad.sales(first + timedelta(days=5), first + timedelta(days=18)))
    assert [sale.at.date() for sale in some] == [first + timedelta(days=n) for n in reversed(range(5, 18))]
    assert len(list(gumroad.sales(product=other.id))) == 10 and len(list(gumroad.sales(email="p1@example.com"))) == 15
    (again,) = gumroad.sales(order=some[0].order)
    assert again == some[0] == gumroad.sale(some[0].id)
    with pytest.raises(Missing, match="sale was not found"):
        gumroad.sale("nothing/../../user")
    with pytest.raises(InvalidRequest, match="page_key"):
        list(gumroad.sale_pages(page_key="nonsense"))


def test_refunds_whole_and_in_part_are_made_once(shop: Shop, emulate: Any, connect: Any) -> None:
    server = emulate(shop)
    gumroad = connect(server, hands=Forgetful())
    euro, whole = shop.sell(shop.product("E", 2000, "eur")), shop.sell(shop.product())
    part = Money.parse("5", "EUR")
    assert [gumroad.refund(euro.id, part).refunded for _ in range(3)] == [
        Money.parse("5.57", "USD")
    ] * 3  # within a cent, as Gumroad tells it in euros
    assert [gumroad.refund(whole.id).whole for _ in range(3)] == [True] * 3
    assert (len(euro.refunds), len(whole.refunds)) == (1, 1)
    with pytest.raises(UsageProblem, match="EUR"):
        gumroad.refund(euro.id, DOLLARS)
    with pytest.raises(Declined, match="already refunded"):
        connect(server).refund(whole.id)
    with pytest.raises(Refused, match="greater"):
        gumroad.refund(euro.id, Money.parse("99", "EUR"))


def test_a_refund_whose_answer_was_lost_is_looked_for(shop: Shop, emulate: Any, connect: Any) -> None:
    hands = Forgetful()
    gumroad = connect(emulate(shop), hands=hands)
    sale, other = shop.sell(shop.product(currency="eur")), shop.sell(shop.product(currency="eur"))
    three = Money.parse("3", "EUR")
    hands.doubtful = {
        f"gumroad.refund amount_cents=300&sale={sale.id.replace('=', '%3D')}",
        f"gumroad.refund amount_cents=300&sale={other.id.replace('=', '%3D')}",
    }
    shop.refund(sale, 300)  # it had been carried out
    assert gumroad.refund(sale.id, three).refunded == Money.parse("3.33", "USD") and sale.refunds == [333]
    shop.refund(other, 400)  # somebody's, and perhaps this one's too
    with pytest.raises(InDoubt, match="among them"):
        gumroad.refund(other.id, three)
    assert other.refunds == [444]


def test_subscribers_are_paged_and_found(shop: Shop, clock: ManualClock, gumroad: Gumroad) -> None:
    club = shop.product("Club", 500, recurrence="monthly")
    some = [shop.subscribe(club, email=f"p{n}@example.com") for n in range(205)]
    some[0].ended = clock.now()
    assert len(list(gumroad.subscribers(club.id))) == 204
    assert [one.id for one in gumroad.subscribers(club.id, email="p7@example.com")] == [some[7].id]
    gone = gumroad.subscriber(some[0].id)
    assert (gone.status, gone.ended) == ("fixed_subscription_period_ended", clock.now())
    with pytest.raises(Missing):
        gumroad.subscriber("nobody==")


def test_a_license_is_verified_without_using_it_up(shop: Shop, clock: ManualClock, gumroad: Gumroad) -> None:
    sale = shop.sell(shop.product())
    ask = (sale.product.id, sale.key)
    assert gumroad.verify_license(*ask).uses == 0 == sale.uses
    assert gumroad.verify_license(*ask).good(clock.now())
    assert gumroad.verify_license(*ask, count_use=True).uses == 1
    assert gumroad.uncount_license_use(*ask).uses == 0
    gumroad.disable_license(*ask)
    with pytest.raises(Missing, match="disabled"):
        gumroad.verify_license(*ask)
    gumroad.enable_license(*ask)
    shop.refund(sale)
    assert not gumroad.verify_license(*ask).good(clock.now())
    with pytest.raises(Missing, match="does not exist"):
        gumroad.verify_license(sale.product.id, "0000")


def test_resource_subscriptions(shop: Shop, gumroad: Gumroad) -> None:
    url = "https://hooks.example/gumroad/s3cret"
    sale = gumroad.create_hook("sale", url)
    assert gumroad.create_hook("sale", url) == sale and len(shop.hooks) == 1
    gumroad.create_hook("refund", url)
    assert {hook.resource for hook in gumroad.hooks()} == {"sale", "refund"}
    gumroad.delete_hook(sale.id)
    assert [hook.resource for hook in gumroad.hooks()] == ["refund"]
    with pytest.raises(Missing):
        gumroad.delete_hook(sale.id)
    with pytest.raises(InvalidRequest, match="Invalid post URL") as caught:
        gumroad.create_hook("sale", "http://localhost/s3cret")
    assert "s3cret" not in caught.value.message
    with pytest.raises(UsageProblem):
        gumroad.create_hook("sales", url)


def test_a_token_is_never_shown_and_rights_that_lack_are_named(shop: Shop, emulate: Any, connect: Any) -> None:
    server = emulate(shop, scopes=("view_profile", "view_sales"))
    with pytest.raises(PlatformRefused) as caught:
        connect(server, token="wr0ng-token").check()
    assert "wr0ng" not in f"{caught.value} {caught.value.hint}" and "GUMROAD_ACCESS_TOKEN" in str(caught.value.hint)
    sale = shop.sell(shop.product())
    with pytest.raises(Forbidden) as refused:
        connect(server).refund(sale.id)
    assert "edit_sales" in str(refused.value.hint)


def test_every_documented_request_is_emulated_and_made(server: Emulator, published: Document) -> None:
    """The tests of this folder hold what is sent and answered against the document."""
    routes = {pattern for pattern, _, _ in server._routes()}
    assert routes == published.requests()


def test_a_limit_is_waited_out(shop: Shop, emulate: Any, connect: Any, hands: QuickHands) -> None:
    shop.sell(shop.product())
    server = emulate(shop, limit=0)
    original = hands.wait

    def rest(seconds: float) -> bool:
        server.limit = None
        return original(seconds)

    hands.wait = rest  # type: ignore[method-assign]
    assert len(list(connect(server).sales())) == 1
    assert 3 <= hands.slept[0] <= 4.5


def test_of_what_a_person_saw_made_gumroad_tells_which_it_is_where_it_can(gumroad: Gumroad, server: Emulator) -> None:
    made = gumroad.create_product("Guide", DOLLARS)
    settled = Gumroad(server.token, server.url, hands=Settled())
    assert settled.create_product("Guide", DOLLARS).id == made.id
    with pytest.raises(Missing, match="no such product"):
        settled.create_product("Another", DOLLARS)
    with pytest.raises(Missing, match="no such offer code"):
        settled.create_offer_code(made.id, "SPRING", percent=10)
    settled.close()
