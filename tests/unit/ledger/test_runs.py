from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from nova.clock import HOUR_US, ManualClock
from nova.errors import NotFound, UsageProblem
from nova.ledger.accounts import book_run
from nova.ledger.budgets import Budgets, RunRef, Usage
from nova.ledger.entries import Entries, Entry
from nova.ledger.instances import Instances, ManagerRecord
from nova.ledger.runs import ImportedRuns, RunRecord, Runs, RunSums, import_runs
from nova.ledger.schema import budget_usage, entries, reservations, run_accounts, run_rollups, run_totals
from nova.ledger.schema import runs as table
from nova.ledger.store import Store
from nova.ledger.verify import verify
from nova.money import Money


def usd(amount: str) -> Money:
    return Money.parse(amount, "USD")


def ref(id: str, worker: str = "mailer", manager: str | None = "m1") -> RunRef:
    return RunRef(id, worker, f"{worker}#1", "sales", manager)


@pytest.fixture
def runs(store: Store) -> Runs:
    return Runs(store)


@pytest.fixture
def budgets(store: Store) -> Budgets:
    return Budgets(store)


def costs(store: Store) -> dict[str, int]:
    with store.read() as conn:
        return {row.id: row.booked_micros for row in conn.execute(select(entries).where(entries.c.kind == "cost"))}


def left_over(store: Store) -> int:
    tables = (reservations, run_accounts)
    own = select(func.count()).select_from(budget_usage).where(budget_usage.c.window == "run")
    with store.read() as conn:
        counts = [conn.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]
        return sum(counts) + conn.execute(own).scalar_one()


def rollups(store: Store) -> dict[tuple[str, int], tuple[int, ...]]:
    with store.read() as conn:
        return {(row[0], row[1]): tuple(row[2:]) for row in conn.execute(select(run_rollups))}


