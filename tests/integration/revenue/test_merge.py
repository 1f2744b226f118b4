"""Two homes that are told the same, in whatever order and however often, report the same."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from nova.bootstrap import Nova
from nova.clock import ManualClock
from nova.demo.storefront import Storefront
from nova.money import Money
from nova.revenue.attribution.hand import attribute
from nova.revenue.record import record_revenue
from nova.revenue.reports import report
from nova.revenue.sync import sync


def exported(nova: Nova) -> list[str]:
    out = io.StringIO()
    nova.ledger.transfer.export(out)
    return out.getvalue().splitlines()


def troubled(nova: Nova, store: Storefront, clock: ManualClock) -> list[str]:
    """Moves, corrections, late refunds and a rate that comes late; returns the export before the rate was known."""
    sale = store.sell("20.00", worker="tagged")
    store.sell("30.00")
    store.refund(sale, "5.00", return_fee=True)
    sync(nova)
    for worker in ("x", "y", "x"):
        attribute(nova, sale.transaction, worker)
    nova.ledger.entries.adjust(f"stripe/{sale.transaction}", Money.parse("-2.5", "USD"), "twice", "ann")
    attribute(nova, sale.transaction, "z")
    clock.advance(40 * 86400)
    store.refund(sale, "1.00")
    sync(nova)
    record_revenue(nova, "e", "7.77 EUR", id="a/1")
    attribute(nova, "manual/a/1", "f")
    nova.ledger.entries.adjust("manual/a/1", Money.parse("-0.33", "EUR"), "less", "ann")
    attribute(nova, "manual/a/1", "g")
    before = exported(nova)
    nova.ledger.rates.set("EUR", Decimal("1.0837"), "ann")
    attribute(nova, "manual/a/1", "h")
    return before


@pytest.mark.parametrize("seed", range(6))
def test_an_export_in_any_order_after_half_of_an_older_one_gives_the_same_report(
    open_nova: Callable[..., Nova], store: Storefront, clock: ManualClock, figures: Callable[[Nova], Any], seed: int
) -> None:
    one, other, dice = open_nova("one"), open_nova("other"), random.Random(seed)
    older = troubled(one, store, clock)
    newer = exported(one)
    for lines in (older, newer):
        dice.shuffle(lines)
    other.ledger.transfer.import_lines(older[: len(older) // 2])
    for start in range(0, len(newer), 3):
        assert not other.ledger.transfer.import_lines(newer[start : start + 5]).rejections
    assert figures(other) == figures(one)
    assert other.ledger.verify().ok and one.ledger.verify().ok


def test_an_entry_that_two_homes_moved_differently_is_gathered_by_a_persons_word(
    open_nova: Callable[..., Nova], clock: ManualClock
) -> None:
    one, other = open_nova("one"), open_nova("other")
    for nova in (one, other):
        record_revenue(nova, "w", "10", id="1", at=clock.now())
    attribute(one, "1", "x")
    attribute(other, "1", "y")
    attribute(other, "1", "z")
    merged = one.ledger.transfer.import_lines(exported(other))
    assert [reason.endswith("another content") for _, reason in merged.rejected] == [True]
    assert attribute(one, "1", "z")["moved"] == 1
    rows = {row["key"]: (row["revenue"], row["entries"]) for row in report(one)["rows"] if row["entries"]}
    assert rows == {"z": ("10.00", 1)} and report(one)["total"]["revenue"] == "10.00"
    assert attribute(one, "1", "z")["moved"] == 0
    assert one.ledger.verify().ok
