"""What the client does when Stripe, or the way to it, fails; and that nothing is ever paid twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from nova.bootstrap import build
from nova.config import load_settings
from nova.demo.storefront import Storefront
from nova.errors import NovaError
from nova.money import Money
from nova.revenue.reconcile import reconcile
from nova.revenue.reports import report
from nova.revenue.sync import sync
from platforms.base import Declined, Missing, Unreachable
from platforms.line import Patience
from platforms.stripe_integration import Stripe
from tests.emulators.faults import (
    Fault,
    Faulty,
    each_fault,
    each_lost_answer,
    fault_of,
    hold_effect,
    hold_reading,
    seconds_for,
)
from tests.hands import QuickHands


def said(status: int) -> Any:
    return {"error": {"type": "invalid_request_error", "message": f"refused with {status}"}}


@pytest.fixture
def faulty(store: Storefront) -> Iterator[Faulty]:
    with Faulty(store.url, said) as between:
        yield between


@pytest.fixture
def hurried(store: Storefront, faulty: Faulty, hands: QuickHands, request: pytest.FixtureRequest) -> Iterator[Stripe]:
    silent_s, total_s = seconds_for(fault_of(request))
    client = Stripe(
        store.key, faulty.url, hands=hands, timeout_s=(2.0, silent_s), total_s=total_s, patience=Patience(attempts=2)
    )
    yield client
    client.close()


@each_fault
def test_a_reading_waits_out_what_passes(fault: Fault, faulty: Faulty, hurried: Stripe, hands: QuickHands) -> None:
    hold_reading(fault, faulty, hands, hurried.balance)


@each_lost_answer
def test_a_payment_whose_answer_was_lost_is_made_once(
    fault: Fault, faulty: Faulty, store: Storefront, hurried: Stripe
) -> None:
    hold_effect(
        fault,
        faulty,
        lambda: hurried.payments.create(
            Money.parse("9.00", "USD"), payment_method="pm_card_visa", confirm=True, key="one"
        ),
        lambda: len(store.account.newest_first("charge")),
    )
    assert len(store.account.newest_first("charge")) == 1


@each_fault
def test_whatever_comes_back_there_is_one_payment_at_most(
    fault: Fault, faulty: Faulty, store: Storefront, hurried: Stripe
) -> None:
    def pay() -> None:
        hurried.payments.create(Money.parse("9.00", "USD"), payment_method="pm_card_visa", confirm=True, key="one")

    hold_effect(fault, faulty, pay, lambda: len(store.account.newest_first("charge")))


def refusal(status: int, **error: str) -> Any:
    return {"error": {"type": "invalid_request_error", "message": "no", **error}}


def test_a_request_that_stripe_is_still_at_work_on_is_waited_for(
    faulty: Faulty, store: Storefront, hurried: Stripe, hands: QuickHands
) -> None:
    faulty.said = lambda status: refusal(status, code="idempotency_key_in_use")
    faulty.plan(Fault("in use", Unreachable, status=409, passing=True))
    paid = hurried.payments.create(Money.parse("9.00", "USD"), payment_method="pm_card_visa", confirm=True)
    assert paid.paid and len(hands.slept) == 1 and len(store.account.newest_first("charge")) == 1


def test_a_card_that_is_declined_is_not_tried_again(faulty: Faulty, hurried: Stripe, hands: QuickHands) -> None:
    faulty.said = lambda status: refusal(status, type="card_error", code="card_declined")
    faulty.plan(Fault("402", Declined, status=402), times=99)
    with pytest.raises(Declined):
        hurried.payments.create(Money.parse("9.00", "USD"), payment_method="pm_card_visa", confirm=True)
    assert hands.slept == [] and len(faulty.requests) == 1


def test_what_is_ended_already_is_ended_when_the_answer_was_lost(
    faulty: Faulty, store: Storefront, hurried: Stripe
) -> None:
    buyer = store.account.create_customer({})
    made = store.account.subscribe(buyer, 900, "usd", {})
    store.account.get(made["id"])["status"] = "canceled"
    faulty.plan(Fault("404", Missing, status=404), method="DELETE")
    assert hurried.subscriptions.cancel(made["id"], at_period_end=False).status == "canceled"


@each_fault
def test_a_sync_meets_a_fault_and_books_each_cent_once(
    fault: Fault, faulty: Faulty, store: Storefront, hurried: Stripe, tmp_path: Path
) -> None:
    for number in range(3):
        store.sell(f"{10 + number}.00")
    nova = build(load_settings({"NOVA_HOME": str(tmp_path)}, tmp_path))
    try:
        faulty.plan(fault, times=2)
        with suppress(NovaError):
            sync(nova, clients={"stripe": hurried})
        faulty.clear()
        hurried.line.hands.wait(3600)
        sync(nova, clients={"stripe": hurried})
        assert reconcile(nova, clients={"stripe": hurried})["ok"]
        assert report(nova)["total"]["revenue"] == "31.14"
    finally:
        nova.close()
