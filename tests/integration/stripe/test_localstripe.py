"""The same client against a server that others wrote: customers pay, are refunded, subscribe."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from nova.bootstrap import build
from nova.config import load_settings
from nova.errors import PlatformRefused
from nova.money import Money
from nova.revenue.reports import report
from nova.revenue.sync import sync
from platforms.base import Declined, Missing
from platforms.events import PlatformEvent, Tag
from platforms.stripe_facts import facts_in
from platforms.stripe_integration import Stripe


@pytest.fixture
def account(localstripe: str) -> Iterator[Stripe]:
    client = Stripe("sk_test_12345", localstripe)
    yield client
    client.close()


def told(account: Stripe, *intents: str) -> list[tuple[PlatformEvent, Tag | None]]:
    reader = account.reader()
    return [
        (event, reader.tag(event)) for page in reader.pages() for event in page.events if event.object in intents
    ]  # fmt: skip


def pay(account: Stripe, amount: str, worker: str | None) -> str:
    money = Money.parse(amount, "USD")
    return account.payments.create(money, worker=worker, payment_method="pm_card_visa", confirm=True).id


def card(account: Stripe, buyer: str, number: str = "4242424242424242") -> str:
    """A card of the customer's own; what makes cards is no concern of nova's."""
    said = {"number": number, "exp_month": 12, "exp_year": 2034, "cvc": "123"}
    method: str = account.requests.post("card", "/v1/payment_methods", {"type": "card", "card": said})["id"]
    account.requests.post("attach", f"/v1/payment_methods/{method}/attach", {"customer": buyer})
    account.requests.post("default", f"/v1/customers/{buyer}", {"invoice_settings": {"default_payment_method": method}})
    return method


def plan(account: Stripe, minor: int) -> str:
    """This server knows plans, which are prices by their older name."""
    name = uuid.uuid4().hex
    account.products.create(name, id=name)
    said = {"id": name, "product": name, "amount": minor, "currency": "usd", "interval": "month"}
    account.requests.post("plan", "/v1/plans", said)
    return name


def test_customers_pay_and_the_worker_is_found(account: Stripe) -> None:
    tagged, plain = pay(account, "12.00", "mailer"), pay(account, "5.00", None)
    found = {event.object: (event.kind, event.amount, tag) for event, tag in told(account, tagged, plain)}
    assert found == {
        tagged: ("revenue", Money.parse("12.00", "USD"), Tag("mailer", "payment_intent.metadata")),
        plain: ("revenue", Money.parse("5.00", "USD"), None),
    }


def test_a_refund_belongs_to_its_sale(account: Stripe) -> None:
    intent = pay(account, "12.00", "mailer")
    refund = account.refunds.create(account.payments.get(intent).charge or "", Money.parse("4.50", "USD"))
    assert [one.id for one in account.refunds.list(payment=account.payments.get(intent).charge)] == [refund.id]
    found = told(account, intent)
    assert sorted((event.kind, str(event.amount)) for event, _ in found) == [("refund", "4.50"), ("revenue", "12.00")]
    assert {tag.worker for _, tag in found if tag} == {"mailer"} and len(found) == 2
    assert Money.total([event.effect for event, _ in found], "USD") == Money.parse("7.50", "USD")


def subscribe(account: Stripe, buyer: str, price: str, worker: str) -> Any:
    wanted = {"customer": buyer, "items": [{"plan": price}], "metadata": {"nova_worker": worker}}
    return account.requests.post("subscription", "/v1/subscriptions", wanted)


def test_a_subscription_names_the_worker_of_its_payment(account: Stripe) -> None:
    buyer = account.customers.create(email=f"{uuid.uuid4().hex}@example.com")
    card(account, buyer.id)
    made = subscribe(account, buyer.id, plan(account, 900), "letters")
    invoice = account.requests.get(f"/v1/invoices/{made['latest_invoice']}")
    found = told(account, invoice["payment_intent"])
    assert [(event.kind, str(event.amount), tag) for event, tag in found] == [
        ("revenue", "9.00", Tag("letters", "subscription.metadata"))
    ]


def test_a_declined_card_leaves_nothing(account: Stripe) -> None:
    buyer = account.customers.create(email="poor@example.com")
    method = card(account, buyer.id, "4000000000000341")
    payment = account.payments.create(Money.parse("5.00", "USD"), customer=buyer.id, payment_method=method)
    with pytest.raises(Declined):
        account.payments.confirm(payment.id)
    assert told(account, payment.id) == []


def test_customers_are_made_changed_found_and_deleted(account: Stripe) -> None:
    email = f"{uuid.uuid4().hex}@example.com"
    made = account.customers.create(email=email, name="Ada", metadata={"tier": "gold"})
    changed = account.customers.change(made.id, description="a friend")
    assert (changed.email, changed.name, changed.description) == (email, "Ada", "a friend")
    assert [one.id for one in account.customers.list(email=email)] == [made.id]
    assert account.customers.get(made.id).metadata == {"tier": "gold"}
    account.customers.delete(made.id)
    with pytest.raises(Missing):
        account.customers.get(made.id)


def test_a_payment_is_confirmed_later_or_cancelled(account: Stripe) -> None:
    buyer = account.customers.create(email="ada@example.com")
    method = card(account, buyer.id)
    first, second = (
        account.payments.create(Money.parse("7.00", "USD"), customer=buyer.id, payment_method=method) for _ in range(2)
    )
    assert first.status == "requires_confirmation"
    assert account.payments.confirm(first.id).paid
    assert account.payments.cancel(second.id).status == "canceled"
    assert account.payments.get(first.id).amount == Money.parse("7.00", "USD")


def test_products_and_invoices_are_made_and_listed(account: Stripe) -> None:
    name = f"Letters {uuid.uuid4().hex}"
    product = account.products.create(name, description="weekly")
    assert account.products.get(product.id).name == name
    assert product.id in {one.id for one in account.products.list()}
    buyer = account.customers.create(email="ada@example.com")
    card(account, buyer.id)
    made = subscribe(account, buyer.id, plan(account, 1200), "letters")
    (billed,) = account.invoices.list(customer=buyer.id)
    assert (billed.status, billed.paid, billed.subscription) == ("paid", Money.parse("12.00", "USD"), made["id"])
    assert account.invoices.get(billed.id) == billed


def test_a_subscription_is_changed_and_ends(account: Stripe) -> None:
    buyer = account.customers.create(email="ada@example.com")
    card(account, buyer.id)
    id = subscribe(account, buyer.id, plan(account, 1200), "letters")["id"]
    assert account.subscriptions.get(id).monthly == Money.parse("12.00", "USD")
    assert account.subscriptions.cancel(id).cancels_at_end
    assert not account.subscriptions.resume(id).cancels_at_end
    assert account.subscriptions.cancel(id, at_period_end=False).status == "canceled"
    facts = {fact.kind: str(fact.monthly) for fact in facts_in(account.requests.get(f"/v1/subscriptions/{id}"))}
    assert facts["started"] == "12.00" and facts["ended"] == "0.00"


def test_many_pages_are_read(account: Stripe) -> None:
    intents = [pay(account, "1.00", "bulk") for _ in range(120)]
    found = told(account, *intents)
    assert sorted(str(event.object) for event, _ in found) == sorted(intents)


def test_a_key_that_is_none_is_refused(localstripe: str) -> None:
    client = Stripe("nonsense", localstripe)
    with pytest.raises(PlatformRefused):
        client.check()
    client.close()


def test_check_reads_the_balance(account: Stripe) -> None:
    assert account.check() == "answers; balance in EUR"


def test_a_sync_books_what_customers_paid(account: Stripe, localstripe: str, tmp_path: Path) -> None:
    worker = f"mailer-{uuid.uuid4().hex[:8]}"
    intent = pay(account, "12.00", worker)
    pay(account, "8.00", worker)
    nova = build(
        load_settings(
            {"NOVA_HOME": str(tmp_path / "home"), "STRIPE_API_KEY": "sk_test_12345", "STRIPE_API_BASE": localstripe},
            tmp_path,
        )
    )
    try:
        first = sync(nova)["sources"][0]
        account.refunds.create(account.payments.get(intent).charge or "", Money.parse("4.50", "USD"))
        second = sync(nova)["sources"][0]
        third = sync(nova)["sources"][0]
        rows = {row["key"]: row["revenue"] for row in report(nova)["rows"]}
        whole = report(nova)
        assert first["new"] == first["fetched"] and (second["new"], third["new"]) == (1, 0)
        assert (second["refunds"], second["net"]) == ("4.50", "-4.50")
        assert rows[worker] == "15.50"
        known = sum(Decimal(revenue) for revenue in rows.values()) + Decimal(whole["unattributed"]["revenue"])
        assert known == Decimal(whole["total"]["revenue"])
        assert nova.ledger.verify().ok
    finally:
        nova.close()
