from __future__ import annotations

import sqlite3
import stat
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from nova.clock import ManualClock
from nova.errors import NotFound, NovaError, UsageProblem
from nova.ledger.backup import restore
from nova.ledger.entries import Entry
from nova.ledger.ledger import Ledger
from nova.money import Money

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def opened(path: Path) -> Ledger:
    url = f"sqlite:///{path}"
    return Ledger.open(url, currency="USD", zone=ZoneInfo("UTC"), clock=ManualClock(NOW))


def record(ledger: Ledger, id: str) -> None:
    ledger.entries.record([Entry(id, "shop", "revenue", Money(1_000_000, "USD"), NOW, "mailer")])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "copy.db"


def test_a_backup_brings_the_ledger_back_and_the_replaced_one_is_kept(path: Path, copy: Path) -> None:
    ledger = opened(path)
    record(ledger, "a")
    ledger.backup(copy)
    record(ledger, "after")
    ledger.close()
    kept = restore(copy, path)
    assert stat.S_IMODE(copy.stat().st_mode) == stat.S_IMODE(path.stat().st_mode) == 0o600
    for found, entries in ((path, 1), (kept, 2)):
        assert found is not None
        again = opened(found)
        assert (again.verify().ok, again.verify().entries) == (True, entries)
        again.close()
    assert kept == path.with_name("ledger.db.before-restore")


def test_a_backup_restores_where_no_ledger_is(path: Path, copy: Path, tmp_path: Path) -> None:
    ledger = opened(path)
    record(ledger, "a")
    ledger.backup(copy)
    ledger.close()
    assert restore(copy, tmp_path / "new.db") is None
    assert sorted(found.name for found in tmp_path.iterdir() if found.is_file()) == ["copy.db", "ledger.db", "new.db"]


def test_a_backup_of_a_ledger_in_use_is_whole(path: Path, copy: Path) -> None:
    ledger, stop = opened(path), threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            record(ledger, f"id-{number}")
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            ledger.backup(copy.with_name(f"copy-{number}.db"))
    finally:
        stop.set()
        writer.join()
    ledger.close()
    for number in range(5):
        found = opened(copy.with_name(f"copy-{number}.db"))
        assert found.verify().first_bad is None
        found.close()


def test_an_existing_file_is_not_overwritten_unasked(path: Path, copy: Path) -> None:
    ledger = opened(path)
    copy.write_text("precious")
    with pytest.raises(UsageProblem, match="exists"):
        ledger.backup(copy)
    with pytest.raises(UsageProblem, match="own backup"):
        ledger.backup(path, force=True)
    ledger.backup(copy, force=True)
    ledger.close()
    assert restore(copy, path)


def test_what_is_no_whole_ledger_is_refused_and_the_old_one_stays(path: Path, copy: Path, tmp_path: Path) -> None:
    ledger = opened(path)
    for number in range(200):
        record(ledger, f"id-{number}")
    ledger.backup(copy)
    ledger.close()
    before = path.read_bytes()
    content = copy.read_bytes()
    (tmp_path / "text.db").write_text("no database" * 1000)
    (tmp_path / "cut.db").write_bytes(content[: len(content) // 2])
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE theirs (x)")
    with closing(sqlite3.connect(copy)) as newer:
        newer.execute("INSERT INTO meta VALUES ('migration:99', 'then')")
        newer.commit()
    for bad in ("text.db", "cut.db", "other.db", "copy.db"):
        with pytest.raises(NovaError, match=bad):
            restore(tmp_path / bad, path)
    with pytest.raises(NotFound):
        restore(tmp_path / "none.db", path)
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_is_named(path: Path, tmp_path: Path) -> None:
    ledger = opened(path)
    with pytest.raises(NovaError, match="copy"):
        ledger.backup(tmp_path / "missing" / "copy.db")
    ledger.close()
