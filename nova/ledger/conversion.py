"""Amounts of other currencies in the reporting one."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import Connection

from nova.errors import UsageProblem
from nova.money import MAX_MICROS, Money

# The last row of a currency is its rate; what was said before stays as history.
_LAST = "SELECT currency, rate FROM rates WHERE seq IN (SELECT max(seq) FROM rates GROUP BY currency)"


def by_currency(conn: Connection) -> dict[str, str]:
    """The operator's rates: units of the reporting currency for one of each."""
    return {row.currency: row.rate for row in conn.exec_driver_sql(_LAST)}


def converted(micros: int, currency: str, rate: str | None, reporting: str) -> int | None:
    """None without a rate. Raises UsageProblem for what is more than the ledger keeps."""
    if rate is None:
        return None
    booked = Money(micros, currency).converted(Decimal(rate), reporting).micros
    if abs(booked) > MAX_MICROS:
        raise UsageProblem(f"at the rate {rate} the amount is larger than nova keeps (100 billion)")
    return booked
