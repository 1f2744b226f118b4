from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from nova.clock import ManualClock
from nova.ledger.entries import Entry
from nova.ledger.ledger import Ledger
from nova.money import Money

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
WORKERS = (None, "ann", "bob")
IDS = [f"e{number}" for number in range(8)]


def opened(folder: str) -> Ledger:
    url = f"sqlite:///{Path(folder) / 'ledger.db'}"
    return Ledger.open(url, currency="USD", zone=ZoneInfo("Asia/Kolkata"), clock=ManualClock(NOW))


def entry_of(id: str, seed: int) -> Entry:
    """One content an id, whatever the example, so that coming twice is a duplicate."""
    draw = random.Random(f"{id}/{seed}")
    kind = draw.choice(["revenue", "refund", "fee", "dispute", "cost", "adjustment", "adjustment"])
    micros = draw.randrange(1, 50_000_000) * (draw.choice([1, -1]) if kind == "adjustment" else 1)
    return Entry(
        id=id,
        source=draw.choice(["shop", "shop", "bank"]),
        kind=kind,
        amount=Money(micros, draw.choice(["USD", "EUR", "JPY"])),
        at=NOW - timedelta(minutes=draw.randrange(300)),
        worker=draw.choice(WORKERS),
        corrects=f"{draw.choice(['shop', 'bank'])}/{draw.choice([other for other in IDS if other != id])}"
        if kind == "adjustment"
        else None,
    )


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("record"), st.lists(st.sampled_from(IDS), min_size=1, max_size=5)),
        st.tuples(st.just("record_rated"), st.sampled_from(IDS)),
        st.tuples(st.just("move"), st.sampled_from(IDS), st.sampled_from(WORKERS)),
        st.tuples(st.just("adjust"), st.sampled_from(IDS), st.integers(-5_000_000, 5_000_000).filter(bool)),
        st.tuples(st.just("rate"), st.sampled_from(["EUR", "JPY"]), st.sampled_from(["1.08", "0.0067", "2"])),
    ),
    max_size=12,
)


def run_step(ledger: Ledger, step: tuple[object, ...], seed: int) -> None:
    match step:
        case ("record", list(ids)):
            ledger.entries.record([entry_of(id, seed) for id in ids])
        case ("record_rated", str(id)):
            entry = entry_of(id, seed)
            rate = None if entry.amount.currency == "USD" else Decimal("1.5")
            ledger.entries.record([replace(entry, rate=rate)])
        case ("rate", str(currency), str(rate)):
            ledger.rates.set(currency, Decimal(rate), "ann")
        case ("move", str(id), worker):
            entry = entry_of(id, seed)
            if ledger.store.apply(
                lambda conn: conn.exec_driver_sql("SELECT 1 FROM entries WHERE id = ?", (id,)).first()
            ):
                ledger.entries.reattribute(
                    [ledger.entries.find(entry.ref)],
                    worker,  # type: ignore[arg-type]
                    model="manual",
                    evidence=None,
                    by="ann",
                )
        case ("adjust", str(id), int(micros)):
            entry = entry_of(id, seed)
            known = ledger.store.apply(
                lambda conn: conn.exec_driver_sql("SELECT side FROM entries WHERE id = ?", (id,)).first()
            )
            if known and known.side != "pending":
                ledger.entries.adjust(entry.ref, Money(micros, entry.amount.currency), "", "ann")


@settings(max_examples=120, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 1000))
def test_the_sums_equal_a_full_recount_after_whatever_happened(steps: list[tuple[object, ...]], seed: int) -> None:
    with TemporaryDirectory() as folder:
        ledger = opened(folder)
        for step in steps:
            run_step(ledger, step, seed)
        verified = ledger.verify()
        ledger.close()
    assert verified.first_bad is None


@settings(max_examples=60, deadline=None)
@given(order=st.permutations(IDS), again=st.lists(st.sampled_from(IDS)), seed=st.integers(0, 1000))
def test_the_order_of_arrival_and_repetition_change_no_report(order: list[str], again: list[str], seed: int) -> None:
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        first, second = opened(one), opened(other)
        first.entries.record([entry_of(id, seed) for id in IDS])
        first.rates.set("EUR", Decimal("1.08"), "ann")
        second.rates.set("EUR", Decimal("1.08"), "ann")
        for id in [*again, *order]:
            second.entries.record([entry_of(id, seed)])
        assert first.reports.totals() == second.reports.totals()
        assert first.reports.report("day") == second.reports.report("day")
        first.close()
        second.close()
