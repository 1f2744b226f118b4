from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

import nova
from nova.errors import NotFound, UsageProblem
from nova.ledger.entries import Entry
from nova.ledger.ledger import Ledger
from nova.ledger.store import Store
from nova.money import Money

AT = datetime(2026, 11, 20, 5, 30, tzinfo=UTC)


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)


def sale(id: str = "s1", amount: str = "10", **changes: object) -> Entry:
    entry = Entry(id=id, source="shop", kind="revenue", amount=Money.parse(amount, "USD"), at=AT, worker="mailer")
    return replace(entry, **changes)  # type: ignore[arg-type]


def adjustment(id: str, amount: str, corrects: str, **changes: object) -> Entry:
    return sale(id, amount, kind="adjustment", corrects=corrects, **changes)


def net(ledger: Ledger, worker: str | None = "mailer") -> str:
    return str(ledger.reports.totals()[worker].revenue)


def test_the_same_entry_again_is_a_duplicate_and_another_content_a_conflict(ledger: Ledger) -> None:
    assert ledger.entries.record([sale("a"), sale("b"), sale("a")]).new == 2
    recorded = ledger.entries.record([sale("a"), sale("b", "11"), sale("c")])
    assert (recorded.new, recorded.duplicate) == (1, 1)
    [conflict] = recorded.conflicts
    assert (conflict.source, conflict.id, conflict.index) == ("shop", "b", 1)
    assert net(ledger) == "30.00"


def test_a_key_that_comes_twice_in_one_batch_keeps_the_first(ledger: Ledger) -> None:
    recorded = ledger.entries.record([sale("a", "1"), sale("a", "2"), sale("a", "1")])
    assert (recorded.new, recorded.duplicate, [conflict.index for conflict in recorded.conflicts]) == (1, 1, [1])
    assert net(ledger) == "1.00"


def test_an_adjustment_keeps_its_side_when_its_key_comes_again_as_a_sale(ledger: Ledger) -> None:
    bill = sale("bill", "4", kind="cost")
    recorded = ledger.entries.record([bill, adjustment("fix", "-1", "bill"), sale("fix", "1")])
    assert (recorded.new, [conflict.id for conflict in recorded.conflicts]) == (2, ["fix"])
    assert str(ledger.reports.totals()["mailer"].cost) == "3.00"
    assert ledger.verify().ok


@pytest.mark.parametrize(
    "changes",
    [
        {"worker": "a/b"},
        {"worker": ""},
        {"worker": "x" * 65},
        {"worker": "new\nline"},
        {"source": "a/b"},
        {"source": ""},
        {"id": ""},
        {"id": "x" * 256},
        {"id": "nul\x00"},
        {"kind": "gift"},
        {"amount": Money(0, "USD")},
        {"amount": Money(-1, "USD")},
        {"amount": Money(10**18, "USD")},
        {"amount": Money(1, "usd")},
        {"at": datetime(1999, 12, 31, tzinfo=UTC)},
        {"at": datetime(2200, 1, 1, tzinfo=UTC)},
        {"at": datetime(2026, 1, 1)},  # noqa: DTZ001
        {"rate": Decimal("0")},
        {"rate": Decimal("NaN")},
        {"rate": Decimal("1.2")},
        {"note": "\ud800"},
        {"kind": "adjustment"},
        {"kind": "adjustment", "corrects": "s1"},
        {"kind": "adjustment", "corrects": "x", "amount": Money(0, "USD")},
    ],
)
def test_what_is_no_valid_entry_is_refused_and_nothing_lands(ledger: Ledger, changes: dict[str, object]) -> None:
    with pytest.raises(UsageProblem):
        ledger.entries.record([sale("good"), replace(sale(), **changes)])  # type: ignore[arg-type]
    assert ledger.reports.totals() == {}


def test_revenue_is_net_of_refunds_fees_and_disputes(ledger: Ledger) -> None:
    ledger.entries.record(
        [
            sale("sale", "100"),
            sale("refund", "20", kind="refund"),
            sale("fee", "3.50", kind="fee"),
            sale("dispute", "6.40", kind="dispute"),
            sale("cost", "40", kind="cost"),
            adjustment("more", "1", "sale"),
            adjustment("less", "-2", "shop/cost"),
        ]
    )
    totals = ledger.reports.totals()["mailer"]
    assert (str(totals.revenue), str(totals.cost), str(totals.profit)) == ("71.10", "38.00", "33.10")
    assert totals.roi_percent == 87.11


def test_an_adjustment_waits_for_the_entry_it_corrects(ledger: Ledger) -> None:
    ledger.entries.record([adjustment("second", "-1", "first"), adjustment("first", "-3", "bill", worker="other")])
    assert ledger.reports.totals()["mailer"].pending == 1
    assert ledger.entries.find("shop/second").side == "pending"
    ledger.entries.record([sale("bill", "10", kind="cost", worker="other")])
    assert ledger.entries.find("shop/second").side == "cost"
    totals = ledger.reports.totals()
    assert (str(totals["mailer"].cost), str(totals["other"].cost)) == ("-1.00", "7.00")
    assert totals["mailer"].pending == 0
    assert ledger.verify().ok


def test_a_correction_is_booked_now_for_the_worker_the_entry_belongs_to(ledger: Ledger) -> None:
    ledger.entries.record([sale("a", worker=None)])
    ledger.entries.reattribute([ledger.entries.find("a")], "mailer", model="manual", evidence="seen", by="ann")
    made = ledger.entries.adjust("shop/a", Money.parse("-2.50", "USD"), "typed wrong", "ann")
    assert (made.entry.worker, made.entry.corrects, made.entry.at) == ("mailer", "shop/a", ledger.store.clock.now())
    assert net(ledger) == "7.50"
    with pytest.raises(UsageProblem, match="USD"):
        ledger.entries.adjust("a", Money.parse("1 EUR", "USD"), "wrong currency", "ann")
    with pytest.raises(NotFound):
        ledger.entries.adjust("nobody", Money.parse("1", "USD"), "none", "ann")
    assert [row.action for row in ledger.audit.log()] == ["entry_attributed", "entry_adjusted"]
    assert ledger.verify().ok


