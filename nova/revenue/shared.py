"""Bills that several deployments share: declared, listed, and booked day by day to those who bear them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from nova.clock import Clock
from nova.errors import LedgerConflict, UsageProblem
from nova.fleet.shared import SharedCost, name_after, parse_bill, parse_day
from nova.ledger.entries import Entry, record_entries
from nova.money import Money
from nova.revenue.shares import share_of_day, shares_among

if TYPE_CHECKING:
    from nova.fleet.documents import Deployment, FleetSnapshot
    from nova.fleet.fleet import Fleet
    from nova.ledger.ledger import Ledger
    from nova.ledger.store import Store

_DAY = timedelta(days=1)
_NOBODY = "-"
_SOURCE = "shared:"
_MODEL = "shared"  # by which its own entries are told from what a person recorded under the source
_LAST = f"SELECT max(id) FROM entries WHERE source = ? AND id >= ? AND id < ? AND model = '{_MODEL}'"
_NOBODYS = f"SELECT sum(micros) FROM entries WHERE source = ? AND worker IS NULL AND model = '{_MODEL}'"
_BOOKED = "SELECT 1 FROM entries WHERE source = ? AND id >= ? AND id < ? LIMIT 1"


class Parts(Protocol):
    """What is needed of the program around it; `nova.bootstrap.Nova` is one."""

    @property
    def clock(self) -> Clock: ...
    @property
    def fleet(self) -> Fleet: ...
    @property
    def ledger(self) -> Ledger: ...


def share(
    nova: Parts,
    bill: str,
    *,
    among: str,
    basis: str,
    name: str | None = None,
    since: str | None = None,
    until: str | None = None,
    by: str,
) -> dict[str, Any]:
    """Declares a bill, such as `49/month`, from today on where no day is given. What is booked of it already stays.

    Without a name it is called after those who share it. The same again changes nothing; another bill under a name
    that was given takes its place from today on: the days before are booked first. Raises UsageProblem.
    """
    amount, per = parse_bill(bill, nova.ledger.store.currency)
    among = among.replace(" ", "")
    called = name_after(among) if name is None else name
    known = next((one for one in nova.fleet.snapshot().shared if one.name == called), None)
    goes_on = known is not None and (known.until is None or known.until > _today(nova))
    first = parse_day(since) if since else known.since if known and goes_on else _today(nova)
    last = parse_day(until) if until else None
    asked = SharedCost(called, amount, per, among, basis, first, last).checked()
    if name is None and known is not None and asked != known:
        raise UsageProblem(
            f"{known.bill} is shared under the name {called} already",
            hint="give this bill a --name, or repeat that one",
        )
    if known is not None and asked != known:
        book_due(nova)
    if nova.fleet.share(asked):
        nova.ledger.audit.append(by, "cost_shared", called, asked.to_document())
    book_due(nova)
    return _row(nova, asked)


def unshare(nova: Parts, name: str, *, by: str) -> None:
    """Ends a bill today: the days before are booked, and stay. Raises NotFound."""
    book_due(nova)
    nova.fleet.unshare(name)
    nova.ledger.audit.append(by, "cost_unshared", name)


def shared(nova: Parts) -> dict[str, Any]:
    """The bills that are declared, each with how far it is booked."""
    snapshot = nova.fleet.snapshot()
    return {"currency": snapshot.currency, "shared": [_row(nova, one) for one in snapshot.shared]}


def _row(nova: Parts, one: SharedCost) -> dict[str, Any]:
    with nova.ledger.read() as conn:
        booked = _last_booked(conn, one, _today(nova))
        nobodys = Money(conn.exec_driver_sql(_NOBODYS, (_SOURCE + one.name,)).scalar() or 0, one.amount.currency)
    fleet = nova.fleet.snapshot().deployments.values()
    members = [each.name for each in fleet if one.concerns(each) and each.state != "killed"]
    given = {**one.to_document(), "amount": str(one.amount), "currency": one.amount.currency}
    through = booked.isoformat() if booked else None
    return {**given, "members": members, "booked_through": through, "unattributed": str(nobodys)}


def book_due(nova: Parts) -> int:
    """Books every bill for each local day that has ended and is not booked yet; how many days that were.

    A day is booked once, by what is known then. May run anywhere, at once with itself, and again.
    """
    snapshot = nova.fleet.snapshot()
    if not snapshot.shared:
        return 0
    return sum(_book(nova, snapshot, one, day) for one in snapshot.shared for day in _due(nova, one))


def _due(nova: Parts, one: SharedCost) -> Iterator[date]:
    today = _today(nova)
    with nova.ledger.read() as conn:
        booked = _last_booked(conn, one, today)
    day = one.since if booked is None else max(one.since, booked + _DAY)
    end = today if one.until is None else min(today, one.until)
    while day < end:
        yield day
        day += _DAY


def _book(nova: Parts, snapshot: FleetSnapshot, one: SharedCost, day: date) -> bool:
    store = nova.ledger.store
    start, end = _bounds(day, store.zone)
    entries = list(_entries(one, day, end, _weights(nova, snapshot, one, start, end)))
    return bool(entries) and nova.ledger.apply(lambda conn: _record(conn, store, one, day, entries))


def _record(conn: Connection, store: Store, one: SharedCost, day: date, entries: list[Entry]) -> bool:
    first = f"{one.name}:{day.isoformat()}:"
    if conn.exec_driver_sql(_BOOKED, (_SOURCE + one.name, first, first[:-1] + ";")).first() is not None:
        return False
    recorded = record_entries(conn, store, entries)
    if recorded.conflicts:
        raise LedgerConflict(recorded.conflicts[0].message)
    return True


def _weights(nova: Parts, snapshot: FleetSnapshot, one: SharedCost, start: datetime, end: datetime) -> dict[str, int]:
    """Who bears a day, and how much each counts: those that were there, and those whose history of it was imported."""
    weights = _basis(nova, one.by, start, end)
    known = {each.name: weights.get(each.name, 0) for each in snapshot.deployments.values() if one.concerns(each)}
    there = {name for name in known if _was_there(snapshot.deployments[name], start, end)}
    imported = {name for name, weight in known.items() if weight > 0 and snapshot.deployments[name].created_at >= end}
    return {name: known[name] for name in there | imported}


def _basis(nova: Parts, by: str, start: datetime, end: datetime) -> dict[str, int]:
    if by == "revenue":
        return {row.key: row.totals.revenue.micros for row in nova.ledger.reports.report("worker", start, end).rows}
    if by == "runs":
        sums = nova.ledger.runs.sums(start, end)
        return {worker: runs.succeeded + runs.failed + runs.interrupted for worker, runs in sums.items()}
    return {}


def _was_there(one: Deployment, start: datetime, end: datetime) -> bool:
    """Neither killed before nor deployed after."""
    return one.created_at < end and not (one.state == "killed" and one.state_since <= start)


def _entries(one: SharedCost, day: date, end: datetime, weights: dict[str, int]) -> Iterator[Entry]:
    amount = share_of_day(one.amount, one.per, day)
    common = Entry(
        id="",
        source=_SOURCE + one.name,
        kind="cost",
        amount=amount,
        at=end - timedelta(seconds=1),
        model=_MODEL,
        evidence=f"its share of {one.bill} among {one.among} by {one.by}",
    )
    for worker, part in shares_among(amount, weights).items():
        if part:
            yield replace(common, id=f"{one.name}:{day.isoformat()}:{worker or _NOBODY}", worker=worker, amount=part)


def _last_booked(conn: Connection, one: SharedCost, before: date) -> date | None:
    """The ids of a bill sort by day."""
    span = (f"{one.name}:", f"{one.name}:{before.isoformat()}")
    found: Any = conn.exec_driver_sql(_LAST, (_SOURCE + one.name, *span)).scalar()
    return None if found is None else date.fromisoformat(found[len(one.name) + 1 :][:10])


def _bounds(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The instants between which the local day lies."""
    start, end = (datetime(at.year, at.month, at.day, tzinfo=zone) for at in (day, day + _DAY))
    return start.astimezone(UTC), end.astimezone(UTC)


def _today(nova: Parts) -> date:
    return nova.clock.now().astimezone(nova.ledger.store.zone).date()
