"""What was given back: of a period's bookings and of its sales."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from nova.errors import UsageProblem
from nova.revenue.analytics.refunds import refunds

MARCH = {"since": datetime(2026, 3, 1, tzinfo=UTC), "until": datetime(2026, 4, 1, tzinfo=UTC)}


def day(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}T12:00").replace(tzinfo=UTC)


def test_a_refund_of_an_old_sale_counts_in_the_rate_and_not_of_these_sales(house: Any) -> None:
    house.book("revenue", "100", day("2026-02-10"), object="pi_old")
    house.book("revenue", "60", day("2026-03-10"), object="pi_1")
    house.book("revenue", "40", day("2026-03-10"), object="pi_2")
    house.book("refund", "50", day("2026-03-11"), object="pi_old")
    house.book("refund", "15", day("2026-04-05"), object="pi_1")
    found = refunds(house, **MARCH)["total"]
    assert found["sales"] == {"count": 2, "amount": "100.00"}
    assert found["refunds"] == {"count": 1, "amount": "50.00"}
    assert found["rate"] == {"count_percent": 50.0, "amount_percent": 50.0}
    assert found["of_these_sales"] == {
        "sales": 2, "refunded": 1, "amount": "15.00", "count_percent": 50.0, "amount_percent": 15.0,
    }  # fmt: skip


def test_what_moved_to_another_worker_is_a_sale_and_a_refund_of_that_one(house: Any) -> None:
    house.book("revenue", "60", day("2026-03-10"), id="sale", object="pi_1")
    house.book("refund", "60", day("2026-03-12"), id="back", object="pi_1")
    moved = [house.ledger.entries.find(ref) for ref in ("shop/sale", "shop/back")]
    house.ledger.entries.reattribute(moved, "poster", model="manual", evidence=None, by="anna")
    (row,) = refunds(house, **MARCH)["rows"]
    assert (row["key"], row["sales"]["count"], row["refunds"]["count"]) == ("poster", 1, 1)
    (row,) = refunds(house, by="source", **MARCH)["rows"]
    assert (row["key"], row["rate"]["amount_percent"]) == ("shop", 100.0)


def test_a_correction_changes_what_it_corrects(house: Any) -> None:
    house.book("revenue", "60", day("2026-03-10"), id="sale")
    house.book("refund", "10", day("2026-03-12"), id="back")
    house.book("adjustment", "-20", day("2026-03-13"), corrects="shop/sale")
    house.book("adjustment", "4", day("2026-03-13"), corrects="shop/back")
    found = refunds(house, **MARCH)["total"]
    assert found["sales"] == {"count": 1, "amount": "40.00"}
    assert found["refunds"] == {"count": 1, "amount": "6.00"}


def test_what_has_no_rate_is_told_and_left_out(house: Any) -> None:
    house.book("revenue", "60 EUR", day("2026-03-10"))
    found = refunds(house, **MARCH)
    assert found["rows"] == []
    assert found["unconverted"][0]["currency"] == "EUR"


def test_a_strange_key_is_refused(house: Any) -> None:
    with pytest.raises(UsageProblem):
        refunds(house, by="day")
