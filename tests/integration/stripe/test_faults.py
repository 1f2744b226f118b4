"""What the client does when Stripe, or the way to it, fails; and that nothing is ever paid twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from nova.demo.storefront import Storefront
from nova.money import Money
from platforms.line import Patience
from platforms.stripe_integration import Stripe
from tests.emulators.faults import Fault, Faulty, each_fault, each_lost_answer, hold_effect, hold_reading
from tests.hands import QuickHands


def said(status: int) -> Any:
    return {"error": {"type": "invalid_request_error", "message": f"refused with {status}"}}


@pytest.fixture
def faulty(store: Storefront) -> Iterator[Faulty]:
    with Faulty(store.url, said) as between:
        yield between


@pytest.fixture
def hurried(store: Storefront, faulty: Faulty, hands: QuickHands) -> Iterator[Stripe]:
    client = Stripe(
        store.key, faulty.url, hands=hands, timeout_s=(2.0, 0.5), total_s=0.7, patience=Patience(attempts=2)
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
