"""What can be told of a ledger without counting it: for `nova doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, select

from nova.clock import from_us
from nova.ledger.migrations import newest
from nova.ledger.schema import audit, entries

if TYPE_CHECKING:
    from nova.ledger.store import Store


@dataclass(frozen=True, slots=True)
class Vitals:
    """`damage` is what the database says of itself, null where its pages are in order. `newest` is of any record."""

    schema: int
    damage: str | None
    newest: datetime | None


def vitals(store: Store) -> Vitals:
    """Reads every page once, and no row."""
    with store.read() as conn:
        said = str(conn.exec_driver_sql("PRAGMA quick_check(1)").scalar_one())
        return Vitals(newest(), None if said == "ok" else said, _newest(conn))


def _newest(conn: Connection) -> datetime | None:
    last = (
        select(entries.c.recorded_us).order_by(entries.c.seq.desc()).limit(1).scalar_subquery(),
        select(audit.c.at_us).where(audit.c.seq == select(func.max(audit.c.seq)).scalar_subquery()).scalar_subquery(),
    )
    found = [us for us in conn.execute(select(*last)).one() if us is not None]
    return from_us(max(found)) if found else None
