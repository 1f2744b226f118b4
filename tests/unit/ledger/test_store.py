from __future__ import annotations

import logging
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection

from nova.clock import ManualClock
from nova.errors import ConfigInvalid, NovaError, Unreachable
from nova.ledger import group
from nova.ledger.entries import Entry
from nova.ledger.ledger import Ledger
from nova.ledger.store import Store
from nova.money import Money

UTC_ZONE = ZoneInfo("UTC")
CLOCK = ManualClock(datetime(2026, 11, 21, 12, 0, tzinfo=UTC))


def opened(path: Path, grouped: bool = False, busy_timeout_s: float = 30.0) -> Store:
    url = f"sqlite:///{path}"
    return Store.open(url, currency="USD", zone=UTC_ZONE, clock=CLOCK, grouped=grouped, busy_timeout_s=busy_timeout_s)


@pytest.fixture(params=["single", "grouped"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store = opened(tmp_path / "either.db", grouped=request.param == "grouped")
    yield store
    store.close()


@pytest.fixture
def grouped(tmp_path: Path) -> Iterator[Store]:
    store = opened(tmp_path / "grouped.db", grouped=True)
    yield store
    store.close()


def put(key: str) -> Callable[[Connection], None]:
    def work(conn: Connection) -> None:
        conn.exec_driver_sql("INSERT INTO meta (key, value) VALUES (?, '')", (key,))

    return work


def keys(store: Store) -> set[str]:
    with store.read() as conn:
        return {key for (key,) in conn.exec_driver_sql("SELECT key FROM meta WHERE value = ''")}


def eventually(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def test_the_file_is_only_the_owners(tmp_path: Path) -> None:
    store = opened(tmp_path / "ledger.db")
    store.apply(put("a"))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("ledger.db*")}
    store.close()
    assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}


def test_writes_are_flushed_to_the_disk(either: Store) -> None:
    pragmas = {"journal_mode": "wal", "synchronous": 2}
    found = either.apply(lambda conn: {name: conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas})
    assert found == pragmas


def test_work_that_raises_is_undone_alone(either: Store) -> None:
    def fails(conn: Connection) -> None:
        put("lost")(conn)
        raise NovaError("no")

    either.apply(put("before"))
    with pytest.raises(NovaError, match="no"):
        either.apply(fails)
    either.apply(put("after"))
    assert keys(either) == {"before", "after"}


def test_apply_returns_what_the_work_returns(either: Store) -> None:
    assert either.apply(lambda conn: conn.exec_driver_sql("SELECT 6 * 7").scalar()) == 42


def test_a_reader_sees_one_state_however_long_it_reads(either: Store) -> None:
    with either.read() as conn:
        before = conn.exec_driver_sql("SELECT count(*) FROM meta").scalar()
        either.apply(put("new"))
        assert conn.exec_driver_sql("SELECT count(*) FROM meta").scalar() == before
    assert keys(either) == {"new"}


def test_what_is_submitted_lands_in_order_and_soon(grouped: Store) -> None:
    for number in range(10):
        grouped.submit(put(f"key-{number}"))
    assert eventually(lambda: len(keys(grouped)) == 10)


def test_what_is_submitted_lands_before_what_is_applied_after_it(grouped: Store) -> None:
    grouped.submit(put("first"))
    seen = grouped.apply(lambda conn: conn.exec_driver_sql("SELECT 1 FROM meta WHERE key = 'first'").scalar())
    assert seen == 1


def test_closing_writes_what_was_submitted(tmp_path: Path) -> None:
    store = opened(tmp_path / "ledger.db", grouped=True)
    for number in range(1200):
        store.submit(put(f"key-{number}"))
    store.close()
    store.close()
    assert len(keys(opened(tmp_path / "ledger.db"))) == 1200
    with pytest.raises(NovaError, match="closed"):
        store.apply(put("late"))


def test_a_submitted_failure_is_logged_and_stops_nothing(grouped: Store, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        grouped.submit(put("twice"))
        grouped.submit(put("twice"))
        grouped.apply(put("after"))
    assert keys(grouped) == {"twice", "after"}
    assert [record.message for record in caplog.records] == ["ledger_write_failed"]


def test_many_threads_share_commits(grouped: Store) -> None:
    def work(name: int) -> None:
        for number in range(20):
            grouped.apply(put(f"{name}-{number}"))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys(grouped)) == 600


def test_a_transaction_cannot_wait_for_another_one(grouped: Store) -> None:
    with pytest.raises(RuntimeError, match="cannot wait"):
        grouped.apply(lambda conn: grouped.apply(put("inner")))


@pytest.mark.parametrize("mode", [False, True])
def test_a_locked_ledger_is_unreachable_after_its_timeout(tmp_path: Path, mode: bool) -> None:
    path = tmp_path / "ledger.db"
    store = opened(path, grouped=mode, busy_timeout_s=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unreachable, match="locked") as refused:
        store.apply(put("a"))
    assert refused.value.exit_code == 69
    other.execute("ROLLBACK")
    store.apply(put("b"))
    assert keys(store) == {"b"}
    store.close()
    other.close()


HOG = """
import sqlite3, sys, time
other = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
while True:
    other.execute("BEGIN IMMEDIATE")
    print("x", flush=True)
    time.sleep(0.003)
    other.execute("COMMIT")
"""


def test_a_busy_writer_lets_others_have_their_turn(tmp_path: Path) -> None:
    store = opened(tmp_path / "ledger.db")
    with subprocess.Popen([sys.executable, "-c", HOG, str(store.path)], stdout=subprocess.PIPE) as hog:
        try:
            assert hog.stdout is not None and hog.stdout.readline()
            waits = []
            for number in range(2):
                began = time.monotonic()
                store.apply(put(f"{number}"))
                waits.append(time.monotonic() - began)
        finally:
            hog.kill()
    assert sum(waits) < 15, waits  # SQLite's own way of waiting gives up after half a minute
    assert len(keys(store)) == 2
    store.close()


def test_what_was_submitted_outlives_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "_RETRY_S", 0.01)
    path = tmp_path / "ledger.db"
    store = opened(path, grouped=True, busy_timeout_s=0.01)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.submit(put("kept"))
    with pytest.raises(Unreachable):
        store.apply(put("told"))
    other.execute("ROLLBACK")
    other.close()
    assert eventually(lambda: keys(store) == {"kept"})
    store.close()


