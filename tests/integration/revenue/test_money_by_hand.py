"""Recording, reporting, reconciling and proposing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from nova.bootstrap import Nova
from nova.clock import ManualClock
from nova.demo.storefront import Storefront
from nova.errors import LedgerConflict, NotFound, UsageProblem
from nova.ledger.entries import Entry
from nova.money import Money
from nova.revenue.attribution.hand import attribute
from nova.revenue.reconcile import reconcile
from nova.revenue.record import record_cost, record_revenue
from nova.revenue.reports import report, timeline
from nova.revenue.sync import sync


def usd(amount: str) -> Money:
    return Money.parse(amount, "USD")


def test_the_same_id_is_booked_once(nova: Nova, clock: ManualClock) -> None:
    first = record_revenue(nova, "mailer", "9.90", id="one", by="dana")
    clock.advance(3600)
    again = record_revenue(nova, "mailer", "9.90", id="one", by="kim", note="again")
    assert (first["new"], again["new"], first["at"]) == (True, False, again["at"])
    assert report(nova)["total"]["revenue"] == "9.90"


@pytest.mark.parametrize(
    ("worker", "amount", "at"),
    [("mailer", "9.91", None), ("other", "9.90", None), ("mailer", "9.90", datetime(2026, 1, 1, tzinfo=UTC))],
)
def test_the_same_id_with_another_content_is_refused(nova: Nova, worker: str, amount: str, at: datetime | None) -> None:
    record_revenue(nova, "mailer", "9.90", id="one")
    with pytest.raises(LedgerConflict, match="booked already"):
        record_revenue(nova, worker, amount, id="one", at=at)
    with pytest.raises(LedgerConflict):
        record_cost(nova, "mailer", "9.90", id="one")


def test_without_an_id_every_record_is_a_new_one(nova: Nova) -> None:
    assert record_revenue(nova, "mailer", "1.00")["id"] != record_revenue(nova, "mailer", "1.00")["id"]
    assert report(nova)["total"]["entries"] == 2


@pytest.mark.parametrize("amount", ["0", "-5", "abc", "1.2345678"])
def test_what_is_no_amount_is_refused(nova: Nova, amount: str) -> None:
    with pytest.raises(UsageProblem):
        record_revenue(nova, "mailer", amount)


def test_a_cost_is_always_booked_and_counts_in_the_budget(nova: Nova) -> None:
    record_cost(nova, "mailer", "250.00", by="dana")
    assert nova.ledger.budgets.usage("fleet", "day").spent == usd("250.00")
    assert report(nova)["total"] == {
        "revenue": "0.00", "cost": "250.00", "profit": "-250.00", "roi_percent": -100.0, "entries": 1,
    }  # fmt: skip


def test_a_record_leaves_an_audit_row(nova: Nova) -> None:
    record_revenue(nova, "mailer", "9.90", id="one", by="dana")
    (row,) = nova.ledger.audit.log()
    assert (row.actor, row.action, row.subject) == ("dana", "entry_recorded", "manual/one")


def test_an_entry_of_no_payment_is_attributed_alone(nova: Nova) -> None:
    record_revenue(nova, "mailer", "9.90", id="one")
    record_revenue(nova, "mailer", "5.00", id="two")
    assert attribute(nova, "manual/one", "shop", by="dana")["moved"] == 1
    assert {row["key"]: row["revenue"] for row in report(nova)["rows"]} == {"mailer": "5.00", "shop": "9.90"}
    with pytest.raises(NotFound):
        attribute(nova, "manual/none", "shop")


def test_reports_end_where_now_is_said_to_be(nova: Nova, clock: ManualClock) -> None:
    for day in range(5):
        record_revenue(nova, "mailer", f"{day + 1}.00", at=clock.now() - timedelta(days=day))
    whole = report(nova)
    past = report(nova, now=clock.now() - timedelta(days=1, hours=1))
    assert (whole["total"]["revenue"], past["total"]["revenue"]) == ("15.00", "12.00")
    assert report(nova, since=clock.now() - timedelta(days=2), until=clock.now())["total"]["revenue"] == "5.00"


def test_a_report_by_nonsense_is_refused(nova: Nova, clock: ManualClock) -> None:
    with pytest.raises(UsageProblem) as caught:
        report(nova, by="colour")
    assert "department" in (caught.value.hint or "")
    with pytest.raises(UsageProblem, match="before it begins"):
        report(nova, since=clock.now(), until=clock.now() - timedelta(days=1))


def test_a_report_by_department_knows_what_was_deployed(nova: Nova) -> None:
    nova.ledger.deployments.note("mailer", "sales", "email_agent")
    record_revenue(nova, "mailer", "5.00")
    record_revenue(nova, "stranger", "1.00")
    assert [(row["key"], row["revenue"]) for row in report(nova, by="department")["rows"]] == [
        ("sales", "5.00"), ("undeployed", "1.00"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("zone", "day"), [("UTC", "2026-05-01"), ("Asia/Tokyo", "2026-05-01"), ("Pacific/Kiritimati", "2026-05-02")]
)
def test_a_timeline_has_a_row_for_every_local_day(open_nova: Callable[..., Nova], zone: str, day: str) -> None:
    nova = open_nova(zone.replace("/", "-"), NOVA_TIMEZONE=zone)
    record_revenue(nova, "mailer", "5.00")
    rows = timeline(nova, days=7)["rows"]
    assert len(rows) == 7 and rows[-1]["key"] == day
    assert [row["revenue"] for row in rows] == ["0.00"] * 6 + ["5.00"]


def test_the_ledger_and_the_balance_agree_after_a_sync(nova: Nova, store: Storefront) -> None:
    sale = store.sell("20.00", worker="mailer")
    store.refund(sale, "5.00")
    store.account.close_dispute(store.dispute(sale), won=True)
    store.account.payout(300, "usd")
    sync(nova)
    found = reconcile(nova)
    (row,) = found["sources"]
    assert found["ok"] and (row["difference"], row["unexplained"], row["paid_out"]) == ("0.00", "0.00", "3.00")
    assert row["ledger"] == row["platform"] == "14.12" and row["balance"] == "11.12"


def test_every_difference_is_named(nova: Nova, store: Storefront, clock: ManualClock) -> None:
    kept, changed = store.sell("20.00"), store.sell("30.00")
    sync(nova)
    store.account.get(changed.transaction)["amount"] += 100
    late = store.sell("5.00")
    extra = Entry("txn_unknown", "stripe", "revenue", usd("1.00"), clock.now())
    nova.ledger.entries.record([extra])
    found = reconcile(nova, ["stripe"])
    (row,) = found["sources"]
    named = {one["id"]: (one["problem"], one["ledger"], one["platform"]) for one in row["differences"]}
    assert named == {
        changed.transaction: ("amount differs", "30.00", "31.00"),
        late.transaction: ("missing here", None, "5.00"),
        f"{late.transaction}:fee": ("missing here", None, "-0.45"),
        "txn_unknown": ("missing there", "1.00", None),
    }
    assert not found["ok"] and row["count"] == 4 and kept.transaction not in named
    assert Decimal(row["difference"]) == Decimal(row["ledger"]) - Decimal(row["platform"])


def test_a_period_is_reconciled_by_itself(nova: Nova, store: Storefront, clock: ManualClock) -> None:
    old = clock.now()
    store.sell("20.00")
    clock.advance(10 * 86400)
    store.sell("30.00")
    sync(nova, since=clock.now() - timedelta(days=1))
    assert not reconcile(nova)["ok"]
    recent = reconcile(nova, since=clock.now() - timedelta(days=1))
    assert recent["ok"] and recent["sources"][0]["balance"] is None
    assert not reconcile(nova, since=old, until=old + timedelta(days=1))["ok"]
    with pytest.raises(UsageProblem):
        reconcile(nova, since=clock.now(), until=old)


def test_no_document_holds_the_key(nova: Nova, store: Storefront, tmp_path: Path) -> None:
    store.sell("20.00")
    told = f"{sync(nova)}{reconcile(nova)}{report(nova)}"
    assert store.key not in told
    nova.close()
    assert not any(
        store.key.encode() in path.read_bytes() for path in nova.settings.nova_home.rglob("*") if path.is_file()
    )
