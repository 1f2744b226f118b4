"""What Gumroad's sales mean, also those that are odd; and how totals become entries."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova.errors import NovaError
from nova.ledger.entries import Entry, StoredEntry
from nova.money import Money
from nova.revenue.restated import missing
from platforms.base import BadAnswer
from platforms.events import PlatformEvent
from platforms.gumroad_http import _object
from platforms.gumroad_mapping import events_of
from platforms.gumroad_money import currency_of, from_text, to_cents
from platforms.gumroad_objects import License, Product, Sale, Subscriber, pinged

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
PLAIN = {
    "id": "s==", "order_id": 7, "created_at": "2026-05-01T12:00:00Z", "product_id": "p==", "product_name": "Guide",
    "price": 1000, "gumroad_fee": 209, "currency_symbol": "$", "formatted_display_price": "$10",
    "amount_refundable_in_currency": "10", "partially_refunded": False,
}  # fmt: skip


def sale(**more: Any) -> Sale:
    return Sale.read({**PLAIN, **more})


def effects(one: Sale) -> dict[str, str]:
    return {event.id.removeprefix("s=="): str(event.effect) for event in events_of(one) if event.effect}


def test_a_plain_sale_is_its_price_and_its_fee() -> None:
    assert effects(sale()) == {"": "10.00", ":fee": "-2.09"}


@pytest.mark.parametrize(
    ("said", "refunded"),
    [
        ({"amount_refundable_in_currency": "0"}, "0.00"),  # as where Gumroad can refund it no more
        ({"partially_refunded": True, "amount_refundable_in_currency": "7.50"}, "2.50"),
        ({"partially_refunded": True, "amount_refundable_in_currency": "0"}, "10.00"),
        ({"partially_refunded": True, "amount_refundable_in_currency": None}, "0.00"),
        ({"refunded": True, "amount_refundable_in_currency": "0"}, "10.00"),
        ({"refunded": True, "partially_refunded": True}, "10.00"),
        (
            {
                "partially_refunded": True, "currency": "krw", "formatted_display_price": "₩13,000",
                "amount_refundable_in_currency": "650,000",
            },
            "5.00",
        ),
        (
            {
                "partially_refunded": True, "currency_symbol": "€", "formatted_display_price": "€1,234.50 a month",
                "amount_refundable_in_currency": "1,111.05",
            },
            "1.00",
        ),
    ],
)  # fmt: skip
def test_how_much_was_refunded(said: dict[str, Any], refunded: str) -> None:
    assert str(sale(**said).refunded) == refunded


def test_what_moves_no_money() -> None:
    assert effects(sale(price=0)) == {}
    assert effects(sale(test=True)) == {}
    assert effects(sale(is_preorder_authorization=True)) == {}
    assert effects(sale(free_trial_ends_on="May 8, 2026", recurring_charge=False)) == {}
    assert effects(sale(free_trial_ends_on="May 8, 2026", recurring_charge=True)) != {}


def test_a_dispute_takes_what_was_not_refunded_until_it_is_won() -> None:
    lost = sale(disputed=True, partially_refunded=True, amount_refundable_in_currency="4")
    assert effects(lost)[":dispute@400"] == "-4.00"
    assert ":dispute@400" not in effects(replace(lost, dispute_won=True))


def test_an_affiliate_takes_its_part() -> None:
    assert effects(sale(affiliate={"email": "x@example.com", "amount": "$1,002.50"}))[":affiliate"] == "-1002.50"


def test_a_ping_adds_the_address_and_no_money() -> None:
    ping = {"price": "1", "refunded": "true", "url_params[nova_worker]": "mailer", "url_params[nova_link]": "abc"}
    one = pinged(sale(), ping)
    assert (one.tag and one.tag.worker, one.link, one.price, one.whole) == ("mailer", "abc", sale().price, False)
    tagged = sale(url_params={"nova_worker": "shop"})
    assert pinged(tagged, ping).tag == tagged.tag


def test_texts_of_amounts() -> None:
    assert [str(from_text(text, "USD")) for text in ("99¢", "$10", "$1,234.5 a month x 3", "12.00")] == [
        "0.99", "10.00", "1234.50", "12.00",
    ]  # fmt: skip
    assert from_text("free", "USD") is None and from_text("9,999,999,999", "USD") is None
    assert (currency_of(None, "€"), currency_of("GBP", "$"), currency_of(3, "?")) == ("EUR", "GBP", "USD")
    assert to_cents(Money.parse("500", "JPY")) == 500 and to_cents(Money.parse("500", "KRW")) == 50_000


def test_half_a_character_is_readable_after_it_was_read() -> None:
    said = _object(json.dumps({"name": "\ud83d", "success": True}).encode())
    assert said is not None and said["name"].encode()
    assert _object(b"[" * 100_000) is None


@given(
    st.dictionaries(
        st.sampled_from([*PLAIN, "currency", "referrer", "url_params", "affiliate", "offer_code", "quantity", "uses"]),
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text()),
            st.dictionaries(st.text(), st.text()), st.sampled_from(["2026-05-01T12:00:00+99:00", "http://[", "1" * 99]),
        ),
    )
)  # fmt: skip
def test_whatever_is_answered_is_read_or_refused(said: dict[str, Any]) -> None:
    for read in (Sale.read, Product.read, Subscriber.read, lambda one: License.read(one, "k", "p")):
        try:
            found = read({**PLAIN, **said})
        except BadAnswer:
            continue
        except NovaError as other:
            pytest.fail(f"{type(other).__name__}: {other}")
        if isinstance(found, Sale):
            assert all(event.amount.micros >= 0 for event in events_of(found) if found.price.micros >= 0)


def total(kind: Any, amount: int) -> PlatformEvent:
    figure = {"revenue": "gross", "refund": "refunds", "fee": "fees", "dispute": "disputes"}[kind]
    stem = f"s:{kind}"
    money = Money(amount * 10_000, "USD")
    return PlatformEvent(
        "gumroad", f"{stem}@{amount}", kind, figure, money, AT, "s", "s", total_of=stem  # type: ignore[arg-type]
    )  # fmt: skip


def kept(event: PlatformEvent, seq: int) -> StoredEntry:
    entry = Entry(
        id=event.id, source=event.source, kind=event.kind, amount=event.amount, at=event.at,
        corrects=event.corrects and f"gumroad/{event.corrects}", object=event.object,
    )  # fmt: skip
    return StoredEntry(seq, entry, "revenue", None, AT)


@given(st.sampled_from(["revenue", "refund", "fee", "dispute"]), st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_the_parts_of_a_total_add_up_to_what_was_told_last(kind: str, told: list[int]) -> None:
    stored: list[StoredEntry] = []
    for amount in told:
        event = total(kind, amount)
        part = missing(event, stored)
        if part is not None:
            assert part.id not in {one.entry.id for one in stored} and part.amount
            assert part.kind == "adjustment" or part.amount.micros > 0
            stored.append(kept(part, len(stored)))
        assert sum(one.effect.micros for one in stored) == event.effect.micros
        assert missing(event, stored) is None
