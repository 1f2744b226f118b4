"""What Stripe and Gumroad send, against their emulated servers: it ends in the ledger once, whoever was first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from urllib.parse import urlencode

from nova.bootstrap import Nova
from nova.clock import ManualClock, to_us
from nova.demo.storefront import Storefront
from nova.demo.stripe_account import Account
from nova.ledger.deliveries import Arrived
from nova.ledger.links import Visit
from nova.money import Money
from nova.people import subject_of
from nova.revenue.sync import sync
from nova.webhooks.processing import Processor
from tests.emulators.gumroad import Gumroad
from tests.emulators.gumroad_shop import Shop
from tests.signing import stripe_event


def arrive(nova: Nova, endpoint: str, bodies: Sequence[bytes]) -> None:
    now = to_us(nova.clock.now())
    nova.ledger.deliveries.keep([Arrived(endpoint, f"{now}-{n}", now, None, body) for n, body in enumerate(bodies)])


def test_events_of_stripe_book_what_stripe_tells_whatever_their_order(
    open_nova: Callable[..., Nova], clock: ManualClock
) -> None:
    account = Account(clock=clock)
    with Storefront(account) as shop:
        nova = open_nova(STRIPE_API_KEY=shop.key, STRIPE_API_BASE=shop.url)
        link = nova.ledger.links.make("mailer", "https://shop.example/")
        nova.ledger.links.visited(Visit("c1", link, clock.now() - timedelta(hours=1)))
        written = {"nova_link": link.slug, "nova_click": "c1"}
        intent = account.create_intent(1999, "usd", written, customer="cus_1")
        sale = account.confirm(intent, "pm_card_visa")
        account.refund(account.get(sale.charge), 500)
        clock.advance(60)
        names = ("charge.refunded", "charge.succeeded", "charge.succeeded")
        arrive(nova, "stripe", [stripe_event(f"evt_{name}", name) for name in names])
        clock.advance(3)
        processor = Processor(nova)
        assert processor.step() == 3
        assert sync(nova, ["stripe"])["sources"][0]["new"] == 0
    entries = nova.ledger.entries.of_object("stripe", intent["id"])
    kinds = {one.entry.kind: one.entry.amount for one in entries}
    assert kinds["revenue"] == Money.parse("19.99", "USD") and kinds["refund"] == Money.parse("5", "USD")
    assert {nova.ledger.entries.owner(one) for one in entries} == {"mailer"}
    assert [one.id for one in nova.ledger.touches.of(subject_of("stripe", "cus_1"))] == ["click:c1"]


def test_pings_of_gumroad_book_the_sale_as_gumroad_tells_it(open_nova: Callable[..., Nova], clock: ManualClock) -> None:
    shop = Shop(clock.now)
    with Gumroad(shop) as server:
        nova = open_nova(GUMROAD_ACCESS_TOKEN=server.token, GUMROAD_API_BASE=server.url)
        sale = shop.sell(shop.product())
        ping = urlencode({"sale_id": sale.id, "price": "999999", "url_params[nova_worker]": "mailer"}).encode()
        invented = urlencode({"sale_id": "invented==", "price": "500"}).encode()
        arrive(nova, "gumroad", [ping, invented, ping])
        assert Processor(nova).step() == 2
        [unknown] = nova.ledger.deliveries.in_state("waiting")
        assert nova.ledger.deliveries.find("gumroad", unknown.id).body == invented
        assert sync(nova, ["gumroad"])["sources"][0]["new"] == 0
    entries = nova.ledger.entries.of_object("gumroad", sale.id)
    assert {one.entry.kind: one.entry.amount for one in entries}["revenue"] == Money.parse("10", "USD")
    assert {nova.ledger.entries.owner(one) for one in entries} == {"mailer"}
