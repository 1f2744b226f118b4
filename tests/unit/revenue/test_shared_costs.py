from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nova.bootstrap import Nova, build
from nova.clock import ManualClock
from nova.config import load_settings
from nova.errors import NotFound, UsageProblem
from nova.fleet.documents import Declaration
from nova.ledger.entries import Entry
from nova.ledger.limits import RunRef
from nova.money import Money
from nova.revenue.shared import book_due, share, shared, unshare

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY = 86_400


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def nova(home: Path, clock: ManualClock) -> Iterator[Nova]:
    built = build(load_settings(), clock=clock)
    yield built
    built.close()


def deploy(nova: Nova, *names: str, department: str = "sales") -> None:
    for name in names:
        nova.fleet.deploy(Declaration(name, department, "shell", config={"command": "true"}))


def sell(nova: Nova, worker: str, amount: str, number: int = 1) -> None:
    at = nova.clock.now()
    entry = Entry(f"{worker}-{at:%m%d}-{number}", "shop", "revenue", Money.parse(amount, "USD"), at, worker)
    nova.ledger.entries.record([entry])


def declared(nova: Nova, bill: str = "30/month", **other: Any) -> dict[str, Any]:
    return share(nova, bill, **{"among": "department:sales", "basis": "even", "by": "dana", **other})


def borne(nova: Nova) -> dict[str | None, str]:
    """What each has been booked so far."""
    with nova.ledger.read() as conn:
        rows = conn.exec_driver_sql("SELECT worker, booked_micros FROM entries WHERE kind = 'cost'").all()
    sums: dict[str | None, Money] = defaultdict(lambda: Money(0, "USD"))
    for worker, micros in rows:
        sums[worker] += Money(micros, "USD")
    return {worker: str(amount) for worker, amount in sums.items()}


def test_a_month_of_days_adds_up_to_the_bill_whoever_bears_them(nova: Nova, clock: ManualClock) -> None:
    deploy(nova, "a", "b", "c")
    declared(nova, "49.99/month", basis="revenue", name="github")
    for day in range(30):
        for name in ("a", "b", "c")[: day % 4]:
            sell(nova, name, f"{day + 1}.37")
        clock.advance(DAY)
        book_due(nova)
    amounts = borne(nova)
    assert set(amounts) == {"a", "b", "c"}
    assert Money.total((Money.parse(one, "USD") for one in amounts.values()), "USD") == Money.parse("49.99", "USD")
    assert nova.ledger.verify().first_bad is None


def test_only_days_that_have_ended_are_booked_and_each_once(nova: Nova, clock: ManualClock) -> None:
    deploy(nova, "a", "b")
    assert declared(nova)["booked_through"] is None and borne(nova) == {}
    clock.advance(DAY)
    assert [book_due(nova) for _ in range(3)] == [1, 0, 0]
    assert borne(nova) == {"a": "0.50", "b": "0.50"}
    clock.advance(3 * DAY)
    assert book_due(nova) == 3
    assert shared(nova)["shared"][0]["booked_through"] == "2026-11-04"


def test_a_day_is_booked_once_though_several_begin_at_the_same_time(nova: Nova, clock: ManualClock) -> None:
    deploy(nova, "a", "b")
    declared(nova)
    clock.advance(5 * DAY)
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda _: book_due(nova), range(4))) == 5
    assert borne(nova) == {"a": "2.50", "b": "2.50"}


def test_what_comes_in_later_changes_no_day_that_is_booked(nova: Nova, clock: ManualClock) -> None:
    deploy(nova, "a", "b")
    declared(nova, basis="revenue")
    sell(nova, "a", "10")
    clock.advance(DAY)
    book_due(nova)
    assert borne(nova) == {"a": "1.00"}
    clock.advance(-DAY)
    sell(nova, "b", "1000")
    clock.advance(DAY)
    assert book_due(nova) == 0 and borne(nova) == {"a": "1.00"}


