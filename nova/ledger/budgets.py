"""Budgets as reservations: money is set aside, in one atomic step against every limit, before it is spent.

What is reserved on a local day is spent in that day's windows, whenever it is settled: what one window has granted
never overshoots the next. Always, for every window: spent == its cost entries + its unbooked run accounts, and
reserved == its open reservations.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from nova.clock import from_us, to_us
from nova.errors import LedgerConflict, NotFound, Refused, UsageProblem
from nova.ledger import rates, tiers
from nova.ledger.counting import charge, count, read_usage, who
from nova.ledger.entries import Entry, record_entries
from nova.ledger.limits import (
    Booked,
    Breach,
    Judge,
    Limit,
    LimitReached,
    RunRef,
    Usage,
    Used,
    breach_of,
    local_day,
    windows_of,
)
from nova.ledger.schema import reservations, runs
from nova.money import Money

__all__ = [
    "Booked",
    "Breach",
    "Budgets",
    "Limit",
    "LimitReached",
    "RunRef",
    "Usage",
    "close",
    "release",
    "reserve",
    "settle",
    "spend",
    "spent",
]  # fmt: skip

if TYPE_CHECKING:
    from nova.ledger.store import Store

_REASON_CHARS = 80
_ENDED = select(runs.c.ended_us).where(runs.c.id == bindparam("run"))
_RESERVATION = select(reservations).where(reservations.c.id == bindparam("key"))
_OPEN = insert(reservations)
_CLOSE = update(reservations).where(reservations.c.id == bindparam("key")).values(settled_micros=bindparam("actual"))


def reserve(
    conn: Connection,
    store: Store,
    run: RunRef,
    ceiling: Money,
    limits: Sequence[Limit] = (),
    *,
    release_on_death: bool = False,
) -> str:
    """Sets `ceiling` aside and returns the reservation's id; LimitReached where a limit does not allow it."""
    asked = _known(conn, store, ceiling)
    if asked <= 0:
        raise UsageProblem(f"a reservation must be more than nothing, not {ceiling}")
    _refuse_late(conn, run)
    at = store.clock.now()
    judge = _judge(conn, store, run, limits, at)
    _claim(conn, judge, asked, reserved=asked)
    key = f"{run.run}:{secrets.token_hex(8)}"
    row = {"id": key, **who(run), "day": judge.day}
    conn.execute(_OPEN, {**row, "micros": asked, "opened_us": to_us(at), "release_on_death": release_on_death})
    return key


def settle(
    conn: Connection,
    store: Store,
    reservation: str,
    actual: Money,
    limits: Sequence[Limit] = (),
    reason: str | None = None,
) -> Booked:
    """Spends `actual` of a reservation and frees the rest; what exceeds the ceiling is booked too, as spent now.

    The same again does nothing. Another amount is a LedgerConflict; NotFound when the run has ended, which charged it.
    """
    row = conn.execute(_RESERVATION, {"key": reservation}).one_or_none()
    if row is None:
        raise NotFound(f"no reservation {reservation}: it was never made, or its run has ended")
    if actual.micros < 0:
        raise UsageProblem(f"what was spent cannot be {actual}")
    micros = _micros(conn, store, actual)
    if row.settled_micros is not None:
        if micros is not None and micros != row.settled_micros:
            before = Money(row.settled_micros, store.currency)
            raise LedgerConflict(f"the reservation {reservation} was settled with {before} {store.currency} before")
        return Booked()
    run = RunRef(row.run, row.worker, "", row.department, row.manager)
    reason = _reason(actual, store, reason)
    if micros is None:
        _record(conn, store, run, actual, reason)
    return close(conn, store, row, micros or 0, limits, reason)


def close(
    conn: Connection,
    store: Store,
    row: Row[Any],
    micros: int,
    limits: Sequence[Limit] = (),
    reason: str | None = None,
) -> Booked:
    """Turns the row of an open reservation into `micros` spent: to its ceiling in its own windows, the excess now."""
    run = RunRef(row.run, row.worker, "", row.department, row.manager)
    within = min(micros, row.micros)
    opened = from_us(row.opened_us)
    before = count(conn, run, row.day, spent=within, reserved=-row.micros)
    charge(conn, run, row.day, opened, within, reason)
    conn.execute(_CLOSE, {"key": row.id, "actual": micros})
    booked = _judge(conn, store, run, limits, opened, row.day).booked(before, within)
    now = store.clock.now()
    standing = tuple(breach for breach in booked.breaches if breach.until is None or breach.until > now)
    if micros == within:
        return Booked(standing, booked.near, booked.total)
    more = _book(conn, store, run, micros - within, limits, reason)
    return Booked(more.breaches, booked.near + more.near, more.total)


