from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pytest

from nova.autonomous.figures import read_windows
from nova.autonomous.spans import Span
from nova.clock import HOUR_US, to_us
from nova.ledger.entries import Entry
from nova.money import Money


def test_sums_of_hours_and_pieces_equal_a_count_of_the_facts(office: Any, now: datetime) -> None:
    chance = random.Random(3)
    facts = []
    for i in range(600):
        kind = chance.choice(["revenue", "revenue", "cost", "refund", "fee", "dispute"])
        at = now - timedelta(seconds=chance.uniform(0, 3 * 86400))
        amount = Money(chance.randrange(1, 50_000_000), "USD")
        facts.append(Entry(f"f{i}", "history", kind, amount, at, chance.choice(["a", "b"])))
    office.ledger.entries.record(facts)
    spans = []
    for _ in range(60):
        start = to_us(now) - chance.randrange(0, 72 * HOUR_US)
        spans.append(Span(chance.choice(["a", "b"]), start, start + chance.randrange(0, 30 * HOUR_US)))

    with office.ledger.read() as conn:
        windows = read_windows(conn, spans, "USD")

    for span, window in zip(spans, windows, strict=True):
        inside = [one for one in facts if one.worker == span.worker and span.start_us <= to_us(one.at) < span.end_us]
        sums = dict.fromkeys(("revenue", "cost", "refund", "fee", "dispute"), 0)
        for one in inside:
            sums[one.kind] += one.amount.micros
        sales = [one.amount.micros / 1e6 for one in inside if one.kind == "revenue"]
        assert window.cost.micros == sums["cost"]
        assert window.revenue.micros == sums["revenue"] - sums["refund"] - sums["fee"] - sums["dispute"]
        assert window.sales.count == len(sales)
        assert window.sales.squares == pytest.approx(sum(x * x for x in sales))
        assert window.sales.peak == pytest.approx(max(sales, default=0))
        assert window.returns.count == sum(one.kind in ("refund", "dispute") for one in inside)
