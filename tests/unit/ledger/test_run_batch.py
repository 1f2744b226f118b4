"""Many records at once leave in the ledger what each for itself would."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from nova.clock import ManualClock
from nova.ledger.budgets import Budgets
from nova.ledger.limits import RunRef
from nova.ledger.run_batch import Ended, Record, Started
from nova.ledger.runs import Runs
from nova.ledger.schema import entries, run_rollups, run_totals, runs, starts
from nova.ledger.store import Store
from nova.ledger.verify import verify
from nova.money import Money

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=2)


def opened(path: Path) -> Store:
    clock = ManualClock(NOON)
    return Store.open(f"sqlite:///{path}", currency="USD", zone=ZoneInfo("UTC"), clock=clock)


def ref(number: int) -> RunRef:
    return RunRef(f"r{number}", f"w{number % 2}", f"w{number % 2}#{number % 3}", "d", "m")


def at_once(store: Store, records: Sequence[Record]) -> None:
    store.apply(lambda conn: Runs(store)._write(conn, records))


def kept(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    with store.read() as conn:
        tables = (runs, run_rollups, run_totals, starts)
        found = {table.name: sorted(map(tuple, conn.execute(select(table)))) for table in tables}
        found["costs"] = sorted(map(tuple, conn.execute(select(entries.c.run, entries.c.booked_micros))))
        return found


@st.composite
def histories(draw: st.DrawFn) -> list[Record]:
    """Runs of two workers that begin, end, or do either outside of it; a late result now and then."""
    records: list[Record] = []
    for number in range(draw(st.integers(1, 6))):
        begun = NOON + timedelta(minutes=draw(st.integers(0, 180)))
        ended = draw(st.sampled_from([LATER, begun + timedelta(minutes=draw(st.integers(-5, 90)))]))
        status = draw(st.sampled_from(["succeeded", "failed", "interrupted"]))
        begin = Started(ref(number), begun, draw(st.sampled_from([None, NOON])))
        end = Ended(ref(number), ended, status, draw(st.sampled_from([None, "", f"why {number}"])), draw(st.booleans()))
        records += draw(st.sampled_from([[begin], [end], [begin, end], [begin, end, end]]))
    if draw(st.booleans()):  # those that overlap end after all have begun
        records.sort(key=lambda record: isinstance(record, Ended))
    return records


TOLD_LAST = [
    *(Started(ref(number), NOON, None) for number in (0, 2)),
    *(Ended(ref(number), LATER, "failed", f"why {number}", False) for number in (2, 0)),
]


@example(records=TOLD_LAST, spenders=set(), cut=0)
@example(records=TOLD_LAST, spenders=set(), cut=2)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=histories(), spenders=st.sets(st.integers(0, 5)), cut=st.integers(0, 12))
def test_it_is_the_same_as_each_for_itself(
    tmp_path_factory: pytest.TempPathFactory, records: list[Record], spenders: set[int], cut: int
) -> None:
    home = tmp_path_factory.mktemp("ledgers")
    together, alone = opened(home / "together.db"), opened(home / "alone.db")
    for store in (together, alone):
        for number in spenders:
            Budgets(store).spend(ref(number), Money.parse("0.10", "USD"))
    at_once(together, records[:cut])
    at_once(together, records[cut:])
    for record in records:
        at_once(alone, [record])
    try:
        assert kept(together) == kept(alone)
        assert verify(together).ok == verify(alone).ok
    finally:
        together.close()
        alone.close()


@pytest.fixture
def grouped(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(
        f"sqlite:///{tmp_path}/ledger.db", currency="USD", zone=ZoneInfo("UTC"), clock=ManualClock(NOON), grouped=True
    )
    yield store
    store.close()


def test_records_that_follow_one_another_go_together_and_in_order(grouped: Store) -> None:
    groups: list[list[int]] = []

    def sink(_conn: Connection, records: Sequence[int]) -> None:
        groups.append(list(records))

    for number in range(3):
        grouped.collect(sink, number)
    grouped.submit(lambda _conn: groups.append([]))
    grouped.collect(sink, 3)
    grouped.apply(lambda _conn: None)
    assert groups == [[0, 1, 2], [], [3]]


def test_one_record_that_is_refused_costs_no_other(grouped: Store, caplog: pytest.LogCaptureFixture) -> None:
    kept_runs = Runs(grouped)
    kept_runs.started(ref(1), NOON)
    grouped.apply(lambda _conn: None)
    for number in (1, 2):  # the first is there already
        kept_runs.started(ref(number), NOON)
    kept_runs.ended(ref(2), NOON, "succeeded")
    grouped.apply(lambda _conn: None)
    assert [run.id for run in kept_runs.recent("w0")] == ["r2"] and kept_runs.get("r2").status == "succeeded"
    assert kept_runs.get("r1").status == "running" and "ledger_write_failed" in caplog.text