def release(conn: Connection, store: Store, reservation: str) -> None:
    """Frees a reservation of which nothing was spent. The same again does nothing."""
    settle(conn, store, reservation, Money.zero(store.currency))


def spend(
    conn: Connection,
    store: Store,
    run: RunRef,
    amount: Money,
    limits: Sequence[Limit] = (),
    reason: str | None = None,
) -> Booked:
    """Spends a known price, or raises LimitReached and books nothing."""
    asked = _known(conn, store, amount)
    _refuse_late(conn, run)
    at = store.clock.now()
    judge = _judge(conn, store, run, limits, at)
    before = _claim(conn, judge, asked, spent=asked)
    charge(conn, run, judge.day, at, asked, _reason(amount, store, reason))
    return judge.booked(before, asked)


def spent(
    conn: Connection,
    store: Store,
    run: RunRef,
    amount: Money,
    limits: Sequence[Limit] = (),
    reason: str | None = None,
) -> Booked:
    """Books money that is gone already, whatever the limits say, and tells which it broke.

    What comes after the run's end, or in a currency without a rate, becomes an entry of its own at once.
    """
    if amount.micros < 0:
        raise UsageProblem(f"what was spent cannot be {amount}")
    micros = _micros(conn, store, amount)
    reason = _reason(amount, store, reason)
    if micros is not None and not _ended(conn, run):
        return _book(conn, store, run, micros, limits, reason)
    _record(conn, store, run, amount, reason)
    if micros is None:
        return Booked()
    judge = _judge(conn, store, run, limits, store.clock.now())
    keys = run.keys(judge.day)
    used = read_usage(conn, keys)
    return judge.booked({key: (used[key][0] - micros, used[key][1]) for key in keys}, micros)


def _claim(conn: Connection, judge: Judge, asked: int, *, spent: int = 0, reserved: int = 0) -> Used:
    """Counts first and judges what came back, so that no other writer fits between; undone when refused."""
    if asked < 0:
        raise UsageProblem("what is spent cannot be negative")
    before = count(conn, judge.run, judge.day, spent=spent, reserved=reserved)
    refused = judge.refused(before, asked)
    if refused:
        count(conn, judge.run, judge.day, spent=-spent, reserved=-reserved)
        raise LimitReached(refused, Money(asked, judge.currency))
    return before


def _book(
    conn: Connection, store: Store, run: RunRef, micros: int, limits: Sequence[Limit], reason: str | None
) -> Booked:
    at = store.clock.now()
    judge = _judge(conn, store, run, limits, at)
    before = count(conn, run, judge.day, spent=micros)
    charge(conn, run, judge.day, at, micros, reason)
    return judge.booked(before, micros)


def _record(conn: Connection, store: Store, run: RunRef, amount: Money, reason: str | None) -> None:
    entry = Entry(
        id=f"{run.run}:{secrets.token_hex(8)}",
        source=f"worker:{run.worker}",
        kind="cost",
        worker=run.worker,
        run=run.run,
        amount=amount,
        at=store.clock.now(),
        model="direct",
        evidence="spent by its run",
        note=reason,
    )
    if amount:
        record_entries(conn, store, [entry])


def _judge(
    conn: Connection, store: Store, run: RunRef, limits: Sequence[Limit], at: datetime, day: str | None = None
) -> Judge:
    known = tuple((limit, _known(conn, store, limit.amount)) for limit in limits)
    return Judge.on(known, run, day or local_day(at, store.zone), at, store.zone, store.currency)


def _micros(conn: Connection, store: Store, amount: Money) -> int | None:
    """In the reporting currency, by the operator's rate; None without one."""
    if amount.currency == store.currency:
        return amount.micros
    rate = rates.current(conn, amount.currency)
    return None if rate is None else amount.converted(rate, store.currency).micros


def _known(conn: Connection, store: Store, amount: Money) -> int:
    micros = _micros(conn, store, amount)
    if micros is None:
        raise Refused(
            f"{amount} {amount.currency} cannot be counted in {store.currency}: there is no rate",
            hint=f"set one with `nova revenue rates set {amount.currency}=…`",
        )
    return micros


def _reason(amount: Money, store: Store, reason: str | None) -> str | None:
    """Short, on one line, with the original amount where it was converted."""
    original = "" if amount.currency == store.currency else f"{amount} {amount.currency} "
    words = "".join(char if char.isprintable() else " " for char in (reason or "")[:_REASON_CHARS])
    return (original + words).strip() or None


def _ended(conn: Connection, run: RunRef) -> bool:
    return conn.execute(_ENDED, {"run": run.run}).scalar() is not None


def _refuse_late(conn: Connection, run: RunRef) -> None:
    if _ended(conn, run):
        raise Refused(f"the run {run.run} of {run.worker} has ended: nothing more is spent in its name")


