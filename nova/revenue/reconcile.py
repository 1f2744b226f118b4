"""The ledger held against what a platform says now, each difference by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nova.clock import iso, to_us
from nova.errors import UsageProblem
from nova.ledger.entries import find_entries
from nova.ledger.facts import REVENUE_SIGNS
from nova.money import Money
from nova.revenue import booking, restated
from platforms.events import PlatformEvent, RevenuePlatform

if TYPE_CHECKING:
    from nova.ledger.ledger import Ledger
    from nova.revenue.office import Office

MOST_NAMED = 1000


@dataclass(slots=True)
class _Compared:
    """Sums in the currency of the balance; `moved` is what was paid out of it or in."""

    ledger: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    platform: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    moved: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    differences: list[dict[str, Any]] = field(default_factory=list)

    def differ(self, id: str, problem: str, ledger: Money | None, platform: Money | None) -> None:
        said = ledger or platform
        self.differences.append(
            {
                "id": id,
                "problem": problem,
                "currency": None if said is None else said.currency,
                "ledger": None if ledger is None else str(ledger),
                "platform": None if platform is None else str(platform),
            }
        )


def reconcile(
    nova: Office,
    sources: Sequence[str] = (),
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    clients: Mapping[str, RevenuePlatform] | None = None,
) -> dict[str, Any]:
    """Compares every entry of a period, and over all time also the balance itself.

    A row a source and currency; `ok` is False where anything differs. A `problem` is `missing here` (sync has not
    booked it), `missing there` (the platform does not tell it) or `amount differs`. Raises as sync does.
    """
    from platforms.registry import configured_revenue, revenue_platform

    if since is not None and until is not None and since >= until:
        raise UsageProblem("the period would end before it begins")
    named = list(dict.fromkeys(sources)) or (configured_revenue(nova.settings) if clients is None else list(clients))
    opened = {
        name: clients[name]
        if clients is not None and name in clients
        else revenue_platform(nova.settings, name, nova.exchange.alone)
        for name in named
    }
    rows: list[dict[str, Any]] = []
    try:
        for name, client in opened.items():
            rows += _rows(
                name, _compare(nova.ledger, client, since, until), client, whole=since is None and until is None
            )
    finally:
        for client in opened.values() if clients is None else ():
            client.close()
    return {
        "at": iso(nova.clock.now()),
        "since": None if since is None else iso(since),
        "until": None if until is None else iso(until),
        "ok": all(row["ok"] for row in rows),
        "sources": rows,
    }


def _compare(ledger: Ledger, client: RevenuePlatform, since: datetime | None, until: datetime | None) -> _Compared:
    found, told = _Compared(), set[str]()
    for page in client.reader().pages(since):
        events = [event for event in page.events if until is None or event.at < until]
        told |= _hold_against(ledger, events, found)
        for money in page.moved:
            found.moved[money.currency] += money.micros
    _add_ledger(ledger, client.name, since, until, told, found)
    return found


def _hold_against(ledger: Ledger, events: Sequence[PlatformEvent], found: _Compared) -> set[str]:
    """Returns the ids of the entries that these may be in the ledger as."""
    facts, totals = restated.parted(events)
    store, source = ledger.store, next((event.source for event in events), "")
    with ledger.read() as conn:
        known = find_entries(conn, store, [(event.source, event.id) for event in facts])
        payments = booking.of_objects(conn, store, source, {one.object for one in totals.values() if one.object})
    held = {id: restated.held_of(one, payments.get(one.object or "", ())) for id, one in totals.items()}
    for event in events:
        found.platform[event.amount.currency] += event.effect.micros
        if event.id in held:
            there = held[event.id].effect(event.amount.currency) if held[event.id].parts else None
        else:
            stored = known.get((event.source, event.id))
            there = None if stored is None else stored.effect
        if there is None and event.effect:
            found.differ(event.id, "missing here", None, event.effect)
        elif there is not None and there != event.effect:
            found.differ(event.id, "amount differs", there, event.effect)
    return {event.id for event in facts} | {part.entry.id for one in held.values() for part in one.parts}


def _add_ledger(
    ledger: Ledger, source: str, since: datetime | None, until: datetime | None, told: set[str], found: _Compared
) -> None:
    sql, values = "SELECT id, kind, micros, currency FROM entries WHERE source = ? AND kind <> 'cost'", [source]
    bounds: list[int] = []
    if since is not None:
        sql, bounds = f"{sql} AND at_us >= ?", [*bounds, to_us(since.replace(microsecond=0))]
    if until is not None:
        sql, bounds = f"{sql} AND at_us < ?", [*bounds, to_us(until)]
    with ledger.read() as conn:
        for id, kind, micros, currency in conn.exec_driver_sql(sql, (*values, *bounds)):
            effect = Money(micros * REVENUE_SIGNS.get(kind, 1), currency)
            found.ledger[currency] += effect.micros
            if id not in told:
                found.differ(id, "missing there", effect, None)


def _rows(source: str, found: _Compared, client: RevenuePlatform, *, whole: bool) -> list[dict[str, Any]]:
    held = _held(client) if whole else {}
    currencies = sorted({*found.ledger, *found.platform, *(code for code, micros in held.items() if micros)})
    return [_row(source, code, found, held.get(code) if whole else None) for code in currencies]


def _row(source: str, code: str, found: _Compared, held: int | None) -> dict[str, Any]:
    named = [one for one in found.differences if one["currency"] == code]
    ledger, platform, moved = (Money(sums[code], code) for sums in (found.ledger, found.platform, found.moved))
    balance = None if held is None else Money(held, code)
    unexplained = None if balance is None else balance - platform - moved
    return {
        "source": source,
        "currency": code,
        "ok": not named and ledger == platform and not unexplained,
        "ledger": str(ledger),
        "platform": str(platform),
        "difference": str(ledger - platform),
        "paid_out": str(-moved),
        "balance": None if balance is None else str(balance),
        "unexplained": None if unexplained is None else str(unexplained),
        "count": len(named),
        "differences": named[:MOST_NAMED],
    }


def _held(client: RevenuePlatform) -> dict[str, int]:
    balance = client.balance()
    sums: dict[str, int] = defaultdict(int)
    for money in (*balance.available, *balance.pending):
        sums[money.currency] += money.micros
    return sums
