"""What the client does when Gumroad, or the way to it, fails; and that nothing is ever refunded twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from platforms.gumroad_integration import Gumroad
from platforms.line import Patience
from tests.emulators.faults import Fault, Faulty, each_fault, each_lost_answer, fault_of, hold_reading, seconds_for
from tests.emulators.gumroad import Gumroad as Emulator
from tests.emulators.gumroad_shop import Shop
from tests.hands import QuickHands


@pytest.fixture
def faulty(server: Emulator) -> Iterator[Faulty]:
    with Faulty(server.url, lambda status: {"success": False, "message": f"refused with {status}"}) as between:
        yield between


@pytest.fixture
def hurried(server: Emulator, faulty: Faulty, hands: QuickHands, request: pytest.FixtureRequest) -> Iterator[Gumroad]:
    silent_s, total_s = seconds_for(fault_of(request))
    client = Gumroad(
        server.token, faulty.url, hands=hands, timeout_s=(2.0, silent_s), total_s=total_s, patience=Patience(attempts=2)
    )
    yield client
    client.close()


@each_fault
def test_a_reading_waits_out_what_passes(fault: Fault, faulty: Faulty, hurried: Gumroad, hands: QuickHands) -> None:
    hold_reading(fault, faulty, hands, hurried.check)


@each_lost_answer
def test_a_refund_whose_answer_was_lost_is_not_repeated(
    fault: Fault, faulty: Faulty, shop: Shop, hurried: Gumroad
) -> None:
    sale = shop.sell(shop.product())
    faulty.plan(fault, method="PUT")
    with pytest.raises(fault.raises):
        hurried.line.call("refund", lambda: _refund(hurried, sale), repeatable=False)
    assert len(sale.refunds) == 1


def _refund(gumroad: Gumroad, sale: Any) -> Any:
    from nova.money import Money

    return gumroad.refund(sale.id, Money.parse("1", "USD"))
