from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from nova.ledger.entries import Entry
from nova.ledger.ledger import Ledger
from nova.ledger.limits import RunRef
from nova.ledger.store import Store
from nova.money import Money

AT = datetime(2026, 11, 20, 5, 30, tzinfo=UTC)


@pytest.fixture
def ledger(store: Store) -> Ledger:
    ledger = Ledger(store)
    ledger.entries.record(
        [
            Entry("sale", "shop", "revenue", Money(10_000_000, "USD"), AT, "mailer"),
            Entry("euro", "shop", "revenue", Money(10_000_000, "EUR"), AT, "mailer", rate=Decimal("1.1")),
            Entry("bill", "shop", "cost", Money(4_000_000, "USD"), AT, "mailer"),
            Entry("fix", "shop", "adjustment", Money(-1_000_000, "USD"), AT, "mailer", corrects="bill"),
        ]
    )
    run = {"type": "run", "id": "r", "worker": "mailer", "instance": "mailer#1", "status": "succeeded"}
    times = {"started_at": "2026-11-20T05:00:00Z", "ended_at": "2026-11-20T05:01:00Z"}
    ledger.transfer.import_lines([json.dumps({**run, **times})])
    ledger.budgets.reserve(RunRef("live", "mailer", "mailer#1", "growth", "m"), Money(2_000_000, "USD"))
    ledger.budgets.spend(RunRef("live", "mailer", "mailer#1", "growth", "m"), Money(1_000_000, "USD"))
    ledger.audit.append("ann", "looked", "here")
    ledger.audit.append("ann", "looked", "again")
    return ledger


def test_a_sound_ledger_verifies(ledger: Ledger) -> None:
    verified = ledger.verify()
    assert (verified.ok, verified.entries, verified.runs, verified.first_bad) == (True, 4, 1, None)


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        ("UPDATE entries SET micros = 9, booked_micros = 9 WHERE id = 'sale'", "entry shop/sale"),
        ("UPDATE entries SET worker = 'other' WHERE id = 'sale'", "entry shop/sale"),
        ("UPDATE entries SET note = 'added' WHERE id = 'sale'", "entry shop/sale"),
        ("UPDATE entries SET rate = '9' WHERE id = 'euro'", "entry shop/euro"),
        ("UPDATE entries SET booked_micros = NULL WHERE id = 'euro'", "entry shop/euro"),
        ("UPDATE entries SET side = 'revenue' WHERE id = 'fix'", "entry shop/fix"),
        ("UPDATE entries SET side = 'cost' WHERE id = 'sale'", "entry shop/sale"),
        ("DELETE FROM entries WHERE id = 'sale'", "rollups mailer/"),
        ("UPDATE rollups SET micros = micros + 1 WHERE kind = 'revenue'", "rollups mailer/"),
        ("UPDATE rollups SET squares = squares + 1 WHERE kind = 'revenue'", "rollups mailer/"),
        ("UPDATE rollups SET peak_micros = 1 WHERE kind = 'cost'", "rollups mailer/"),
        ("DELETE FROM rollups", "rollups mailer/"),
        ("UPDATE totals SET n = n + 1 WHERE kind = 'cost'", "totals mailer/shop/cost"),
        ("UPDATE totals SET first_us = 1", "totals mailer/"),
        (
            "INSERT INTO totals SELECT 'ghost', source, kind, side, unit, 1, 2, 3, 4, 5, 6 FROM totals",
            "ghost",
        ),
        ("UPDATE run_rollups SET failed = 1", "run_rollups mailer/"),
        ("DELETE FROM runs", "run_rollups mailer/"),
        ("UPDATE run_totals SET succeeded = 7", "run_totals mailer"),
        ("UPDATE budget_usage SET spent_micros = 1 WHERE scope = 'fleet'", "budget fleet day:2026-11-2"),
        ("UPDATE budget_usage SET spent_micros = 1 WHERE \"window\" = 'total'", "budget fleet total"),
        ("UPDATE budget_usage SET reserved_micros = 0 WHERE scope = 'worker:mailer'", "budget worker:mailer"),
        ("DELETE FROM budget_usage WHERE scope = 'worker:mailer'", "budget worker:mailer"),
        ("UPDATE audit SET detail = '{}' || ' ' WHERE seq = 1", "audit 1"),
    ],
)
def test_what_was_tampered_with_is_named(ledger: Ledger, harm: str, named: str) -> None:
    ledger.apply(lambda conn: conn.exec_driver_sql(harm))
    verified = ledger.verify()
    assert not verified.ok
    assert named in (verified.first_bad or "")
