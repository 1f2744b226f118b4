"""Booking what an ended run has spent: its left-over reservations are charged, its accounts become cost entries."""

from __future__ import annotations

import json
import logging
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, delete, select

from nova.clock import from_us
from nova.ledger.budgets import close
from nova.ledger.counting import take_back
from nova.ledger.entries import Entry, record_entries
from nova.ledger.facts import EARLIEST_US, LATEST_US
from nova.ledger.limits import RunRef
from nova.ledger.schema import budget_usage, reservations, run_accounts
from nova.money import MAX_MICROS, Money

if TYPE_CHECKING:
    from nova.ledger.store import Store

log = logging.getLogger(__name__)

_OWN = budget_usage.c.scope == bindparam("scope")
_HAS_MONEY = select(budget_usage.c.scope).where(_OWN)
_OPEN = select(reservations).where(reservations.c.run == bindparam("run"), reservations.c.settled_micros.is_(None))
_ACCOUNTS = select(run_accounts).where(run_accounts.c.run == bindparam("run")).order_by(run_accounts.c.day)
_FORGET = (
    delete(reservations).where(reservations.c.run == bindparam("run")),
    delete(run_accounts).where(run_accounts.c.run == bindparam("run")),
)
_FORGET_USAGE = delete(budget_usage).where(_OWN)


class Bill(NamedTuple):
    """What of a run's open reservations was charged and released, and what it cost in all; None: it metered nothing."""

    charged: Money
    released: Money
    cost: Money | None


def book_run(conn: Connection, store: Store, run: str) -> Bill:
    """Books everything a run has spent.

    A reservation nobody settled is charged in full, because the vendor may have been paid, unless it was made with
    `release_on_death`. The accounts are in the budgets' usage already; nothing is counted twice.
    """
    charged = released = 0
    cost = None
    if conn.execute(_HAS_MONEY, {"scope": f"run:{run}"}).first() is not None:
        for row in conn.execute(_OPEN, {"run": run}).all():
            close(conn, store, row, 0 if row.release_on_death else row.micros, reason="reservation never settled")
            charged += 0 if row.release_on_death else row.micros
            released += row.micros if row.release_on_death else 0
        accounts = conn.execute(_ACCOUNTS, {"run": run}).all()
        for account in accounts:
            _book(conn, store, account)
        cost = Money(sum(account.micros for account in accounts), store.currency)
        for forget in _FORGET:
            conn.execute(forget, {"run": run})
        conn.execute(_FORGET_USAGE, {"scope": f"run:{run}"})
    return Bill(Money(charged, store.currency), Money(released, store.currency), cost)


def _book(conn: Connection, store: Store, account: Row[Any]) -> None:
    """Whatever the clock said and however much it is: money that is gone is booked."""
    at_us = min(max(account.last_us, EARLIEST_US), LATEST_US - 1)
    if at_us != account.last_us:
        run = RunRef(account.run, account.worker, "", account.department, account.manager)
        take_back(conn, run, account.day, account.micros)
    first = _entry(account, store, at_us)
    parts = [first] if account.micros <= MAX_MICROS else _in_parts(first)
    _record(conn, store, parts, counted=at_us == account.last_us)


def _in_parts(whole: Entry) -> list[Entry]:
    """As many entries as it takes, each of what one can hold."""
    amounts = range(0, whole.amount.micros, MAX_MICROS)
    return [
        replace(
            whole,
            id=whole.id if start == 0 else f"{whole.id}:{start // MAX_MICROS + 1}",
            amount=Money(min(MAX_MICROS, whole.amount.micros - start), whole.amount.currency),
        )
        for start in amounts
    ]


def _entry(account: Row[Any], store: Store, at_us: int) -> Entry:
    reasons = "; ".join(json.loads(line) for line in account.reasons.splitlines())
    return Entry(
        id=f"{account.run}:{account.day}",
        source=f"worker:{account.worker}",
        kind="cost",
        worker=account.worker,
        run=account.run,
        amount=Money(account.micros, store.currency),
        at=from_us(at_us),
        model="direct",
        evidence="spent by its run",
        note=reasons or None,
    )


def _record(conn: Connection, store: Store, entries: list[Entry], *, counted: bool) -> None:
    """An agent may have earned under the very id; money that is gone is booked all the same, under another."""
    taken = {conflict.id for conflict in record_entries(conn, store, entries, counted=counted).conflicts}
    if taken:
        log.warning("cost_entry_renamed", extra={"action": "cost_entry_renamed", "ids": sorted(taken)})
        again = [replace(entry, id=f"{entry.id}:{secrets.token_hex(8)}") for entry in entries if entry.id in taken]
        record_entries(conn, store, again, counted=counted)