def test_a_day_is_shared_by_the_revenue_or_the_runs_of_that_day(nova: Nova, clock: ManualClock) -> None:
    deploy(nova, "a", "b")
    declared(nova, name="by-revenue", basis="revenue")
    declared(nova, name="by-runs", basis="runs")
    sell(nova, "a", "30")
    sell(nova, "b", "10")
    for number in range(4):
        worker = "ab"[number > 0]
        run = RunRef(f"r{number}", worker, f"{worker}#1", "sales")
        nova.ledger.runs.started(run, clock.now())
        nova.ledger.runs.ended(run, clock.now(), "succeeded")
    clock.advance(DAY)
    book_due(nova)
    with nova.ledger.read() as conn:
        rows = conn.exec_driver_sql("SELECT id, booked_micros FROM entries WHERE source LIKE 'shared:%' ORDER BY id")
        assert dict(tuple(row) for row in rows) == {
            "by-revenue:2026-11-01:a": 750_000,
            "by-revenue:2026-11-01:b": 250_000,
            "by-runs:2026-11-01:a": 250_000,
            "by-runs:2026-11-01:b": 750_000,
        }


def test_who_was_killed_before_or_deployed_after_a_day_does_not_bear_it(nova: Nova, clock: ManualClock) -> None:
    deploy(nova, "a", "b")
    deploy(nova, "other", department="research")
    declared(nova)
    nova.fleet.kill("b")
    clock.advance(DAY)
    deploy(nova, "c")
    clock.advance(DAY)
    book_due(nova)
    assert borne(nova) == {"a": "1.00", "b": "0.50", "c": "0.50"}


def test_where_nobody_is_there_the_bill_still_adds_up(nova: Nova, clock: ManualClock) -> None:
    declared(nova, "10/day", among="worker:ghost,phantom")
    clock.advance(2 * DAY)
    book_due(nova)
    assert borne(nova) == {None: "20.00"}
    deploy(nova, "phantom")
    clock.advance(DAY)
    book_due(nova)
    assert borne(nova) == {None: "20.00", "phantom": "10.00"}


def test_days_before_are_booked_back_to_the_one_it_begins_on(nova: Nova, clock: ManualClock) -> None:
    deploy(nova, "a")
    assert declared(nova, since="2026-10-28", until="2026-10-31")["booked_through"] == "2026-10-30"
    assert borne(nova) == {None: "2.91"}  # October has 31 days


def test_the_same_again_changes_nothing_and_another_bill_counts_from_today_on(nova: Nova, clock: ManualClock) -> None:
    deploy(nova, "a")
    first = declared(nova, name="github")
    clock.advance(DAY)
    again = declared(nova, name="github")
    assert (again["since"], again["booked_through"]) == (first["since"], "2026-11-01")
    clock.advance(DAY)
    declared(nova, "60/month", name="github")  # the day before had not been booked yet
    assert borne(nova) == {"a": "2.00"}
    clock.advance(DAY)
    book_due(nova)
    assert borne(nova) == {"a": "4.00"}
    assert [row.action for row in nova.ledger.audit.log()] == ["cost_shared", "cost_shared"]


def test_a_bill_without_a_name_does_not_take_the_place_of_another(nova: Nova) -> None:
    assert declared(nova)["name"] == declared(nova)["name"] == "department-sales"
    with pytest.raises(UsageProblem, match="department-sales already"):
        declared(nova, "5/month")
    declared(nova, "5/month", name="phone")
    assert [one["name"] for one in shared(nova)["shared"]] == ["department-sales", "phone"]


def test_a_bill_that_had_ended_begins_anew_today(nova: Nova, clock: ManualClock) -> None:
    deploy(nova, "a")
    declared(nova, name="github", until="2026-11-02")
    clock.advance(20 * DAY)
    assert declared(nova, name="github")["since"] == "2026-11-21"
    clock.advance(DAY)
    book_due(nova)
    assert borne(nova) == {"a": "2.00"}


