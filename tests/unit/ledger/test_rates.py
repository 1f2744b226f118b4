from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from nova.errors import UsageProblem
from nova.ledger.entries import Entry
from nova.ledger.ledger import Ledger
from nova.ledger.store import Store
from nova.money import Money

AT = datetime(2026, 11, 20, 5, 30, tzinfo=UTC)


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)


def sale(id: str, amount: str, rate: str | None = None) -> Entry:
    money = Money.parse(amount, "USD")
    return Entry(id, "shop", "revenue", money, AT, "mailer", rate=None if rate is None else Decimal(rate))


def test_without_a_rate_an_amount_stays_out_of_the_sums_and_is_shown(ledger: Ledger) -> None:
    ledger.entries.record([sale("a", "10 EUR"), sale("b", "5"), replace(sale("c", "2 EUR"), kind="cost")])
    totals = ledger.reports.totals()["mailer"]
    assert (str(totals.revenue), totals.entries, totals.unconverted, totals.has_cost) == ("5.00", 3, 2, False)
    shown = [
        (row.worker, row.side, row.entries, str(row.amount), row.amount.currency)
        for row in ledger.reports.unconverted()
    ]
    assert shown == [("mailer", "cost", 1, "2.00", "EUR"), ("mailer", "revenue", 1, "10.00", "EUR")]
    assert ledger.reports.unconverted_workers() == {"mailer"}


def test_a_rate_converts_what_waited_and_what_comes_but_not_what_was_converted(ledger: Ledger) -> None:
    ledger.entries.record([sale("a", "10 EUR"), replace(sale("b", "1 EUR"), kind="cost")])
    assert ledger.rates.set("eur", Decimal("1.10"), "ann") == 2
    ledger.entries.record([sale("c", "10 EUR")])
    assert ledger.rates.set("EUR", Decimal("2"), "ann") == 0
    ledger.entries.record([sale("d", "10 EUR"), sale("e", "10 EUR", rate="3")])
    totals = ledger.reports.totals()["mailer"]
    assert (str(totals.revenue), str(totals.cost), totals.unconverted) == ("72.00", "1.10", 0)
    assert str(ledger.budgets.usage("worker:mailer", "day", AT).spent) == "1.10"
    [rate] = ledger.rates.all()
    assert (rate.currency, rate.rate, rate.by) == ("EUR", Decimal(2), "ann")
    assert ledger.entries.find("a").entry.rate == Decimal("1.1")
    assert ledger.verify().ok


def test_an_unconverted_entry_that_comes_again_with_a_rate_is_converted(ledger: Ledger) -> None:
    ledger.entries.record([sale("a", "10 EUR"), sale("b", "20 EUR")])
    ledger.entries.reattribute([ledger.entries.find("a")], "other", model="manual", evidence=None, by="ann")
    assert ledger.entries.record([sale("a", "10 EUR", rate="1.5")]).duplicate == 1
    totals = ledger.reports.totals()
    assert (str(totals["other"].revenue), str(totals["mailer"].revenue)) == ("15.00", "0.00")
    assert (totals["other"].unconverted, totals["mailer"].unconverted) == (0, 1)
    assert ledger.verify().ok


def test_a_move_that_comes_again_with_its_entry_and_their_rate_is_converted_once(ledger: Ledger) -> None:
    ledger.entries.record([sale("a", "10 EUR")])
    ledger.entries.reattribute([ledger.entries.find("a")], "other", model="manual", evidence=None, by="ann")
    with ledger.read() as conn:
        moves = [row.id for row in conn.exec_driver_sql("SELECT id FROM entries WHERE source = 'reattribution'")]
    known = [ledger.entries.find(id).entry for id in ("a", *moves)]
    assert ledger.entries.record([replace(entry, rate=Decimal("1.5")) for entry in known]).duplicate == 3
    totals = ledger.reports.totals()
    assert (str(totals["other"].revenue), str(totals["mailer"].revenue)) == ("15.00", "0.00")
    assert ledger.verify().ok


def test_an_adjustment_that_finds_its_rate_and_its_entry_at_once_is_on_its_side(ledger: Ledger) -> None:
    fix = replace(sale("fix", "2 EUR"), kind="adjustment", corrects="shop/a")
    ledger.entries.record([fix])
    ledger.entries.record([sale("a", "10 EUR", rate="1.5"), replace(fix, rate=Decimal("1.5"))])
    totals = ledger.reports.totals()["mailer"]
    assert (str(totals.revenue), totals.pending, totals.unconverted) == ("18.00", 0, 0)
    assert ledger.verify().ok


def test_a_rate_that_contradicts_the_stored_one_is_a_conflict(ledger: Ledger) -> None:
    ledger.entries.record([sale("a", "10 EUR", rate="1.50")])
    again = ledger.entries.record([sale("a", "10 EUR", rate="1.5"), sale("a", "10 EUR")])
    assert (again.duplicate, again.conflicts) == (2, ())
    [conflict] = ledger.entries.record([sale("a", "10 EUR", rate="1.51")]).conflicts
    assert "rate" in conflict.message


@pytest.mark.parametrize(
    ("currency", "rate"), [("EURO", "1"), ("USD", "1"), ("EUR", "0"), ("EUR", "-1"), ("EUR", "Infinity")]
)
def test_what_is_no_rate_is_refused(ledger: Ledger, currency: str, rate: str) -> None:
    with pytest.raises(UsageProblem):
        ledger.rates.set(currency, Decimal(rate), "ann")


def test_an_amount_too_large_at_the_operators_rate_is_refused(ledger: Ledger) -> None:
    ledger.rates.set("KWD", Decimal(1000), "ann")
    with pytest.raises(UsageProblem, match="larger"):
        ledger.entries.record([sale("a", "99000000000 KWD")])
