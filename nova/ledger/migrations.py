"""Creates the schema, or brings an older one up to date, and holds the ledger to its currency and time zone."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, delete, insert, inspect, select, update
from sqlalchemy.exc import OperationalError

from nova.clock import iso
from nova.errors import ConfigInvalid, NovaError
from nova.ledger import usage
from nova.ledger.dialect import WRITES, is_busy, is_missing_table
from nova.ledger.schema import entries, meta, metadata, rates, reservations, run_accounts
from nova.ledger.schema_steps import second, third

# The function numbered N turns schema N-1 into schema N. A fresh ledger starts at the newest, with all applied.
MIGRATIONS: dict[int, Callable[[Connection], None]] = {2: second, 3: third}
FIRST = 1
_APPLIED = "migration:"


def newest() -> int:
    return max(MIGRATIONS, default=FIRST)


def bring_up_to_date(
    engine: Engine,
    path: Path,
    currency: str,
    zone: ZoneInfo,
    now: datetime,
    patience_s: float,
    *,
    manages: bool = False,
) -> None:
    """Costs one SELECT where nothing is to do. `manages`: for a manager, the first since the time zone was changed
    counts anew what the one before it went on to count in the old one.
    """
    known = _read_meta(engine, patience_s)
    if known is None or schema_of(known) < newest():
        _write(engine, lambda conn: _migrate(conn, path, currency, zone, now))
        known = _read_meta(engine, patience_s) or {}
    if schema_of(known) > newest():
        raise NovaError(
            f"the ledger {path} was written by a newer nova (schema {schema_of(known)}, this one knows {newest()})",
            hint="upgrade nova, or restore a backup made by this version",
        )
    if known.get("currency") != currency or known.get("zone") != zone.key:
        _write(engine, lambda conn: _adopt(conn, path, currency, zone, now))
    elif manages and usage.MOVED in known:
        _write(engine, lambda conn: _settle(conn, zone, now))


def _write(engine: Engine, work: Callable[[Connection], None]) -> None:
    with engine.connect() as conn, conn.execution_options(**{WRITES: True}).begin():
        work(conn)


def _read_meta(engine: Engine, patience_s: float) -> dict[str, str] | None:
    # Processes that create the ledger at once may be refused the switch to WAL, whatever the busy timeout.
    deadline = time.monotonic() + patience_s
    while True:
        try:
            with engine.connect() as conn:
                return _meta(conn)
        except OperationalError as error:
            if is_missing_table(error):
                return None
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _meta(conn: Connection) -> dict[str, str]:
    return {row.key: row.value for row in conn.execute(select(meta.c.key, meta.c.value))}


def schema_of(known: dict[str, str]) -> int:
    """The number of the last migration that the rows of `meta` name; 0 where there is none."""
    return max((int(key.removeprefix(_APPLIED)) for key in known if key.startswith(_APPLIED)), default=0)


def _migrate(conn: Connection, path: Path, currency: str, zone: ZoneInfo, now: datetime) -> None:
    tables = inspect(conn).get_table_names()
    if not tables:
        metadata.create_all(conn)
        done = range(FIRST, newest() + 1)
        conn.execute(insert(meta), [{"key": "currency", "value": currency}, {"key": "zone", "value": zone.key}])
    elif meta.name not in tables:
        raise NovaError(f"{path} is a database, but not a ledger of nova", hint="check NOVA_DATABASE_URL")
    else:
        done = range(schema_of(_meta(conn)) + 1, newest() + 1)
        for number in done:
            MIGRATIONS[number](conn)
    for number in done:
        conn.execute(insert(meta).values(key=f"{_APPLIED}{number}", value=iso(now)))


def _adopt(conn: Connection, path: Path, currency: str, zone: ZoneInfo, now: datetime) -> None:
    """Takes over another currency, while no money is booked, or another time zone."""
    known = _meta(conn)
    if known["currency"] != currency:
        if any(conn.execute(select(table).limit(1)).first() for table in (entries, run_accounts, reservations)):
            raise ConfigInvalid(
                f"NOVA_CURRENCY is {currency}, but the ledger {path} is kept in {known['currency']}",
                hint=f"set NOVA_CURRENCY={known['currency']}, or use another NOVA_HOME for {currency}",
            )
        conn.execute(delete(rates))
        _set(conn, "currency", currency)
    if known["zone"] != zone.key:
        usage.move_to_zone(conn, zone, now)
        _set(conn, "zone", zone.key)
        if usage.MOVED not in known:
            conn.execute(insert(meta).values(key=usage.MOVED, value=iso(now)))


def _settle(conn: Connection, zone: ZoneInfo, now: datetime) -> None:
    if _meta(conn)["zone"] == zone.key:
        usage.move_to_zone(conn, zone, now)
        conn.execute(delete(meta).where(meta.c.key == usage.MOVED))


def _set(conn: Connection, key: str, value: str) -> None:
    conn.execute(update(meta).where(meta.c.key == key).values(value=value))
