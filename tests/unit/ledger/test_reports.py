from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nova.clock import ManualClock
from nova.ledger.entries import Entry
from nova.ledger.ledger import Ledger
from nova.ledger.reports import UNDEPLOYED, Report
from nova.ledger.store import Store
from nova.money import Money

AT = datetime(2026, 11, 20, 22, 30, tzinfo=UTC)


@pytest.fixture
def ledger(store: Store) -> Ledger:
    ledger = Ledger(store)
    ledger.deployments.note("mailer", "growth", "email_agent")
    ledger.deployments.note("poster", "growth", "social_agent")
    return ledger


def entry(
    id: str, worker: str | None, amount: str, kind: str = "revenue", at: datetime = AT, source: str = "shop"
) -> Entry:
    return Entry(id, source, kind, Money.parse(amount, "USD"), at, worker)


def shown(report: Report) -> dict[str, tuple[str, str, int]]:
    return {row.key: (str(row.totals.revenue), str(row.totals.cost), row.totals.entries) for row in report.rows}


def fill(ledger: Ledger) -> None:
    ledger.entries.record(
        [
            entry("1", "mailer", "100"),
            entry("2", "mailer", "40", "cost", source="bill"),
            entry("3", "poster", "5", at=AT + timedelta(hours=2)),
            entry("4", "gone", "1", "cost"),
            entry("5", None, "7"),
            entry("6", None, "0.5", "fee"),
        ]
    )


def test_an_empty_ledger_reports_nothing(ledger: Ledger) -> None:
    report = ledger.reports.report()
    assert (report.rows, report.total.entries, str(report.total.revenue)) == ((), 0, "0.00")
    assert ledger.reports.days() == []
    assert ledger.reports.report("day", AT, AT + timedelta(days=1)).rows == ()


def test_rows_and_what_is_unattributed_add_up_to_the_total(ledger: Ledger) -> None:
    fill(ledger)
    report = ledger.reports.report("worker")
    assert shown(report) == {
        "mailer": ("100.00", "40.00", 2),
        "poster": ("5.00", "0.00", 1),
        "gone": ("0.00", "1.00", 1),
    }
    assert [row.key for row in report.rows] == ["mailer", "poster", "gone"]
    assert (str(report.unattributed.revenue), report.unattributed.entries) == ("6.50", 2)
    assert (str(report.total.revenue), str(report.total.cost), report.total.entries) == ("111.50", "41.00", 6)
    rows = {row.key: row.totals for row in report.rows}
    assert (rows["mailer"].roi_percent, rows["poster"].roi_percent, rows["poster"].has_cost) == (150.0, None, False)


def test_departments_agents_and_sources_are_other_views_of_the_same(ledger: Ledger) -> None:
    fill(ledger)
    department = ledger.reports.report("department")
    assert shown(department) == {"growth": ("105.00", "40.00", 3), UNDEPLOYED: ("0.00", "1.00", 1)}
    assert department.unattributed.entries == 2
    assert set(shown(ledger.reports.report("agent"))) == {"email_agent", "social_agent", UNDEPLOYED}
    assert shown(ledger.reports.report("source")) == {"shop": ("111.50", "1.00", 5), "bill": ("0.00", "40.00", 1)}


def test_a_day_is_a_day_where_the_operator_lives(tmp_path: Path, ledger: Ledger) -> None:
    fill(ledger)
    assert shown(ledger.reports.report("day")) == {
        "2026-11-20": ("106.50", "41.00", 5),
        "2026-11-21": ("5.00", "0.00", 1),
    }
    report = ledger.reports.report("day")
    assert (str(report.unattributed.revenue), report.unattributed.entries) == ("6.50", 2)
    url = f"sqlite:///{ledger.store.path}"
    for zone, days in (
        ("Asia/Tokyo", ["2026-11-21"]),
        ("Asia/Kathmandu", ["2026-11-21"]),
        ("America/New_York", ["2026-11-20"]),
    ):
        there = Ledger.open(url, currency="USD", zone=ZoneInfo(zone), clock=ledger.store.clock)
        assert [row.key for row in there.reports.days()] == days
        there.close()


ZONES = ["UTC", "Asia/Kolkata", "America/St_Johns", "Australia/Lord_Howe", "America/Santiago", "Europe/Berlin"]
MINUTES = st.integers(0, 60 * 24 * 6)


@settings(max_examples=60, deadline=None)
@given(
    at=st.lists(st.tuples(MINUTES, st.sampled_from([None, "a", "b"]), st.booleans()), max_size=25),
    since=st.none() | MINUTES,
    until=st.none() | MINUTES,
    zone=st.sampled_from(ZONES),
    month=st.sampled_from([3, 4, 9, 10, 11]),
)
def test_any_window_in_any_zone_equals_adding_up_its_entries(
    at: list[tuple[int, str | None, bool]], since: int | None, until: int | None, zone: str, month: int
) -> None:
    start = datetime(2026, month, 27, 11, 7, tzinfo=UTC)
    first = None if since is None else start + timedelta(minutes=since)
    end = None if until is None else start + timedelta(minutes=until)
    entries = [
        entry(str(number), worker, f"{number + 1}", "cost" if cost else "revenue", start + timedelta(minutes=minute))
        for number, (minute, worker, cost) in enumerate(at)
    ]
    chosen = [one for one in entries if (first is None or one.at >= first) and (end is None or one.at < end)]
    by_day: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    by_worker: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for one in chosen:
        day = f"{one.at.astimezone(ZoneInfo(zone)):%Y-%m-%d}"
        for sums in (by_day[day], *([by_worker[one.worker]] if one.worker else [])):
            sums[one.kind == "cost"] += one.amount.micros
            sums[2] += 1
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/ledger.db"
        ledger = Ledger.open(url, currency="USD", zone=ZoneInfo(zone), clock=ManualClock(AT))
        ledger.entries.record(entries)
        reports = {by: ledger.reports.report(by, first, end) for by in ("day", "worker")}  # type: ignore[arg-type]
        ledger.close()
    for by, expected in (("day", by_day), ("worker", by_worker)):
        assert {
            row.key: [row.totals.revenue.micros, row.totals.cost.micros, row.totals.entries] for row in reports[by].rows
        } == expected
        assert reports[by].total.entries == len(chosen)
        assert reports[by].unattributed.entries == sum(one.worker is None for one in chosen)
    assert [row.key for row in reports["day"].rows] == sorted(by_day)