def test_who_waits_is_told_also_behind_much_that_is_kept_and_nothing_is_tried_without_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ledger.db"
    store = opened(path, grouped=True, busy_timeout_s=0.01)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for number in range(3 * group.MOST_IN_A_GROUP):
        store.submit(put(f"key-{number}"))
    assert eventually(lambda: "ledger_commit_failed" in caplog.text)
    with pytest.raises(Unreachable, match="locked"):
        store.post(put("waited for")).result(10)
    threading.Event().wait(0.3)
    assert caplog.text.count("ledger_commit_failed") <= 4
    other.execute("ROLLBACK")
    store.apply(put("after"))
    assert len(keys(store)) == 3 * group.MOST_IN_A_GROUP + 1 and "waited for" not in keys(store)
    store.close()
    other.close()


def test_a_full_disk_loses_nothing_that_was_recorded(tmp_path: Path) -> None:
    disk = tmp_path / "small"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a small disk")
    try:
        store = opened(disk / "ledger.db", grouped=True)
        ledger, landed = Ledger(store), 0
        with pytest.raises(NovaError, match="no space") as refused:
            while landed < 100_000:
                note = "x" * 3000
                entry = Entry(f"id-{landed}", "shop", "revenue", Money(1_000_000, "USD"), CLOCK.now(), "w", note=note)
                ledger.entries.record([entry])
                landed += 1
        assert refused.value.hint
        with store.read() as conn:
            assert conn.exec_driver_sql("SELECT count(*) FROM entries").scalar() == landed
        assert ledger.reports.totals()["w"].entries == landed > 10
        store.close(1)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_file_that_is_no_database_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_text("not a database, but long enough to be looked at" * 100)
    with pytest.raises(NovaError, match=r"ledger\.db") as refused:
        opened(path)
    assert "nova ledger restore" in (refused.value.hint or "")


def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as conn:
        conn.execute("CREATE TABLE theirs (x)")
    conn.close()
    with pytest.raises(NovaError, match="not a ledger"):
        opened(path)


@pytest.mark.parametrize("url", ["postgresql://localhost/nova", "sqlite://", "nonsense"])
def test_an_address_that_names_no_file_is_invalid_configuration(url: str) -> None:
    with pytest.raises(ConfigInvalid, match="NOVA_DATABASE_URL"):
        Store.open(url, currency="USD", zone=UTC_ZONE, clock=CLOCK)


def test_a_directory_that_is_missing_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        opened(tmp_path / "missing" / "ledger.db")


def test_threads_that_create_the_ledger_at_once_all_open_it(tmp_path: Path) -> None:
    stores: list[Store] = []
    threads = [threading.Thread(target=lambda: stores.append(opened(tmp_path / "new.db"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores) == 8
    for store in stores:
        store.close()
