"""The same client against a server that others wrote: customers pay, are refunded, subscribe."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import stripe as sdk

from nova.bootstrap import build
from nova.config import load_settings
from nova.errors import PlatformRefused
from nova.money import Money
from nova.revenue.reports import report
from nova.revenue.sync import sync
from platforms.events import PlatformEvent, Tag
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


def charge_of(account: Stripe, intent: str) -> str:
    latest = account.client.v1.payment_intents.retrieve(intent).latest_charge
    return str(latest if isinstance(latest, str) else latest.id)  # type: ignore[union-attr]


def pay(account: Stripe, amount: str, worker: str | None) -> str:
    metadata = {"nova_worker": worker} if worker else {}
    return account.take_payment(amount, "usd", metadata=metadata, idempotency_key=uuid.uuid4().hex)


def test_customers_pay_and_the_worker_is_found(account: Stripe) -> None:
    tagged, plain = pay(account, "12.00", "mailer"), pay(account, "5.00", None)
    found = {event.object: (event.kind, event.amount, tag) for event, tag in told(account, tagged, plain)}
    assert found == {
        tagged: ("revenue", Money.parse("12.00", "USD"), Tag("mailer", "payment_intent.metadata")),
        plain: ("revenue", Money.parse("5.00", "USD"), None),
    }


def test_a_refund_belongs_to_its_sale(account: Stripe) -> None:
    intent = pay(account, "12.00", "mailer")
    account.client.v1.refunds.create({"charge": charge_of(account, intent), "amount": 450})
    found = told(account, intent)
    assert sorted((event.kind, str(event.amount)) for event, _ in found) == [("refund", "4.50"), ("revenue", "12.00")]
    assert {tag.worker for _, tag in found if tag} == {"mailer"} and len(found) == 2
    assert Money.total([event.effect for event, _ in found], "USD") == Money.parse("7.50", "USD")


def test_a_subscription_names_the_worker_of_its_payment(account: Stripe) -> None:
    v1 = account.client.v1
    name = uuid.uuid4().hex
    v1.products.create({"id": name, "name": name})
    plan: Any = {"id": name, "product": name, "amount": 900, "currency": "usd", "interval": "month"}
    v1.plans.create(plan)
    method = v1.payment_methods.create(
        {"type": "card", "card": {"number": "4242424242424242", "exp_month": 12, "exp_year": 2034, "cvc": "123"}}
    )
    buyer = v1.customers.create({"email": f"{name}@example.com"})
    v1.payment_methods.attach(method.id, {"customer": buyer.id})
    v1.customers.update(buyer.id, {"invoice_settings": {"default_payment_method": method.id}})
    made = v1.subscriptions.create(
        {"customer": buyer.id, "items": [{"plan": name}], "metadata": {"nova_worker": "letters"}}
    )  # type: ignore[list-item]
    invoice = v1.invoices.retrieve(str(made.latest_invoice))
    found = told(account, invoice["payment_intent"])
    assert [(event.kind, str(event.amount), tag) for event, tag in found] == [
        ("revenue", "9.00", Tag("letters", "subscription.metadata"))
    ]


def test_a_declined_card_leaves_nothing(account: Stripe) -> None:
    v1 = account.client.v1
    buyer = v1.customers.create({"email": "poor@example.com"})
    method = v1.payment_methods.create(
        {"type": "card", "card": {"number": "4000000000000341", "exp_month": 12, "exp_year": 2034, "cvc": "123"}}
    )
    v1.payment_methods.attach(method.id, {"customer": buyer.id})
    intent = v1.payment_intents.create(
        {"amount": 500, "currency": "usd", "customer": buyer.id, "payment_method": method.id}
    )
    with pytest.raises(sdk.CardError):
        v1.payment_intents.confirm(intent.id)
    assert told(account, intent.id) == []


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
        account.client.v1.refunds.create({"charge": charge_of(account, intent), "amount": 450})
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
