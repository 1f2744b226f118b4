from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection

from nova.clock import ManualClock, to_us
from nova.errors import ConfigInvalid, NovaError
from nova.ledger import migrations, schema_revenue
from nova.ledger.entries import Entry
from nova.ledger.ledger import Ledger
from nova.ledger.limits import RunRef
from nova.money import Money

FIRST_SCHEMA = Path(__file__).with_name("schema_1.sql")
NOW = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
CLOCK = ManualClock(NOW)


def opened(path: Path, currency: str = "USD", zone: str = "UTC") -> Ledger:
    return Ledger.open(f"sqlite:///{path}", currency=currency, zone=ZoneInfo(zone), clock=CLOCK)


def schema_of(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as conn:
        rows = conn.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return {name: " ".join(sql.split()) for name, sql in rows}


def meta_of(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as conn:
        return dict(conn.execute("SELECT key, value FROM meta"))


def old_ledger(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as conn:
        conn.executescript(FIRST_SCHEMA.read_text())
        conn.execute(
            "INSERT INTO meta VALUES ('migration:1', '2026-01-01T00:00:00Z'), ('currency', 'USD'), ('zone', 'UTC')"
        )
        conn.commit()
    return path


def test_a_fresh_schema_equals_a_migrated_one(tmp_path: Path) -> None:
    opened(tmp_path / "fresh.db").close()
    opened(old_ledger(tmp_path / "old.db")).close()
    assert schema_of(tmp_path / "fresh.db") == schema_of(tmp_path / "old.db")


def as_schema_1(path: Path) -> None:
    """Takes away what later schemas have added."""
    with closing(sqlite3.connect(path)) as conn:
        conn.executescript("""
            DROP TABLE leases; DROP TABLE outbox; ALTER TABLE runs DROP COLUMN cost_micros;
            ALTER TABLE starts DROP COLUMN lineage;
            ALTER TABLE managers DROP COLUMN beats; ALTER TABLE managers DROP COLUMN fenced_by;
            ALTER TABLE budget_usage DROP COLUMN warned_micros;
            DELETE FROM budget_usage WHERE "window" = 'total'; DELETE FROM meta WHERE key LIKE 'migration:_';
            INSERT INTO meta VALUES ('migration:1', '2026-01-01T00:00:00Z');
        """)
        for table in schema_revenue.TABLES:
            conn.execute(f"DROP TABLE {table.name}")


def with_history(path: Path) -> None:
    """Bills of several months, a correction, one nobody is named for, a run that spends and one that has ended."""
    ledger = opened(path)
    ledger.deployments.note("mailer", "growth", "email_agent")
    ledger.entries.record(
        [
            Entry("a", "bill", "cost", Money(3_000_000, "USD"), datetime(2026, 9, 3, tzinfo=UTC), "mailer"),
            Entry("b", "bill", "cost", Money(5_000_000, "USD"), datetime(2026, 10, 31, 20, tzinfo=UTC), "mailer"),
            Entry("c", "bill", "cost", Money(7_000_000, "USD"), NOW),
            Entry("d", "bill", "adjustment", Money(-1_000_000, "USD"), NOW, "mailer", corrects="bill/a"),
            Entry("e", "shop", "revenue", Money(99_000_000, "USD"), NOW, "mailer"),
        ]
    )
    for number in (1, 2):
        run = RunRef(f"run-{number}", "mailer", f"mailer#{number}", "growth", "m")
        ledger.runs.started(run, NOW)
        ledger.budgets.spend(run, Money(2_000_000, "USD"))
        ledger.budgets.reserve(run, Money(1_000_000, "USD"))
    ledger.runs.ended(RunRef("run-1", "mailer", "mailer#1", "growth", "m"), NOW, "succeeded")
    ledger.close()


@pytest.mark.parametrize("zones", [("UTC",), ("UTC", "Asia/Kolkata"), ("UTC", "Asia/Kolkata", "America/New_York")])
def test_what_was_spent_before_there_were_totals_is_in_them(tmp_path: Path, zones: tuple[str, ...]) -> None:
    path = tmp_path / "old.db"
    with_history(path)
    for zone in zones[1:]:
        opened(path, zone=zone).close()
    as_schema_1(path)
    ledger = opened(path, zone=zones[-1])
    assert ledger.verify().first_bad is None
    used = ledger.budgets.usages([(scope, "total") for scope in ("fleet", "department:growth", "worker:mailer")])
    assert {scope: (str(one.spent), str(one.reserved)) for (scope, _), one in used.items()} == {
        "fleet": ("19.00", "1.00"),
        "department:growth": ("12.00", "1.00"),
        "worker:mailer": ("12.00", "1.00"),
    }
    ledger.close()


def test_migrations_run_once_in_order_and_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []

    def second(conn: Connection) -> None:
        conn.exec_driver_sql("CREATE TABLE second (x)")
        ran.append(2)

    def third(conn: Connection) -> None:
        conn.exec_driver_sql("INSERT INTO second VALUES (3)")
        ran.append(3)

    path = old_ledger(tmp_path / "old.db")
    monkeypatch.setattr(migrations, "MIGRATIONS", {2: second, 3: third})
    for _ in range(2):
        opened(path).close()
    assert ran == [2, 3]
    assert {"migration:1", "migration:2", "migration:3"} <= set(meta_of(path))


def test_a_failed_migration_leaves_the_ledger_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(conn: Connection) -> None:
        conn.exec_driver_sql("CREATE TABLE half (x)")
        raise NovaError("cannot")

    path = old_ledger(tmp_path / "old.db")
    before = schema_of(path)
    monkeypatch.setattr(migrations, "MIGRATIONS", {2: broken})
    with pytest.raises(NovaError, match="cannot"):
        opened(path)
    assert (schema_of(path), "migration:2" in meta_of(path)) == (before, False)


def test_a_newer_schema_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.db"
    with monkeypatch.context() as newer:
        newer.setattr(migrations, "MIGRATIONS", {**migrations.MIGRATIONS, migrations.newest() + 1: lambda conn: None})
        opened(path).close()
    with pytest.raises(NovaError, match="newer nova") as refused:
        opened(path)
    assert "upgrade" in (refused.value.hint or "")


def test_another_currency_is_refused_once_money_is_booked(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    opened(path).close()
    ledger = opened(path, currency="EUR")
    ledger.entries.record([Entry("a", "shop", "revenue", Money(1, "EUR"), NOW)])
    ledger.close()
    with pytest.raises(ConfigInvalid, match="kept in EUR") as refused:
        opened(path, currency="USD")
    assert refused.value.exit_code == 78
    opened(path, currency="EUR").close()


def test_what_a_manager_goes_on_to_count_in_the_old_time_zone_the_next_one_counts_anew(tmp_path: Path) -> None:
    path, clock = tmp_path / "ledger.db", ManualClock(datetime(2026, 11, 2, 2, tzinfo=UTC))

    def manager(zone: str) -> Ledger:
        url = f"sqlite:///{path}"
        return Ledger.open(url, currency="USD", zone=ZoneInfo(zone), clock=clock, grouped=True)

    before, run = manager("America/New_York"), RunRef("r1", "mailer", "mailer#1", "sales", "m1")
    opened(path, zone="Europe/Vienna").close()
    before.budgets.spend(run, Money(7, "USD"))  # on the 1st in New York
    before.runs.end(run, clock.now(), "succeeded")
    before.close()
    looking = opened(path, zone="Europe/Vienna")
    assert "nova workers restart" in str(looking.verify().advice)
    looking.close()
    for _ in range(2):
        ledger = manager("Europe/Vienna")
        assert ledger.verify().first_bad is None
        assert ledger.budgets.usage("fleet", "day").spent == Money(7, "USD")
        ledger.close()
    assert "zone_moved" not in meta_of(path)


def test_another_time_zone_counts_the_current_windows_anew(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = opened(path)
    ledger.deployments.note("mailer", "growth", "email_agent")
    at = datetime(2026, 11, 20, 19, 0, tzinfo=UTC)  # the 21st in Kolkata
    ledger.entries.record([Entry("a", "bill", "cost", Money(3_000_000, "USD"), at, "mailer")])
    october = datetime(2026, 10, 31, 20, 0, tzinfo=UTC)
    ledger.entries.record([Entry("b", "bill", "cost", Money(5_000_000, "USD"), october, "mailer")])
    run = RunRef("run-1", "mailer", "mailer#1", "growth", "m")
    ledger.budgets.spend(run, Money(2_000_000, "USD"))
    ledger.budgets.reserve(run, Money(1_000_000, "USD"))
    ledger.close()

    ledger = opened(path, zone="Asia/Kolkata")
    for scope in ("fleet", "worker:mailer", "department:growth"):
        day = ledger.budgets.usage(scope, "day", NOW)
        month = ledger.budgets.usage(scope, "month", NOW)
        assert (str(day.spent), str(day.reserved)) == ("5.00", "1.00")
        assert (str(month.spent), str(month.reserved)) == ("10.00", "1.00")
        total = ledger.budgets.usage(scope, "total", NOW)
        assert (str(total.spent), str(total.reserved)) == ("10.00", "1.00")
    assert ledger.verify().first_bad is None
    ledger.close()
    assert meta_of(path)["zone"] == "Asia/Kolkata"
    assert int(meta_of(path)["usage_since_us"]) == to_us(datetime(2026, 10, 31, 18, 30, tzinfo=UTC))
