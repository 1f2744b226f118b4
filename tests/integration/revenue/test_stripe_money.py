"""Stripe's money in the ledger: history that changed, what says whose a payment is, and the proof for any period."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from nova.bootstrap import Nova
from nova.clock import ManualClock
from nova.demo.storefront import Storefront
from nova.demo.stripe_account import Account
from nova.money import Money
from nova.people import subject_of, subject_of_email
from nova.revenue.attribution.hand import declare
from nova.revenue.reconcile import reconcile
from nova.revenue.reports import report
from nova.revenue.sync import sync
from platforms.events import PlatformEvent
from platforms.stripe_integration import Stripe
from tests.emulators.stripe import Shop, ShopAccount


@pytest.fixture
def account(clock: ManualClock) -> ShopAccount:
    return ShopAccount(clock=clock)


@pytest.fixture
def store(account: ShopAccount) -> Iterator[Storefront]:
    with Storefront(account, api=Shop) as opened:
        yield opened


@pytest.fixture
def stripe(store: Storefront) -> Iterator[Stripe]:
    client = Stripe(store.key, store.url)
    yield client
    client.close()


def usd(amount: str) -> Money:
    return Money.parse(amount, "USD")


def only(document: dict[str, Any]) -> dict[str, Any]:
    (row,) = document["sources"]
    return dict(row)


def agrees(nova: Nova, **period: Any) -> dict[str, Any]:
    document = reconcile(nova, **period)
    assert document["ok"], document
    return only(document)


def problems(nova: Nova, **period: Any) -> dict[str, str]:
    return {one["id"]: one["problem"] for one in only(reconcile(nova, **period))["differences"]}


def revenue_of(nova: Nova) -> dict[str, str]:
    return {row["key"]: row["revenue"] for row in report(nova)["rows"]}


def evidence_of(stripe: Stripe, payment: str) -> PlatformEvent:
    reader = stripe.reader()
    return next(
        reader.with_evidence(event)
        for page in reader.pages()
        for event in page.events
        if payment in event.objects and event.kind == "revenue"
    )


class TestRestatedHistory:
    def test_is_corrected_by_new_entries_however_often_it_changes(
        self, nova: Nova, store: Storefront, account: ShopAccount
    ) -> None:
        sale = store.sell("20.00", worker="mailer")
        refund = store.refund(sale, "5.00")
        sync(nova)
        for amount, net in (("21.00", "14.54"), ("19.00", "12.54"), ("21.00", "14.54")):
            account.get(sale.transaction)["amount"] = int(Decimal(amount) * 100)
            account.get(sale.transaction)["net"] = int(Decimal(amount) * 100) - 88
            account.get(refund["balance_transaction"])["amount"] = -558
            account.get(refund["balance_transaction"])["net"] = -558
            assert only(sync(nova))["conflicts"] == []
            assert only(sync(nova))["new"] == 0
            assert (revenue_of(nova), agrees(nova)["ledger"]) == ({"mailer": net}, net)
        assert nova.ledger.verify().ok

    def test_of_a_fee_that_belongs_to_no_payment(self, nova: Nova, account: ShopAccount) -> None:
        fee = account.charge_fee(500, "Radar")
        sync(nova)
        fee |= {"amount": -450, "net": -450}
        sync(nova)
        assert agrees(nova)["ledger"] == "-4.50" and only(sync(nova))["new"] == 0

    def test_what_no_entry_can_mend_is_told(self, nova: Nova, store: Storefront, account: ShopAccount) -> None:
        sale = store.sell("20.00")
        sync(nova)
        account.get(sale.transaction)["currency"] = "eur"
        assert "EUR" in only(sync(nova))["conflicts"][0]


class TestEvidence:
    def test_of_a_link_names_what_was_bought_by_which_code_and_by_whom(
        self, stripe: Stripe, account: ShopAccount
    ) -> None:
        product = stripe.products.create("Letters", usd("9.00"))
        link = stripe.links.create(product.price or "")
        session = account.buy(account.get(link.id), reference="spring-7", code="TEN")
        event = evidence_of(stripe, session["payment_intent"])
        assert event.evidence == {
            "product": product.id, "price": product.price, "coupon": "TEN", "link": "spring-7",
        }  # fmt: skip
        assert set(event.subjects) == {
            subject_of_email("ada@example.com"), subject_of("stripe", session["customer"]),
        }  # fmt: skip
        assert "ada" not in str(event)

    def test_of_a_renewal_stands_on_its_invoice(self, stripe: Stripe) -> None:
        product = stripe.products.create("Letters", usd("9.00"), every="month")
        buyer = stripe.customers.create(email="ada@example.com")
        stripe.subscriptions.create(buyer.id, product.price or "")
        (sale,) = [event for event in stripe.balance_events() if event.kind == "revenue"]
        assert evidence_of(stripe, sale.object or "").evidence == {"product": product.id, "price": product.price}

    def test_of_a_payment_stands_in_its_metadata(self, stripe: Stripe) -> None:
        said = {"nova_link": "spring-7", "utm_campaign": "spring", "nova_click": "c1"}
        made = stripe.payments.create(usd("9.00"), metadata=said, payment_method="pm_card_visa", confirm=True)
        event = evidence_of(stripe, made.id)
        assert event.evidence == {"link": "spring-7", "campaign": "spring"} and event.subjects[0].startswith("click:")

    def test_by_a_declared_product_a_sale_is_its_workers(
        self, nova: Nova, stripe: Stripe, account: ShopAccount
    ) -> None:
        product = stripe.products.create("Letters", usd("9.00"))
        link = stripe.links.create(product.price or "")
        declare(nova, "product", product.id, "letters", source="stripe", by="dana")
        account.buy(account.get(link.id))
        sync(nova)
        assert revenue_of(nova) == {"letters": "8.44"}

    def test_is_asked_for_again_where_a_person_says_since_when(
        self, nova: Nova, stripe: Stripe, account: ShopAccount, clock: ManualClock
    ) -> None:
        """As after an upgrade from a nova that kept none of it."""
        product = stripe.products.create("Letters", usd("9.00"))
        account.buy(account.get(stripe.links.create(product.price or "").id))
        sync(nova)
        nova.ledger.apply(lambda conn: conn.exec_driver_sql("DELETE FROM credits"))
        assert declare(nova, "product", product.id, "letters", source="stripe", by="dana")["known"] == 0
        sync(nova)
        assert revenue_of(nova) == {}
        sync(nova, since=clock.now() - timedelta(days=30))
        assert revenue_of(nova) == {"letters": "8.44"}

    def test_sessions_are_read_no_further_back_than_is_needed(
        self, stripe: Stripe, account: ShopAccount, store: Storefront, clock: ManualClock
    ) -> None:
        product = stripe.products.create("Letters", usd("9.00"))
        link = account.get(stripe.links.create(product.price or "").id)
        for _ in range(150):
            account.buy(link)
        clock.advance(86400 * 3)
        late = account.buy(link)
        before = len(store.exchanges)
        evidence_of(stripe, late["payment_intent"])
        asked = [one.request for one in store.exchanges[before:]]
        assert asked.count("GET /v1/checkout/sessions") == 1


class TestReconcile:
    def busy(self, store: Storefront, clock: ManualClock) -> None:
        for day in range(6):
            sale = store.sell(f"{20 + day}.00", worker="mailer")
            if day == 2:
                store.refund(sale, "5.00")
                store.account.close_dispute(store.dispute(sale), won=False)
            if day == 3:
                store.account.payout(1000, "usd")
            clock.advance(86400)

    def test_a_period_proves_what_the_balance_was(self, nova: Nova, store: Storefront, clock: ManualClock) -> None:
        began = clock.now()
        self.busy(store, clock)
        sync(nova)
        whole = agrees(nova)
        assert whole["opening"] == "0.00" and whole["closing"] == whole["balance"] and whole["paid_out"] == "10.00"
        marks = [began + timedelta(days=n, hours=-1) for n in (0, 2, 4, 7)]
        rows = [agrees(nova, since=since, until=until) for since, until in pairwise(marks)]
        assert [row["closing"] for row in rows[:-1]] == [row["opening"] for row in rows[1:]]
        assert (rows[0]["opening"], rows[-1]["closing"]) == ("0.00", whole["balance"])
        for row in rows:
            change = Decimal(row["closing"]) - Decimal(row["opening"])
            assert change == Decimal(row["ledger"]) - Decimal(row["paid_out"])
        first = agrees(nova, until=marks[1])
        assert (first["opening"], first["unexplained"], first["closing"]) == ("0.00", "0.00", rows[0]["closing"])

    def test_a_payout_and_what_it_costs(self, nova: Nova, store: Storefront, account: ShopAccount) -> None:
        store.sell("100.00")
        made = account.payout(5000, "usd")
        account.get(made["balance_transaction"]).update(fee=75, net=-5075)
        synced = only(sync(nova))
        assert (synced["fees"], synced["skipped"], synced["fetched"]) == ("3.95", 0, 2)
        row = agrees(nova)
        assert (row["paid_out"], row["balance"]) == ("50.00", "46.05")

    def test_what_waits_for_a_rate_is_named(self, nova: Nova, store: Storefront) -> None:
        sale = store.sell("10.00", currency="eur")
        sync(nova)
        assert problems(nova) == {sale.transaction: "unconverted", f"{sale.transaction}:fee": "unconverted"}
        nova.ledger.rates.set("EUR", Decimal("1.08"), by="dana")
        agrees(nova)

    def test_what_is_booked_at_another_time_is_named(
        self, nova: Nova, store: Storefront, account: ShopAccount, clock: ManualClock
    ) -> None:
        sale = store.sell("10.00")
        sync(nova)
        clock.advance(86400 * 10)
        account.get(sale.transaction)["created"] = account.now()
        since = clock.now() - timedelta(days=1)
        assert set(problems(nova, since=since).values()) == {"time differs"}

    def test_several_currencies_are_proved_each(self, clock: ManualClock, open_nova: Callable[..., Nova]) -> None:
        account = Account(clock=clock, rates={"gbp": Decimal("1.25")})
        with Storefront(account) as store:
            nova = open_nova("two", STRIPE_API_BASE=store.url, NOVA_CURRENCY="USD")
            nova.ledger.rates.set("EUR", Decimal("1.08"), by="dana")
            *_, pounds = [store.sell("10.00", currency=currency) for currency in ("usd", "eur", "gbp")]
            sync(nova)
            document = reconcile(nova)
            assert document["ok"] and {row["currency"]: row["balance"] for row in document["sources"]} == {
                "USD": "21.25", "EUR": "9.41",
            }  # fmt: skip
            assert nova.ledger.entries.find(f"stripe/{pounds.transaction}").entry.note == "paid 10.00 GBP at 1.25"