class Budgets:
    """What a run may spend, and what every scope has spent."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def reserve(
        self, run: RunRef, ceiling: Money, limits: Sequence[Limit] = (), *, release_on_death: bool = False
    ) -> str:
        """Sets `ceiling` aside and returns the reservation's id; LimitReached (a BudgetExceeded) when refused."""
        store = self._store
        return store.apply(lambda conn: reserve(conn, store, run, ceiling, limits, release_on_death=release_on_death))

    def settle(
        self, reservation: str, actual: Money, limits: Sequence[Limit] = (), reason: str | None = None
    ) -> Booked:
        """Spends `actual` of it and frees the rest; idempotent. NotFound when its run has ended and was charged."""
        store = self._store
        return store.apply(lambda conn: settle(conn, store, reservation, actual, limits, reason))

    def release(self, reservation: str) -> None:
        """Frees a reservation of which nothing was spent; idempotent."""
        store = self._store
        store.apply(lambda conn: release(conn, store, reservation))

    def spend(self, run: RunRef, amount: Money, limits: Sequence[Limit] = (), reason: str | None = None) -> Booked:
        """Spends a known price, or raises LimitReached and books nothing."""
        store = self._store
        return store.apply(lambda conn: spend(conn, store, run, amount, limits, reason))

    def spent(self, run: RunRef, amount: Money, limits: Sequence[Limit] = (), reason: str | None = None) -> Booked:
        """Books money that is gone already and tells which limits it broke."""
        store = self._store
        return store.apply(lambda conn: spent(conn, store, run, amount, limits, reason), always=True)

    def usage(self, scope: str, per: str, at: datetime | None = None) -> Usage:
        """`scope` is fleet, department:D, worker:NAME, or run:ID with per run."""
        return self.usages([(scope, per)], at)[scope, per]

    def usages(self, asked: Iterable[tuple[str, str]], at: datetime | None = None) -> dict[tuple[str, str], Usage]:
        """The same of many (scope, per) at once."""
        at = at or self._store.clock.now()
        day, month, total = windows_of(local_day(at, self._store.zone))
        window = {"day": day, "month": month, "total": total, "run": "run"}
        keys = {(scope, per): (scope, window[per]) for scope, per in asked}
        with self._store.read() as conn:
            used = read_usage(conn, keys.values())
        return {
            pair: Usage(*(Money(micros, self._store.currency) for micros in used[key])) for pair, key in keys.items()
        }

    def broken(self, limits: Iterable[Limit], at: datetime | None = None) -> tuple[Breach, ...]:
        """Which of these lasting limits are exceeded by what is spent, however it was booked."""
        return self.standing(limits, at).breaches

    def standing(self, limits: Iterable[Limit], at: datetime | None = None) -> Booked:
        """What these lasting limits say of all that is spent, however it was booked: which are exceeded, and which
        of the others have reached a tier that nobody was told of.
        """
        at = at or self._store.clock.now()
        used = self._used(limits, at)
        broken = [
            breach_of(limit, usage, at, self._store.zone) for limit, most, usage in used if usage.spent.micros > most
        ]
        reached = {
            breach_of(limit, usage, at, self._store.zone, tier): tiers.threshold(tier, most)
            for limit, most, usage in used
            if usage.spent.micros <= most and (tier := limit.reached(usage.spent.micros, most)) is not None
        }
        if not reached:
            return Booked(tuple(broken))
        with self._store.read() as conn:
            told = tiers.read_warned(conn, [(breach.limit.scope, breach.window) for breach in reached])
        near = (breach for breach, least in reached.items() if told[breach.limit.scope, breach.window] < least)
        return Booked(tuple(broken), tuple(near))

    def left(self, limits: Iterable[Limit], at: datetime | None = None) -> dict[Limit, Money]:
        """What each lasting limit leaves beside what is spent and reserved; below zero where it is broken."""
        at = at or self._store.clock.now()
        return {
            limit: Money(most - usage.spent.micros - usage.reserved.micros, self._store.currency)
            for limit, most, usage in self._used(limits, at)
        }

    def warned(self, breach: Breach) -> bool:
        """Notes that people are told of its tier. False where they were told of as much in this window before."""
        store = self._store
        return store.apply(lambda conn: tiers.note(conn, store, breach, _known(conn, store, breach.limit.amount)))

    def _used(self, limits: Iterable[Limit], at: datetime) -> list[tuple[Limit, int, Usage]]:
        """Each lasting limit with its amount in reporting millionths and what stands against it."""
        lasting = [limit for limit in limits if limit.lasts]
        used = self.usages([(limit.scope, limit.per) for limit in lasting], at)
        with self._store.read() as conn:
            return [(limit, _known(conn, self._store, limit.amount), used[limit.scope, limit.per]) for limit in lasting]
