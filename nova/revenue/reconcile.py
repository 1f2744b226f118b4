"""The ledger held against what a platform says now, each difference by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nova.clock import iso, to_us
from nova.errors import UsageProblem
from nova.ledger.facts import REVENUE_SIGNS
from nova.money import Money
from nova.revenue import restated
from platforms.events import Balance, PlatformEvent, RevenuePlatform, Transfer

if TYPE_CHECKING:
    from nova.ledger.ledger import Ledger
    from nova.revenue.office import Office

MOST_NAMED = 1000
_ENTRIES = """
    SELECT id, kind, micros, currency, booked_micros IS NULL FROM entries WHERE source = ? AND kind <> 'cost'
"""


@dataclass(slots=True)
class _Side:
    """What one side has of a fact: its effect, and the id it is named by."""

    id: str
    micros: int = 0
    unconverted: bool = False


@dataclass(slots=True)
class _Compared:
    """Sums by currency: of the period, what `moved` was own money; `later` is all that came after it.

    Facts are by their stem and currency: an entry that was restated and what corrects it are one fact.
    """

    ledger: dict[tuple[str, str], _Side] = field(default_factory=dict)
    platform: dict[tuple[str, str], _Side] = field(default_factory=dict)
    moved: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    later: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def tell(self, events: Iterable[PlatformEvent], transfers: Iterable[Transfer], until: datetime | None) -> None:
        for event in events:
            code, micros = event.amount.currency, event.effect.micros
            if until is not None and event.at >= until:
                self.later[code] += micros
            else:
                key = (event.total_of or event.id, code)
                self.platform.setdefault(key, _Side(event.id)).micros += micros
        for transfer in transfers:
            after = until is not None and transfer.at >= until
            (self.later if after else self.moved)[transfer.amount.currency] += transfer.amount.micros

    def currencies(self) -> set[str]:
        return {code for _, code in (*self.ledger, *self.platform)} | {code for code, sum in self.moved.items() if sum}

    def sum(self, facts: Mapping[tuple[str, str], _Side], code: str) -> Money:
        return Money(sum(one.micros for (_, currency), one in facts.items() if currency == code), code)


def reconcile(
    nova: Office,
    sources: Sequence[str] = (),
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    clients: Mapping[str, RevenuePlatform] | None = None,
) -> dict[str, Any]:
    """Compares every entry of a period, and the balance with it: as it is now or, before `until`, as it was then.

    A row a source and currency; `ok` is False where anything differs. A `problem` is `missing here` (sync has not
    booked it), `missing there` (the platform does not tell it), `amount differs`, `time differs` (it is booked outside
    the period) or `unconverted` (it waits for a rate). Raises as sync does.
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
            held = client.balance()
            rows += _rows(nova.ledger, name, _compare(nova.ledger, client, since, until), held, since, until)
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
    found = _Compared()
    for page in client.reader().pages(since):
        found.tell(page.events, page.moved, until)
    sql, values = _ENTRIES, [client.name]
    bounds: list[int] = []
    if since is not None:
        sql, bounds = f"{sql} AND at_us >= ?", [*bounds, to_us(since.replace(microsecond=0))]
    if until is not None:
        sql, bounds = f"{sql} AND at_us < ?", [*bounds, to_us(until)]
    with ledger.read() as conn:
        _add(found.ledger, conn.exec_driver_sql(sql, (*values, *bounds)))
    return found


def _add(facts: dict[tuple[str, str], _Side], rows: Iterable[Any]) -> None:
    for id, kind, micros, currency, unconverted in rows:
        side = facts.setdefault((restated.stem_of(id), currency), _Side(id))
        side.micros += micros * REVENUE_SIGNS.get(kind, 1)
        side.unconverted = side.unconverted or bool(unconverted)


def _rows(
    ledger: Ledger, source: str, found: _Compared, held: Balance, since: datetime | None, until: datetime | None
) -> list[dict[str, Any]]:
    sums = _held(held)
    differences = _differences(ledger, source, found)
    currencies = sorted(found.currencies() | {code for code, micros in sums.items() if micros})
    return [_row(source, code, found, differences, sums, since, until) for code in currencies]


def _differences(ledger: Ledger, source: str, found: _Compared) -> list[dict[str, Any]]:
    named: list[dict[str, Any]] = []
    for key in dict.fromkeys((*found.platform, *found.ledger)):
        here, there = found.ledger.get(key), found.platform.get(key)
        if here is None and there is not None and there.micros:
            elsewhere = _anywhere(ledger, source, key)
            named.append(_difference(key[1], "missing here" if elsewhere is None else "time differs", elsewhere, there))
        elif here is not None and there is None:
            named.append(_difference(key[1], "missing there", here, None))
        elif here is not None and there is not None and here.micros != there.micros:
            named.append(_difference(key[1], "amount differs", here, there))
        elif here is not None and here.unconverted:
            named.append(_difference(key[1], "unconverted", here, there))
    return named


def _anywhere(ledger: Ledger, source: str, key: tuple[str, str]) -> _Side | None:
    """What the ledger has of a fact at another time than the platform tells."""
    stem, currency = key
    facts: dict[tuple[str, str], _Side] = {}
    with ledger.read() as conn:
        sql = f"{_ENTRIES} AND (id = ? OR (id >= ? AND id < ?))"
        _add(facts, conn.exec_driver_sql(sql, (source, stem, f"{stem}@", f"{stem}A")))
    return facts.get((stem, currency))


def _difference(currency: str, problem: str, here: _Side | None, there: _Side | None) -> dict[str, Any]:
    named = there or here
    return {
        "id": None if named is None else named.id,
        "problem": problem,
        "currency": currency,
        "ledger": None if here is None else str(Money(here.micros, currency)),
        "platform": None if there is None else str(Money(there.micros, currency)),
    }


def _row(
    source: str,
    code: str,
    found: _Compared,
    differences: Sequence[dict[str, Any]],
    held: Mapping[str, int],
    since: datetime | None,
    until: datetime | None,
) -> dict[str, Any]:
    """The balance at the end of the period is today's without what came later; at its beginning, without the period
    too. Where the period is all time, there was nothing at its beginning.
    """
    named = [one for one in differences if one["currency"] == code]
    ledger, platform = found.sum(found.ledger, code), found.sum(found.platform, code)
    moved = Money(found.moved[code], code)
    closing = Money(held.get(code, 0) - found.later[code], code) if held else None
    opening = None if closing is None else closing - platform - moved
    unexplained = opening if since is None else None
    balance = closing if since is None and until is None else None
    return {
        "source": source,
        "currency": code,
        "ok": not named and ledger == platform and not unexplained,
        "ledger": str(ledger),
        "platform": str(platform),
        "difference": str(ledger - platform),
        "paid_out": str(-moved),
        "opening": None if opening is None else str(opening),
        "closing": None if closing is None else str(closing),
        "balance": None if balance is None else str(balance),
        "unexplained": None if unexplained is None else str(unexplained),
        "count": len(named),
        "differences": named[:MOST_NAMED],
    }


def _held(balance: Balance) -> dict[str, int]:
    sums: dict[str, int] = defaultdict(int)
    for money in (*balance.available, *balance.pending):
        sums[money.currency] += money.micros
    return sums