def test_what_a_person_records_under_its_source_is_none_of_its_days(nova: Nova, clock: ManualClock) -> None:
    deploy(nova, "a")
    declared(nova, name="github")
    for id in ("github:the first", "github:2199-01-01:a", "github:2026-11-02:a"):
        nova.ledger.entries.record([Entry(id, "shared:github", "cost", Money.parse("7", "USD"), clock.now(), "b")])
    clock.advance(3 * DAY)
    assert book_due(nova) == 2  # where it has taken the id of a day, that is left to the person
    assert borne(nova) == {"a": "2.00", "b": "21.00"}


def test_a_bill_that_is_shared_no_longer_keeps_its_days(nova: Nova, clock: ManualClock) -> None:
    deploy(nova, "a")
    declared(nova, name="github")
    clock.advance(2 * DAY)
    unshare(nova, "github", by="dana")
    clock.advance(2 * DAY)
    assert book_due(nova) == 0 and borne(nova) == {"a": "2.00"}
    with pytest.raises(NotFound):
        unshare(nova, "github", by="dana")
    declared(nova, name="github", since="2026-11-01")
    assert borne(nova) == {"a": "4.00"}


def test_shares_count_in_the_budgets_of_their_day(nova: Nova, clock: ManualClock) -> None:
    deploy(nova, "a", "b")
    declared(nova)
    clock.advance(DAY)
    book_due(nova)
    for per, spent in (("day", "0.00"), ("month", "0.50"), ("total", "0.50")):
        assert str(nova.ledger.budgets.usage("worker:a", per).spent) == spent
    assert str(nova.ledger.budgets.usage("fleet", "day", NOON).spent) == "1.00"


def test_a_bill_in_another_currency_waits_for_a_rate(nova: Nova, clock: ManualClock) -> None:
    deploy(nova, "a")
    declared(nova, "30 EUR/month")
    clock.advance(DAY)
    book_due(nova)
    ((waiting),) = nova.ledger.reports.unconverted()
    assert (waiting.worker, str(waiting.amount), waiting.amount.currency) == ("a", "1.00", "EUR")


def test_days_are_those_of_the_operator_also_when_they_have_25_hours(home: Path, clock: ManualClock) -> None:
    clock.set(datetime(2026, 10, 23, 22, 30, tzinfo=UTC))  # the 24th in Vienna
    environ = {"NOVA_HOME": str(home), "NOVA_TIMEZONE": "Europe/Vienna"}
    nova = build(load_settings(environ, home), clock=clock)
    deploy(nova, "a")
    declared(nova, "1/day")
    for hours, days in ((23, 0), (1, 1), (23, 0), (2, 1)):
        clock.advance(hours * 3600)
        assert book_due(nova) == days
    assert [row.key for row in nova.ledger.reports.days()] == ["2026-10-24", "2026-10-25"]
    nova.close()


@pytest.mark.parametrize(
    ("bill", "other"),
    [
        ("49", {}),
        ("49/week", {}),
        ("0/month", {}),
        ("-5/month", {}),
        ("x/month", {}),
        ("5/month", {"among": "sales"}),
        ("5/month", {"among": "department:"}),
        ("5/month", {"among": "department:a,b"}),
        ("5/month", {"among": "fleet:x"}),
        ("5/month", {"basis": "profit"}),
        ("5/month", {"since": "yesterday"}),
        ("5/month", {"since": "1999-12-31"}),
        ("5/month", {"since": "2026-11-02", "until": "2026-11-02"}),
        ("5/month", {"name": "a/b"}),
    ],
)
def test_a_bill_that_makes_no_sense_is_refused(nova: Nova, bill: str, other: dict[str, Any]) -> None:
    with pytest.raises(UsageProblem) as problem:
        declared(nova, bill, **other)
    assert problem.value.message
    assert nova.fleet.snapshot().shared == ()


def test_a_cycle_books_the_days_that_are_due(nova: Nova, clock: ManualClock) -> None:
    from nova.autonomous.cycle import run_cycle

    deploy(nova, "a")
    declared(nova)
    clock.advance(DAY)
    run_cycle(nova, dry_run=True)
    run_cycle(nova, now=clock.now() + timedelta(days=9))
    assert borne(nova) == {}
    run_cycle(nova)
    assert borne(nova) == {"a": "1.00"}