def test_moving_an_entry_moves_its_corrections_and_its_count_and_repeats_harmlessly(ledger: Ledger) -> None:
    ledger.entries.record([sale("a", worker=None), adjustment("b", "-1", "a", worker=None), sale("c", worker=None)])
    moved = [ledger.entries.find("a")]
    assert ledger.entries.reattribute(moved, "mailer", model="manual", evidence=None, by="ann") == 2
    assert ledger.entries.reattribute(moved, "mailer", model="manual", evidence=None, by="ann") == 0
    assert ledger.entries.owner(moved[0]) == "mailer"
    totals = ledger.reports.totals()
    assert (net(ledger), totals["mailer"].entries) == ("9.00", 2)
    assert (net(ledger, None), totals[None].entries) == ("10.00", 1)
    assert ledger.entries.reattribute(moved, "other", model="manual", evidence=None, by="ann") == 2
    assert ledger.entries.reattribute(moved, None, model="manual", evidence=None, by="ann") == 2
    assert (net(ledger, "other"), net(ledger, "mailer"), net(ledger, None)) == ("0.00", "0.00", "19.00")
    assert ledger.reports.totals()[None].entries == 3
    assert ledger.verify().ok


def test_a_move_of_which_half_arrived_is_completed_by_making_it_again(ledger: Ledger, tmp_path: Path) -> None:
    ledger.entries.record([sale("a")])
    ledger.entries.reattribute([ledger.entries.find("a")], "other", model="manual", evidence=None, by="ann")
    with ledger.read() as conn:
        half = conn.exec_driver_sql("SELECT id FROM entries WHERE id LIKE '%:from'").scalar_one()
    store = ledger.store
    with closing(
        Ledger.open(f"sqlite:///{tmp_path}/cut.db", currency="USD", zone=store.zone, clock=store.clock)
    ) as cut:
        cut.entries.record([sale("a"), ledger.entries.find(half).entry])
        assert cut.entries.reattribute([cut.entries.find("a")], "other", model="manual", evidence=None, by="ann") == 1
        assert (net(cut, "mailer"), net(cut, "other")) == ("0.00", "10.00")
        assert cut.verify().ok


def test_a_move_is_not_adjusted_but_what_it_moves(ledger: Ledger) -> None:
    ledger.entries.record([sale("a")])
    ledger.entries.reattribute([ledger.entries.find("a")], "other", model="manual", evidence=None, by="ann")
    with ledger.read() as conn:
        move = conn.exec_driver_sql("SELECT id FROM entries WHERE id LIKE '%:to'").scalar_one()
    with pytest.raises(UsageProblem, match="moves an entry") as refused:
        ledger.entries.adjust(move, Money.parse("1", "USD"), "n", "ann")
    assert refused.value.hint == "adjust shop/a instead"


@pytest.mark.parametrize("ref", ["\udcff", "shop/\udcff"])
def test_a_name_that_is_no_text_is_a_problem_of_usage(ledger: Ledger, ref: str) -> None:
    with pytest.raises(UsageProblem, match="half a character"):
        ledger.entries.find(ref)
    with pytest.raises(UsageProblem, match="half a character"):
        ledger.claims.claim("stripe", ref.removeprefix("shop/"), "mailer")


def test_an_entry_is_found_by_its_id_alone_when_only_one_source_has_it(ledger: Ledger) -> None:
    ledger.entries.record([sale("a"), sale("b"), sale("b", source="other"), sale("x/y", object="pi_1")])
    assert ledger.entries.find("a").ref == "shop/a"
    assert ledger.entries.find("x/y").ref == "shop/x/y"
    assert ledger.entries.find("shop/x/y").entry == sale("x/y", object="pi_1")
    with pytest.raises(UsageProblem, match="several"):
        ledger.entries.find("b")
    with pytest.raises(NotFound):
        ledger.entries.find("shop/none")
    assert [stored.ref for stored in ledger.entries.of_object("shop", "pi_1")] == ["shop/x/y"]


_PROCESS = """
import sys, threading
from datetime import UTC, datetime
from zoneinfo import ZoneInfo
from nova.clock import SystemClock
from nova.ledger.entries import Entry
from nova.ledger.ledger import Ledger
from nova.money import Money

ledger = Ledger.open(sys.argv[1], currency="USD", zone=ZoneInfo("UTC"), clock=SystemClock(), grouped=True)
at, new = datetime(2026, 11, 20, 5, 30, tzinfo=UTC), []

def work():
    for number in range(40):
        entry = Entry(f"id-{number}", "shop", "revenue", Money(70_000, "USD"), at, worker="mailer")
        new.append(ledger.entries.record([entry]).new)

threads = [threading.Thread(target=work) for _ in range(5)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
ledger.close()
print(sum(new))
"""


def test_threads_and_processes_that_record_the_same_ids_record_each_once(ledger: Ledger) -> None:
    command = [sys.executable, "-c", _PROCESS, f"sqlite:///{ledger.store.path}"]
    environment = {**os.environ, "PYTHONPATH": str(Path(nova.__file__).parents[1])}
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(3)]
    counts = [int(process.communicate(timeout=60)[0]) for process in running]
    assert sum(counts) == 40
    assert net(ledger) == "2.80"
    assert ledger.verify().ok