def recounted(store: Store, since_us: int = 0) -> dict[tuple[str, int], tuple[int, ...]]:
    sums: dict[tuple[str, int], list[int]] = {}
    with store.read() as conn:
        for row in conn.execute(select(table).where(table.c.ended_us >= since_us)):
            hour = sums.setdefault((row.worker, row.ended_us // HOUR_US), [0] * 5)
            hour[("succeeded", "failed", "interrupted").index(row.status)] += 1
            hour[3] += row.crash
            hour[4] += max(0, row.ended_us - row.started_us)
    return {key: tuple(values) for key, values in sums.items()}


def test_a_run_starts_and_ends_once(runs: Runs, clock: ManualClock) -> None:
    start = clock.now()
    runs.started(ref("r1"), start)
    assert runs.get("r1") == RunRecord("r1", "mailer", "mailer#1", start, None, "running")
    clock.advance(5)
    assert runs.end(ref("r1"), clock.now(), "failed", "boom", crash=True) is True
    assert runs.get("r1") == RunRecord("r1", "mailer", "mailer#1", start, clock.now(), "failed", "boom", True)
    with pytest.raises(NotFound):
        runs.get("r2")


def test_a_late_result_changes_and_books_nothing(
    store: Store, runs: Runs, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    runs.started(ref("r1"), clock.now())
    runs.end(ref("r1"), clock.now(), "failed", "timed out")
    before = (runs.get("r1"), runs.totals(), rollups(store))
    assert runs.end(ref("r1"), clock.now() + timedelta(seconds=9), "succeeded") is False
    runs.ended(ref("r1"), clock.now() + timedelta(seconds=9), "succeeded")
    assert (runs.get("r1"), runs.totals(), rollups(store)) == before
    assert [record.message for record in caplog.records] == ["late_result_refused"]


def test_what_a_run_spent_is_one_cost_entry_a_day(
    store: Store, runs: Runs, budgets: Budgets, clock: ManualClock
) -> None:
    runs.started(ref("r1"), clock.now())
    for _ in range(3):
        budgets.spend(ref("r1"), usd("0.10"), reason="model call")
    clock.advance(86_400)
    budgets.spend(ref("r1"), usd("0.000412"))
    assert costs(store) == {}
    runs.end(ref("r1"), clock.now(), "succeeded")
    assert costs(store) == {"r1:2026-11-21": 300_000, "r1:2026-11-22": 412}
    first = Entries(store).find("worker:mailer/r1:2026-11-21").entry
    assert (first.worker, first.run, first.note, first.amount) == ("mailer", "r1", "model call", usd("0.30"))
    assert left_over(store) == 0
    assert budgets.usage("department:sales", "month") == Usage(usd("0.300412"), usd("0"))


def test_left_over_reservations_are_charged_unless_declared_safe(
    store: Store, runs: Runs, budgets: Budgets, clock: ManualClock
) -> None:
    runs.started(ref("r1"), clock.now())
    budgets.reserve(ref("r1"), usd("1"))
    budgets.reserve(ref("r1"), usd("5"), release_on_death=True)
    runs.end(ref("r1"), clock.now(), "succeeded")
    assert costs(store) == {"r1:2026-11-21": 1_000_000}
    assert budgets.usage("fleet", "day") == Usage(usd("1"), usd("0")) and left_over(store) == 0


def test_an_agent_that_earned_under_the_id_of_its_cost_is_charged_all_the_same(
    store: Store, runs: Runs, budgets: Budgets, clock: ManualClock
) -> None:
    runs.started(ref("r1"), clock.now())
    Entries(store).record([Entry("r1:2026-11-21", "worker:mailer", "revenue", usd("9"), clock.now(), worker="mailer")])
    budgets.spend(ref("r1"), usd("2"))
    assert runs.end(ref("r1"), clock.now(), "succeeded")
    assert list(costs(store).values()) == [2_000_000]
    assert budgets.usage("fleet", "day").spent == usd("2") and left_over(store) == 0


def test_totals_and_hours_add_up(store: Store, runs: Runs, clock: ManualClock) -> None:
    first = clock.now()
    for number, (status, crash) in enumerate([("succeeded", False), ("failed", True), ("interrupted", False)] * 2):
        runs.started(ref(f"r{number}"), clock.now())
        clock.advance(1200)
        runs.ended(ref(f"r{number}"), clock.now(), status, f"error {number}" if status != "succeeded" else None, crash)
    runs.restarted("mailer")
    total = runs.totals()["mailer"]
    assert (total.succeeded, total.failed, total.interrupted, total.crashed, total.restarts) == (2, 2, 2, 2, 1)
    assert (total.first_at, total.last_at) == (first, clock.now())
    assert (total.last_error, total.last_error_at) == ("error 4", first + timedelta(seconds=6000))
    assert rollups(store) == recounted(store)
    hour = timedelta(hours=1)
    assert runs.sums(first, first + hour) == {"mailer": RunSums(1, 1, 0, 1, 2400.0)}
    assert runs.sums(first, first + 3 * hour)["mailer"].duration_s == 7200
    assert runs.sums(first - hour, first) == {}


def test_the_last_start_stays_when_the_runs_are_gone(runs: Runs, clock: ManualClock) -> None:
    runs.started(ref("r1"), clock.now())
    clock.advance(-3600)
    runs.started(ref("r2"), clock.now())
    runs.started(ref("r3", "scout"), clock.now())
    assert runs.last_starts() == {"mailer#1": clock.now(), "scout#1": clock.now()}
    runs.forget_starts("scout")
    assert set(runs.last_starts()) == {"mailer#1"}


def test_a_clock_set_back_gives_no_negative_duration(runs: Runs, clock: ManualClock) -> None:
    runs.started(ref("r1"), clock.now())
    clock.advance(-3600)
    runs.end(ref("r1"), clock.now(), "succeeded")
    assert runs.sums(clock.now(), clock.now() + timedelta(hours=1))["mailer"].duration_s == 0


def test_recent_runs_come_last_started_first(runs: Runs, clock: ManualClock) -> None:
    for number in range(4):
        runs.started(ref(f"r{number}"), clock.now())
        clock.advance(1)
    runs.started(ref("other", "scout"), clock.now())
    assert [run.id for run in runs.recent("mailer", 3)] == ["r3", "r2", "r1"]


def test_runs_of_a_dead_manager_are_interrupted_and_charged_once(
    store: Store, runs: Runs, budgets: Budgets, clock: ManualClock
) -> None:
    start = clock.now()
    Instances(store).managers.register(ManagerRecord("m1", 1, "host", "all", start, start + timedelta(seconds=30)))
    for run in (ref("r1"), ref("r2"), ref("r3", manager="m2")):
        runs.started(run, start)
        budgets.spend(run, usd("0.5"))
    budgets.reserve(ref("r1"), usd("1"))
    budgets.reserve(ref("r2"), usd("2"), release_on_death=True)
    budgets.reserve(ref("r3", manager="m2"), usd("4"))
    clock.advance(7200)
    found = runs.recover({"m1", "m0"})
    assert sorted(run.id for run in found.runs) == ["r1", "r2"]
    assert (found.charged, found.released) == (usd("1"), usd("2"))
    assert costs(store) == {"r1:2026-11-21": 1_500_000, "r2:2026-11-21": 500_000}
    assert runs.get("r1").status == "interrupted" and runs.get("r1").ended_at == start + timedelta(seconds=30)
    assert runs.get("r3").status == "running"
    assert budgets.usage("fleet", "day") == Usage(usd("2.5"), usd("4"))
    before = (costs(store), runs.totals(), rollups(store))
    again = runs.recover(["m1", "m0"])
    assert again.runs == () and not again.charged and not again.released
    assert (costs(store), runs.totals(), rollups(store)) == before
    assert runs.totals()["mailer"].last_error is None


def test_money_of_a_run_whose_record_was_lost_is_recovered_too(
    store: Store, runs: Runs, budgets: Budgets, clock: ManualClock
) -> None:
    budgets.spend(ref("r1"), usd("0.5"))
    budgets.reserve(ref("r2"), usd("1"))
    assert sorted(run.id for run in runs.recover(["m1"]).runs) == ["r1", "r2"]
    assert costs(store) == {"r1:2026-11-21": 500_000, "r2:2026-11-21": 1_000_000}
    assert runs.get("r2").status == "interrupted" and left_over(store) == 0


def test_what_a_run_spent_beyond_one_entry_or_before_the_clock_was_set_is_booked_too(
    store: Store, runs: Runs, budgets: Budgets, clock: ManualClock
) -> None:
    now = clock.now()
    budgets.spent(ref("plain"), usd("1"))
    budgets.spent(ref("rich"), usd("100000000000"))
    budgets.spent(ref("rich"), usd("5"))
    clock.set(datetime(1970, 1, 1, 0, 5, tzinfo=UTC))
    runs.started(ref("early"), clock.now())
    budgets.spent(ref("early"), usd("2"))
    clock.set(now)
    assert sorted(run.id for run in runs.recover(["m1"]).runs) == ["early", "plain", "rich"]
    assert costs(store) == {
        "early:1970-01-01": 2_000_000,
        "plain:2026-11-21": 1_000_000,
        "rich:2026-11-21": 10**17,
        "rich:2026-11-21:2": 5_000_000,
    }
    assert budgets.usage("fleet", "day", datetime(2000, 1, 1, tzinfo=UTC)).spent == usd("2")
    assert verify(store).ok and left_over(store) == 0


def test_a_run_that_cannot_be_ended_stands_in_no_others_way(
    store: Store, runs: Runs, budgets: Budgets, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "broken", "c"):
        budgets.spend(ref(name), usd("1"))

    def refusing(conn: Connection, store: Store, run: str) -> tuple[Money, Money]:
        if run == "broken":
            raise UsageProblem("refused")
        return book_run(conn, store, run)

    monkeypatch.setattr("nova.ledger.runs.book_run", refusing)
    assert sorted(run.id for run in runs.recover(["m1"]).runs) == ["a", "c"]
    assert [record.message for record in caplog.records] == ["run_not_recovered"]
    assert verify(store).ok and budgets.usage("fleet", "day").spent == usd("3")
    monkeypatch.undo()
    assert [run.id for run in runs.recover(["m1"]).runs] == ["broken"]


def test_nobody_dead_is_nothing_to_recover(runs: Runs, clock: ManualClock) -> None:
    runs.started(ref("r1", manager=None), clock.now())
    assert runs.recover([]).runs == ()


def ended(runs: Runs, clock: ManualClock, id: str, age_days: float, status: str = "succeeded") -> None:
    at = clock.now() - timedelta(days=age_days)
    runs.started(ref(id), at - timedelta(seconds=60))
    runs.end(ref(id), at, status, "error" if status == "failed" else None)


def test_pruning_keeps_the_sums_and_failures_longer(store: Store, runs: Runs, clock: ManualClock) -> None:
    for id, age, status in [
        ("new", 29.9, "succeeded"), ("old", 31, "succeeded"), ("older", 95, "succeeded"), ("failed", 31, "failed"),
        ("cut", 60, "interrupted"), ("long-failed", 95, "failed"),
    ]:  # fmt: skip
        ended(runs, clock, id, age, status)
    runs.started(ref("open"), clock.now() - timedelta(days=200))
    before = (runs.totals(), rollups(store), runs.last_starts())
    assert runs.prune(clock.now()) == 3
    assert {run.id for run in runs.recent("mailer")} == {"new", "failed", "cut", "open"}
    assert (runs.totals(), rollups(store), runs.last_starts()) == before
    assert runs.prune(clock.now()) == 0


def test_hours_from_the_prune_mark_on_can_be_recounted(store: Store, runs: Runs, clock: ManualClock) -> None:
    for number in range(60):
        ended(runs, clock, f"r{number}", number + 0.37, "failed" if number % 7 == 0 else "succeeded")
    runs.prune(clock.now())
    with store.read() as conn:
        mark = conn.execute(select(run_totals.c.pruned_us)).scalar_one()
    assert mark is not None and mark % HOUR_US == 0
    kept = {key: sums for key, sums in rollups(store).items() if key[1] >= mark // HOUR_US}
    assert kept == recounted(store, mark) and 28 <= len(kept) <= 31


def given_runs(at: datetime, count: int = 5) -> list[RunRecord]:
    first = RunRecord("i0", "mailer", "mailer#1", at, at + timedelta(minutes=5), "succeeded")
    records = []
    for number in range(count):
        later = timedelta(minutes=20 * number)
        ended_at = at + timedelta(minutes=5) + later
        records.append(replace(first, id=f"i{number}", started_at=at + later, ended_at=ended_at))
    records[1] = replace(records[1], status="failed", error="e")
    return records


def imported(store: Store, records: list[RunRecord]) -> ImportedRuns:
    def work(conn: Connection) -> ImportedRuns:
        return import_runs(conn, records)

    return store.apply(work)


def test_imported_runs_count_once_and_contradictions_are_refused(store: Store, runs: Runs, clock: ManualClock) -> None:
    records = given_runs(clock.now())
    runs.started(ref("open"), clock.now())
    assert imported(store, records[:3]) == (3, 0, ())
    other = replace(records[0], status="failed")
    unended = replace(records[4], id="x", ended_at=None, status="running")
    running = replace(records[4], id="open")
    new, duplicate, conflicts = imported(store, [*records, records[4], other, unended, running])
    assert (new, duplicate) == (2, 4)
    assert [index for index, _ in conflicts] == [6, 7, 8]
    assert rollups(store) == recounted(store)
    total = runs.totals()["mailer"]
    assert (total.succeeded, total.failed, total.last_error, total.first_at) == (4, 1, "e", clock.now())
    assert runs.last_starts() == {"mailer#1": clock.now()}


def test_importing_in_any_order_gives_the_sums_of_running_them(store: Store, runs: Runs, clock: ManualClock) -> None:
    records = given_runs(clock.now() - timedelta(days=1), 40)
    for start in (30, 0, 10, 20, 5):
        imported(store, records[start : start + 15][::-1])
    lived = [replace(record, id=f"l{record.id}", worker="lived", instance="lived#1") for record in records]
    for record in lived:
        run = RunRef(record.id, "lived", "lived#1", "sales", "m1")
        runs.started(run, record.started_at)
        runs.end(run, record.ended_at or record.started_at, record.status, record.error)
    sums = rollups(store)
    assert {key[1]: value for key, value in sums.items() if key[0] == "mailer"} == {
        key[1]: value for key, value in sums.items() if key[0] == "lived"
    }
    totals = runs.totals()
    assert replace(totals["mailer"], worker="lived") == totals["lived"]


def test_what_was_pruned_is_not_counted_again_by_an_import(store: Store, runs: Runs, clock: ManualClock) -> None:
    records = given_runs(clock.now() - timedelta(days=40))
    imported(store, records)
    before = (runs.totals(), rollups(store))
    assert runs.prune(clock.now()) == 4
    assert imported(store, records) == (0, 5, ())
    assert (runs.totals(), rollups(store)) == before
    stranger = [replace(record, id=f"s{record.id}", worker="scout") for record in records]
    assert imported(store, stranger).new == 5


def test_a_long_error_is_kept_by_its_end(runs: Runs, clock: ManualClock, store: Store) -> None:
    runs.started(ref("r1"), clock.now())
    runs.end(ref("r1"), clock.now(), "failed", "x" * 9000 + " the reason")
    error: Any = runs.get("r1").error
    assert len(error) == 4000 and error.endswith("the reason")
    record = replace(runs.get("r1"), id="r2", error="x" * 9000)
    assert imported(store, [record]).new == 1 and imported(store, [record]).duplicate == 1


def test_a_run_is_kept_with_what_it_cost_and_null_where_it_metered_nothing(
    runs: Runs, budgets: Budgets, store: Store, clock: ManualClock
) -> None:
    for name in ("a", "b", "c"):
        runs.started(ref(name), clock.now())
    budgets.spend(ref("a"), usd("0.25"))
    clock.advance(86_400)
    budgets.spent(ref("a"), usd("0.10"))
    budgets.reserve(ref("a"), usd("2"))
    released = budgets.reserve(ref("c"), usd("1"))
    budgets.release(released)
    for name in ("a", "b", "c"):
        runs.end(ref(name), clock.now(), "succeeded")
    with store.read() as conn:
        costs = {row.id: row.cost_micros for row in conn.execute(select(table))}
    assert costs == {"a": 2_350_000, "b": None, "c": 0}


def lineages(runs: Runs, store: Store, clock: ManualClock, *ends: str) -> list[str]:
    """Of runs that end so, one after the other."""
    found = []
    for number, status in enumerate(ends, 1):
        run = ref(f"r{number}")
        runs.started(run, clock.now())
        found.append(runs.lineage(run))
        if status != "left open":
            runs.ended(run, clock.now(), status)
    return found


def test_runs_that_are_made_again_are_of_one_lineage_until_one_succeeds(
    runs: Runs, store: Store, clock: ManualClock
) -> None:
    ends = ("failed", "interrupted", "left open", "succeeded", "succeeded", "failed", "failed")
    assert lineages(runs, store, clock, *ends) == ["r1", "r1", "r1", "r1", "r5", "r6", "r6"]


def test_a_lineage_ends_with_a_success_that_costs_money_or_is_told_at_once(
    runs: Runs, budgets: Budgets, store: Store, clock: ManualClock
) -> None:
    for number in (1, 2, 3):
        runs.started(ref(f"r{number}"), clock.now())
        budgets.spend(ref(f"r{number}"), usd("1"))
        if number == 1:
            runs.ended(ref("r1"), clock.now(), "succeeded")
        elif number == 2:
            assert runs.end(ref("r2"), clock.now(), "succeeded")
    assert runs.lineage(ref("r3")) == "r3"


def test_a_late_success_ends_no_lineage(runs: Runs, clock: ManualClock) -> None:
    runs.started(ref("r1"), clock.now())
    runs.ended(ref("r1"), clock.now(), "interrupted")
    runs.started(ref("r2"), clock.now())
    runs.ended(ref("r1"), clock.now(), "succeeded")
    assert not runs.end(ref("r1"), clock.now(), "succeeded")
    assert runs.lineage(ref("r2")) == "r1"


def test_a_name_that_comes_back_has_a_lineage_of_its_own(runs: Runs, clock: ManualClock) -> None:
    runs.started(ref("r1"), clock.now())
    runs.forget_starts("mailer")
    runs.started(ref("r2"), clock.now())
    assert runs.lineage(ref("r2")) == "r2"
