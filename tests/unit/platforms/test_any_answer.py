"""Whatever stands in any field of a vendor's answer: it is read, or a BadAnswer, and no amount is guessed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nova.money import MAX_MICROS, Money
from platforms.base import BadAnswer
from platforms.gumroad_money import from_cents
from platforms.stripe_mapping import events_of, moves_own_money, transfer_of
from platforms.stripe_money import from_stripe

CHARGE: dict[str, Any] = {
    "id": "ch_1", "object": "charge", "amount": 1000, "currency": "usd", "created": 1_700_000_000, "refunded": False,
    "metadata": {"nova_worker": "mailer"}, "payment_intent": {"id": "pi_1", "metadata": {}}, "invoice": "in_1",
    "customer": {"id": "cus_1"}, "billing_details": {"email": "ann@example.com"}, "balance_transaction": {"id": "txn_0",
    "created": 1_700_000_000, "fee": 59},
}  # fmt: skip
DISPUTE: dict[str, Any] = {
    "id": "dp_1", "object": "dispute", "charge": CHARGE, "reason": "fraudulent",
    "balance_transactions": [{"id": "txn_7", "amount": -1000, "created": 1_700_000_000, "fee": 1500}],
}  # fmt: skip
SOURCES = {"charge": CHARGE, "refund": {"id": "re_1", "object": "refund", "charge": CHARGE, "balance_transaction":
           {"id": "txn_8", "created": 1_700_000_000}, "amount": 500, "currency": "eur", "reason": "x"},
           "refund_failure": {"id": "re_1", "object": "refund", "charge": "ch_1", "balance_transaction": "txn_8"},
           "adjustment": DISPUTE, "payout": None}  # fmt: skip
anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["id", "object", "metadata", "amount"]), st.integers() | st.text(max_size=3)),
    st.sampled_from([2**63, -(2**63), 10**40, "usd", "zzz", "USDX", "10", 1e300, -1, {}, [], [None], "\ud800", True]),
)  # fmt: skip


def paths(document: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [at, *(path for key, value in inner for path in paths(value, (*at, key)))]


def with_value(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(document)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


TRANSACTIONS = [
    {
        "id": "txn_1", "type": kind, "amount": amount, "fee": fee, "net": amount - fee, "currency": "usd",
        "created": 1_700_000_000, "source": source, "description": None, "exchange_rate": 1.1,
    }
    for kind, source in SOURCES.items()
    for amount, fee in ((1000, 59), (-1000, -20))
]  # fmt: skip
PLACES = [(one, path) for one in TRANSACTIONS for path in paths(one) if path]


@settings(max_examples=400)
@given(st.sampled_from(PLACES), anything)
def test_any_value_in_any_field_of_a_balance_transaction(place: tuple[Any, tuple[Any, ...]], value: Any) -> None:
    told = with_value(*place, value)
    try:
        events = events_of(told)
        if moves_own_money(told):
            transfer_of(told)
    except BadAnswer:
        return
    if not moves_own_money(told):
        assert Money.total([event.effect for event in events], told["currency"].upper()) == from_stripe(
            told["amount"] - told["fee"], told["currency"]
        )
    for event in events:
        assert abs(event.amount.micros) <= MAX_MICROS
        assert all(isinstance(text, str) and text.encode() for text in (event.id, event.source, *event.objects))


WRONG = st.one_of(
    st.floats(),
    st.text(),
    st.booleans(),
    st.none(),
    st.integers(min_value=2**63),
    st.integers(max_value=-(2**63)),
    st.lists(st.integers()),
)


@given(WRONG, st.sampled_from(["usd", "jpy", "isk", "kwd", "zzz"]))
@example("100", "usd")
@example(True, "usd")
@example(10.0, "usd")
def test_what_is_no_amount_is_no_money(amount: Any, currency: str) -> None:
    for read in (from_stripe, from_cents):
        with pytest.raises(BadAnswer):
            read(amount, currency.upper() if read is from_cents else currency)


@given(
    st.one_of(
        st.none(),
        st.integers(),
        st.text().filter(lambda text: not (len(text) == 3 and text.isascii() and text.isalpha())),
    )
)
def test_what_is_no_currency_is_no_money(currency: Any) -> None:
    with pytest.raises(BadAnswer):
        from_stripe(100, currency)


@given(st.integers(-(10**9), 10**9))
def test_each_currency_has_its_own_smallest_unit(amount: int) -> None:
    for currency, unit in (
        ("usd", 10_000),
        ("jpy", 1_000_000),
        ("kwd", 1_000),
        ("isk", 10_000),
        ("ugx", 10_000),
        ("mga", 1_000_000),
    ):
        assert from_stripe(amount, currency) == Money(amount * unit, currency.upper())
