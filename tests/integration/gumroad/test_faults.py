"""What the client does when Gumroad, or the way to it, fails; and that nothing is ever refunded twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from nova.money import Money
from platforms.gumroad_integration import Gumroad
from platforms.line import Patience
from tests.emulators.faults import (
    FAULTS,
    LOST,
    Fault,
    Faulty,
    each_fault,
    fault_of,
    hold_effect,
    hold_reading,
    seconds_for,
)
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


class RunHands(QuickHands):
    """Those of a run and its repetitions: what may have been done is looked for, and done again only if it was not."""

    def __init__(self) -> None:
        super().__init__()
        self.done: dict[str, Any] = {}
        self.begun = False

    def once(self, what: str, key: str, payload: Any, action: Any, find: Any = None) -> Any:
        if self.begun and "it" not in self.done and (found := find(key)) is not None:
            self.done["it"] = found
        if "it" not in self.done:
            self.begun = True
            self.done["it"] = action(key)
        return self.done["it"]


@pytest.mark.parametrize("fault", [*FAULTS, *LOST], ids=lambda fault: f"{fault.name}{' done' * fault.carried_out}")
@pytest.mark.parametrize("amount", [None, Money.parse("1", "USD")], ids=["all", "a part"])
def test_whatever_comes_back_there_is_one_refund_at_most(
    fault: Fault, amount: Money | None, faulty: Faulty, shop: Shop, server: Emulator
) -> None:
    sale = shop.sell(shop.product())
    silent_s, total_s = seconds_for(fault)
    options = {"hands": RunHands(), "timeout_s": (2.0, silent_s), "total_s": total_s, "patience": Patience(attempts=2)}
    gumroad = Gumroad(server.token, faulty.url, **options)  # type: ignore[arg-type]
    try:
        hold_effect(fault, faulty, lambda: gumroad.refund(sale.id, amount), lambda: len(sale.refunds), "PUT")
    finally:
        gumroad.close()
