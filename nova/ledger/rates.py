"""The operator's exchange rates, for amounts that come without one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, insert, select

from nova.clock import from_us, iso
from nova.errors import UsageProblem
from nova.ledger import audit, booking, rollups
from nova.ledger.conversion import by_currency
from nova.ledger.facts import rate_text
from nova.ledger.schema import rates

if TYPE_CHECKING:
    from nova.ledger.store import Store

_BATCH = 5000


@dataclass(frozen=True, slots=True)
class Rate:
    """Units of the reporting currency for one of `currency`, as said by `by`."""

    currency: str
    rate: Decimal
    at: datetime
    by: str


def current(conn: Connection, currency: str) -> Decimal | None:
    rate = by_currency(conn).get(currency)
    return None if rate is None else Decimal(rate)


class Rates:
    def __init__(self, store: Store) -> None:
        self._store = store

    def set(self, currency: str, rate: Decimal, by: str) -> int:
        """From now on amounts without a rate are converted with it, and so is every entry that waited for one.

        What was converted before keeps its rate. Returns how many entries it converted; raises UsageProblem.
        """
        code = currency.strip().upper()
        if not re.fullmatch("[A-Z]{3}", code):
            raise UsageProblem(f"not a currency: {currency!r}", hint="write it as EUR=1.08")
        if code == self._store.currency:
            raise UsageProblem(f"{code} is the reporting currency; it needs no rate")
        text = rate_text(rate)
        return self._store.apply(lambda conn: _set(conn, self._store, code, text, by))

    def all(self) -> list[Rate]:
        """The rates in force, by currency."""
        newest = select(func.max(rates.c.seq)).group_by(rates.c.currency)
        query = select(rates).where(rates.c.seq.in_(newest)).order_by(rates.c.currency)
        with self._store.read() as conn:
            return [Rate(row.currency, Decimal(row.rate), from_us(row.at_us), row.by) for row in conn.execute(query)]


def _set(conn: Connection, store: Store, currency: str, rate: str, by: str) -> int:
    before = by_currency(conn).get(currency)
    if before != rate:
        now = store.clock.now()
        conn.execute(insert(rates).values(currency=currency, rate=rate, at_us=store.now_us(), by=by))
        audit.append(conn, now, by, "rate_set", currency, {"rate": rate, "before": before, "at": iso(now)})
    done = last = 0
    while batch := booking.unconverted(conn, currency, last, _BATCH):
        booking.convert(conn, store, [(known, rate) for known in batch], leaving=False)
        done, last = done + len(batch), batch[-1].seq
    if done:
        rollups.forget_unit(conn, currency)
    return done
