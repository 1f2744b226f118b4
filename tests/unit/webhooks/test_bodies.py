"""What stands in the bodies of webhooks: sales and refunds by declared paths, events of mails, and nonsense."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova.errors import UsageProblem
from nova.fleet.webhooks import WebhookSender, sender_of
from nova.money import Money
from nova.people import subject_of_click, subject_of_email
from nova.webhooks.bodies import (
    BadDelivery,
    Nothing,
    found,
    id_of,
    mail_events,
    read_form,
    read_json,
    sale_of,
    stripe_event,
)
from platforms.events import PlatformEvent
from tests.signing import as_json

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SHOP = WebhookSender(
    "shop", "SHOP_SECRET", id_path="data.order", amount_path="data.total", currency_path="data.currency",
    at_path="at", worker_path="data.tags.0",
)  # fmt: skip
ORDER = {
    "at": "2026-11-20T10:00:00Z",
    "data": {"order": "o-1", "total": "19.90", "currency": "eur", "tags": ["mailer"]},
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def told(sender: WebhookSender = SHOP, document: Any = None) -> PlatformEvent:
    event = sale_of(sender, as_json(ORDER if document is None else document), NOW, "USD")
    assert isinstance(event, PlatformEvent)
    return event


def with_data(**changes: Any) -> dict[str, Any]:
    return {**ORDER, "data": {**ORDER["data"], **changes}}


def test_a_sale_is_read_by_its_paths() -> None:
    event = told()
    assert (event.source, event.id, event.kind, event.amount) == (
        "webhook:shop", "o-1", "revenue", Money.parse("19.90", "EUR"),
    )  # fmt: skip
    assert event.at == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert event.tag is not None and event.tag.worker == "mailer"


def test_who_paid_is_a_hash_and_the_click_that_led_there() -> None:
    who = replace(SHOP, email_path="data.email", click_path="data.ref")
    event = told(who, with_data(email=" Ann@example.com", ref="c1"))
    assert event.subjects == (subject_of_email("ann@example.com"), subject_of_click("c1"))
    assert told(who, with_data(email=5)).subjects == ()


def test_an_amount_may_be_a_number_and_loses_no_cent() -> None:
    assert told(document=with_data(total=0.1)).amount == Money.parse("0.10", "EUR")
    assert told(document=with_data(total=1234567.89)).amount == Money.parse("1234567.89", "EUR")
    minor = replace(SHOP, minor=True)
    assert told(minor, with_data(total=1990)).amount == Money.parse("19.90", "EUR")
    assert told(minor, with_data(total=1990, currency="JPY")).amount == Money.parse("1990", "JPY")


def test_a_refund_is_told_by_its_kind_or_by_its_sign() -> None:
    by_sign = told(document=with_data(total="-5"))
    assert (by_sign.kind, by_sign.id, by_sign.object, by_sign.amount.micros) == (
        "refund",
        "o-1:refund",
        "o-1",
        5_000_000,
    )
    kinds = replace(SHOP, kind_path="type", sales=("order.paid",), refunds=("order.refunded",))
    assert told(kinds, {**ORDER, "type": "order.refunded"}).kind == "refund"
    assert told(kinds, {**ORDER, "type": "order.paid"}).kind == "revenue"
    assert isinstance(sale_of(kinds, as_json({**ORDER, "type": "order.seen"}), NOW, "USD"), Nothing)


def test_without_paths_the_currency_is_the_ledgers_and_the_time_is_now() -> None:
    plain = WebhookSender("shop", "S")
    event = told(plain, {"id": 7, "amount": "3"})
    assert (event.id, event.amount, event.at, event.tag) == ("7", Money.parse("3", "USD"), NOW, None)
    assert told(replace(plain, currency="GBP"), {"id": 7, "amount": "3"}).amount.currency == "GBP"


def test_times_may_be_seconds_or_milliseconds() -> None:
    for at in (1_795_000_000, 1_795_000_000_000, 1_795_000_000.25):
        assert told(document={**ORDER, "at": at}).at.year == 2026


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"total": None}, "no amount"), ({"total": "ten"}, "not an amount"), ({"total": True}, "no amount"),
        ({"total": "1.2345678"}, "not an amount"), ({"total": 10**30}, "not an amount"), ({"total": []}, "no amount"),
        ({"currency": None}, "no currency"), ({"currency": "euro"}, "no currency"), ({"currency": 5}, "no currency"),
        ({"total": "5 USD"}, "whose currency"), ({"order": ""}, "no id"), ({"order": "\ud800"}, "no id"),
        ({"order": {}}, "no id"), ({"order": " "}, "no id"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_says_what_and_where(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(BadDelivery, match=word):
        sale_of(SHOP, as_json(with_data(**changes)), NOW, "USD")


def test_a_time_that_is_none_is_not_guessed() -> None:
    for at in ("yesterday", [], True, "1850-01-01", 10**40, -(10**40)):
        with pytest.raises(BadDelivery, match="no time"):
            sale_of(SHOP, as_json({**ORDER, "at": at}), NOW, "USD")


@given(document=json_values, minor=st.booleans(), kind=st.sampled_from([None, "type", "a.b"]))
def test_any_json_is_a_sale_or_nothing_or_bad(document: Any, minor: bool, kind: str | None) -> None:
    sender = WebhookSender("s", "S", id_path="i", amount_path="a", at_path="t", minor=minor, kind_path=kind)
    inner = {"i": document, "a": document, "t": document, "type": document}
    for given_document in (document, inner, {**inner, "i": "1"}, {**inner, "i": "1", "t": 1_795_000_000}):
        try:
            body = as_json(given_document)
            assert isinstance(sale_of(sender, body, NOW, "USD"), PlatformEvent | Nothing)
        except BadDelivery:
            pass


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_bad(body: bytes) -> None:
    for read in (read_json, read_form, mail_events):
        with contextlib.suppress(BadDelivery):
            read(body)
    assert stripe_event(body)[0]


def test_deep_and_strange_bodies_are_bad_and_hurt_nobody() -> None:
    for body in (b"[" * 100_000, b"NaN", b'{"a": Infinity}', b"\xef\xbb\xbf{}", b"1" * 10_000, b""):
        with pytest.raises(BadDelivery):
            read_json(body)
    assert found({"a": [{"b": 1}]}, "a.0.b") == 1
    assert found({"a": [{"b": 1}]}, "a.1.b") is None
    assert found([1], "0") == 1 and found("text", "0") is None and found({"a": None}, "a.b.c") is None


def test_an_id_that_cannot_be_kept_gives_way_to_the_hash() -> None:
    assert id_of(b"x", "evt_1") == "evt_1"
    for said in (None, 5, "", "a b", "é", "\ud800", "x" * 300):
        assert len(id_of(b"x", said)) == 64
    assert stripe_event(b'{"id": "evt_9", "type": "charge.refunded"}') == ("evt_9", "charge.refunded")


def test_events_of_mails_are_read_and_strangers_passed_over() -> None:
    good = {"event": "click", "email": "a@example.com", "sg_event_id": "e1", "timestamp": 1_795_000_000}
    body = as_json([{**good, "nova_worker": "mailer", "nova_campaign": "may"}, 5, {}, {**good, "timestamp": "x"}])
    [event] = mail_events(body)
    assert (event.id, event.kind, event.worker, event.campaign) == ("e1", "click", "mailer", "may")
    for bad in (b"{}", b"[1, 2]", b'[{"event": "click"}]'):
        with pytest.raises(BadDelivery):
            mail_events(bad)


def test_a_declared_sender_comes_back_as_it_was() -> None:
    sender = replace(SHOP, kind_path="type", refunds=("a", "b"), minor=True)
    assert sender_of(sender.to_document()) == sender


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "stripe"}, {"name": "a/b"}, {"secret": "whsec_value="}, {"scheme": "md5"}, {"id_path": "a..b"},
        {"amount_path": ""}, {"header": "X-Other"}, {"timestamp_header": "X-T"}, {"currency": "EUR"},
        {"worker": "mailer"}, {"scheme": "hmac-sha256", "header": "a b"},
        {"currency_path": None, "currency": "euro"},
    ],
)  # fmt: skip
def test_what_cannot_be_declared_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageProblem):
        replace(SHOP, **changes).checked()
