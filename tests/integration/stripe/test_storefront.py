"""The emulator is only worth what it shares with Stripe: these hold it to the published document and behaviour."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe as sdk

from nova.clock import ManualClock
from nova.demo.storefront import Fault, Storefront
from nova.demo.stripe_params import ACCEPTED
from platforms.stripe_integration import Stripe

OLD = {"Stripe-Version": "2022-11-15"}


def get(store: Storefront, path: str, key: str | None = None, **headers: str) -> httpx.Response:
    return httpx.get(store.url + path, auth=(key or store.key, ""), headers=headers)


def post(store: Storefront, path: str, data: dict[str, Any], **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(store.url + path, auth=(store.key, ""), data=data, headers=named)


def busy(store: Storefront) -> None:
    """One of everything."""
    sale = store.sell("20.00", worker="mailer")
    store.refund(sale, "5.00")
    store.account.fail_refund(store.refund(sale, "1.00"))
    store.account.close_dispute(store.dispute(store.sell("30.00")), won=True)
    store.account.close_dispute(store.dispute(store.sell("31.00")), won=False)
    store.subscribe("9.00", worker="letters")
    store.account.payout(1000, "usd")
    store.account.charge_fee(200, "Radar")
    store.sell("10.00", currency="eur")


def test_every_accepted_request_and_parameter_is_published(published: Any) -> None:
    for request, names in ACCEPTED.items():
        if "invoice_payments" not in request:
            assert request in published.requests()
            assert set(names) <= published.names(request), request


def test_every_object_is_as_published(store: Storefront, published: Any) -> None:
    busy(store)
    before = published.checked
    for collection in (
        "balance_transactions?expand[]=data.source&limit=100",
        "charges", "payment_intents", "refunds", "disputes", "invoices", "subscriptions", "customers", "payouts",
    ):  # fmt: skip
        for version in (OLD, {}):
            page = get(store, f"/v1/{collection}", **version)
            assert page.status_code == 200 and page.json()["data"], collection
            one = page.json()["data"][0]
            name = collection.split("?")[0]
            assert get(store, f"/v1/{name}/{one['id']}", **version).json()["id"] == one["id"]
    assert get(store, "/v1/balance").json()["object"] == "balance"
    assert published.checked - before >= 9 * 4 + 1


def test_all_kinds_of_transactions_are_told(store: Storefront) -> None:
    busy(store)
    rows = get(store, "/v1/balance_transactions?limit=100").json()["data"]
    assert {row["type"] for row in rows} == {"charge", "refund", "refund_failure", "adjustment", "payout", "stripe_fee"}
    held = get(store, "/v1/balance").json()
    assert {row["currency"]: row["amount"] for row in held["available"]} == {
        code: sum(row["net"] for row in rows if row["currency"] == code) for code in ("usd", "eur")
    }


def test_pages_run_newest_first_both_ways(store: Storefront, clock: ManualClock) -> None:
    for _ in range(7):
        store.sell("1.00")
        clock.advance(60)
    first = get(store, "/v1/balance_transactions?limit=3").json()
    second = get(store, f"/v1/balance_transactions?limit=3&starting_after={first['data'][-1]['id']}").json()
    back = get(store, f"/v1/balance_transactions?limit=3&ending_before={second['data'][0]['id']}").json()
    assert [row["created"] for row in first["data"]] == sorted((row["created"] for row in first["data"]), reverse=True)
    assert first["has_more"] and second["has_more"]
    assert back["data"] == first["data"]


@pytest.mark.parametrize(("operator", "count"), [("gt", 1), ("gte", 2), ("lt", 1), ("lte", 2)])
def test_created_filters(store: Storefront, clock: ManualClock, operator: str, count: int) -> None:
    for _ in range(3):
        middle = store.account.now()
        store.sell("1.00")
        clock.advance(60)
    middle -= 60
    assert len(get(store, f"/v1/balance_transactions?created[{operator}]={middle}").json()["data"]) == count


def test_a_wrong_key_is_refused(store: Storefront) -> None:
    answer = get(store, "/v1/balance", key="sk_test_wrong")
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/charges/ch_none", 404),
        ("/v1/nonsense", 404),
        ("/v1/charges?colour=red", 400),
        ("/v1/charges?limit=0", 400),
        ("/v1/charges?limit=many", 400),
        ("/v1/charges?starting_after=ch_none", 400),
        ("/v1/balance_transactions?expand[]=data.nonsense", 400),
        ("/v1/balance_transactions?expand[]=data.source.charge.payment_intent.customer", 400),
    ],
)
def test_what_stripe_refuses_is_refused(store: Storefront, path: str, status: int) -> None:
    store.sell("1.00")
    assert get(store, path).status_code == status


def test_one_idempotency_key_is_one_payment(store: Storefront) -> None:
    wanted = {"amount": "900", "currency": "usd", "confirm": "true", "payment_method": "pm_card_visa"}
    first = post(store, "/v1/payment_intents", wanted, Idempotency_Key="k1")
    again = post(store, "/v1/payment_intents", wanted, Idempotency_Key="k1")
    other = post(store, "/v1/payment_intents", {**wanted, "amount": "901"}, Idempotency_Key="k1")
    assert again.json() == first.json() and again.headers["Idempotent-Replayed"] == "true"
    assert (other.status_code, other.json()["error"]["type"]) == (400, "idempotency_error")
    assert len(store.account.newest_first("charge")) == 1


def test_a_declined_card_pays_nothing(store: Storefront) -> None:
    wanted = {"amount": "900", "currency": "usd", "confirm": "true", "payment_method": "pm_card_visa_chargeDeclined"}
    answer = post(store, "/v1/payment_intents", wanted)
    assert (answer.status_code, answer.json()["error"]["code"]) == (402, "card_declined")
    assert store.account.newest_first("balance_transaction") == []


def test_a_dispute_is_decided_by_the_test_evidence(store: Storefront) -> None:
    wanted = {"amount": "900", "currency": "usd", "confirm": "true", "payment_method": "pm_card_createDispute"}
    post(store, "/v1/payment_intents", wanted)
    dispute = get(store, "/v1/disputes").json()["data"][0]
    assert dispute["status"] == "needs_response"
    won = post(
        store, f"/v1/disputes/{dispute['id']}", {"evidence[uncategorized_text]": "winning_evidence", "submit": "true"}
    )
    assert won.json()["status"] == "won"
    assert [row["amount"] for row in won.json()["balance_transactions"]] == [-900, 900]


def test_the_sdk_subscribes_and_refunds(store: Storefront) -> None:
    client = sdk.StripeClient(store.key, base_addresses={"api": store.url})
    buyer = client.v1.customers.create({"email": "ada@example.com"})
    price: Any = {"currency": "usd", "product": "prod_1", "recurring": {"interval": "month"}, "unit_amount": 700}
    made = client.v1.subscriptions.create(
        {"customer": buyer.id, "items": [{"price_data": price}], "metadata": {"nova_worker": "x"}}
    )
    paid = client.v1.invoice_payments.list().data[0]
    intent = client.v1.payment_intents.retrieve(str(paid.payment.payment_intent))
    refund = client.v1.refunds.create({"payment_intent": intent.id, "amount": 200, "reason": "requested_by_customer"})
    assert made.status == "active" and refund.status == "succeeded"
    with pytest.raises(sdk.InvalidRequestError):
        client.v1.refunds.create({"payment_intent": intent.id, "amount": 501})


def test_faults_come_once_each(storefront: Callable[..., Storefront]) -> None:
    store = storefront()
    store.fail(Fault("rate_limit", retry_after="3"))
    store.fail(Fault("error", times=2))
    store.fail(Fault("reset"))
    limited = get(store, "/v1/balance")
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "3")
    assert [get(store, "/v1/balance").status_code for _ in range(2)] == [500, 500]
    with pytest.raises(httpx.TransportError):
        get(store, "/v1/balance")
    assert get(store, "/v1/balance").status_code == 200


def test_the_sdk_keeps_and_sends_no_id_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with Storefront() as store:
        Stripe(store.key, store.url).check()
    assert not (tmp_path / "config").exists()
