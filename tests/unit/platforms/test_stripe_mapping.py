"""Every kind of balance transaction, and that no cent is lost in any."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova.money import Money
from platforms.events import Tag
from platforms.stripe_mapping import events_of, transfer_of
from platforms.stripe_money import from_stripe, to_stripe

TYPES = (
    "adjustment", "application_fee", "charge", "climate_order_purchase", "contribution", "issuing_transaction",
    "payment",
    "payment_failure_refund", "payment_refund", "payment_reversal", "refund", "refund_failure", "stripe_fee",
    "stripe_fx_fee", "tax_fee", "something_new",
)  # fmt: skip


def transaction(type: str, amount: int, fee: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "id": "txn_1", "type": type, "amount": amount, "fee": fee, "net": amount - fee, "currency": "usd",
        "created": 1_700_000_000, "source": None, "description": None, "exchange_rate": None, **more,
    }  # fmt: skip


def charge(**more: Any) -> dict[str, Any]:
    return {
        "id": "ch_1",
        "object": "charge",
        "payment_intent": "pi_1",
        "balance_transaction": "txn_0",
        "metadata": {},
        **more,
    }


sources = st.sampled_from(
    [
        None,
        "ch_1",
        charge(),
        {"id": "re_1", "object": "refund", "charge": charge(), "balance_transaction": "txn_0"},
        {"id": "re_1", "object": "refund", "charge": None, "balance_transaction": None},
        {
            "id": "dp_1",
            "object": "dispute",
            "charge": "ch_1",
            "balance_transactions": [transaction("adjustment", -5, 15, id="txn_0")],
        },
        {"id": "dp_1", "object": "dispute", "charge": "ch_1", "balance_transactions": []},
    ]
)


@given(st.sampled_from(TYPES), st.integers(-(10**9), 10**9), st.integers(-(10**6), 10**6), sources)
def test_the_effects_of_its_events_are_the_net_of_a_transaction(type: str, amount: int, fee: int, source: Any) -> None:
    told = transaction(type, amount, fee, source=source)
    events = events_of(told)
    assert Money.total([event.effect for event in events], "USD") == from_stripe(told["net"], told["currency"])
    for event in events:
        assert event.amount.micros > 0 or event.kind == "adjustment"
        assert (event.corrects is not None) == (event.kind == "adjustment")
        assert event.corrects != event.id


@pytest.mark.parametrize("type", ["payout", "transfer", "topup", "reserve_transaction", "payout_failure"])
def test_own_money_on_its_way_is_no_event(type: str) -> None:
    assert transfer_of(transaction(type, -500)).amount == Money.parse("-5.00", "USD")
    (fee,) = events_of({**transaction(type, -500), "fee": 5, "net": -505})
    assert (fee.kind, fee.amount, fee.object) == ("fee", Money.parse("0.05", "USD"), None)
    assert events_of(transaction(type, -500)) == ()


def test_unknown_kinds_are_shown_by_their_sign() -> None:
    (lost,) = events_of(transaction("something_new", -500, description="what it says"))
    (won,) = events_of(transaction("something_new", 500))
    assert (lost.kind, lost.figure, lost.note) == ("fee", "fees", "something_new: what it says")
    assert (won.kind, won.figure, won.note, won.object) == ("revenue", "gross", "something_new", None)


def test_a_refund_that_failed_takes_the_refund_back() -> None:
    source = {"id": "re_1", "object": "refund", "charge": charge(), "balance_transaction": "txn_0"}
    (event,) = events_of(transaction("refund_failure", 300, source=source))
    assert (event.kind, event.figure, event.corrects, event.object) == ("adjustment", "refunds", "txn_0", "pi_1")


def test_a_fee_given_back_with_a_refund_corrects_the_fee_of_the_sale() -> None:
    source = {"id": "re_1", "object": "refund", "charge": charge(), "balance_transaction": "txn_9"}
    refund, fee = events_of(transaction("refund", -300, -20, source=source))
    assert (refund.kind, fee.kind, fee.corrects, fee.amount) == (
        "refund",
        "adjustment",
        "txn_0:fee",
        Money.parse("0.20", "USD"),
    )


@pytest.mark.parametrize(
    ("on_charge", "on_intent", "expected"),
    [
        ({"nova_worker": "a"}, {"nova_worker": "b"}, Tag("a", "charge.metadata")),
        ({}, {"nova_worker": "b"}, Tag("b", "payment_intent.metadata")),
        ({"nova_worker": " "}, {}, None),
    ],
)
def test_the_charge_is_asked_before_the_intent(
    on_charge: dict[str, str], on_intent: dict[str, str], expected: Tag | None
) -> None:
    source = charge(metadata=on_charge, payment_intent={"id": "pi_1", "metadata": on_intent})
    (event,) = events_of(transaction("charge", 500, source=source))
    assert (event.tag, event.object, event.objects) == (expected, "pi_1", ("pi_1", "ch_1", "txn_1"))


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [(500, "usd", "5.00"), (500, "jpy", "500"), (500, "kwd", "0.500"), (500, "ugx", "5"), (500, "mga", "500.00")],
)
def test_amounts_follow_stripes_own_smallest_units(minor: int, currency: str, text: str) -> None:
    money = from_stripe(minor, currency)
    assert (str(money), to_stripe(money)) == (text, minor)
