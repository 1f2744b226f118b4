"""Reports as documents, from the ledger's sums."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, get_args

from nova.clock import iso
from nova.errors import UsageProblem
from nova.ledger.reports import By, Report, Row, Totals
from nova.money import Money

if TYPE_CHECKING:
    from nova.revenue.office import Office

_KEYS: tuple[By, ...] = get_args(By)


def report(
    nova: Office,
    *,
    by: str = "worker",
    since: datetime | None = None,
    until: datetime | None = None,
    now: datetime | None = None,
    model: str | None = None,
) -> dict[str, Any]:
    """Entries from `since` on, before `until`, and not after `now` where it is given. Raises UsageProblem.

    `unconverted` lists what waits for a rate, over all time: none of it is in the figures. With a `model`, or `all`,
    each row also has the figures by it.
    """
    key = next((key for key in _KEYS if key == by), None)
    if key is None:
        raise UsageProblem(f"not a key to report by: {by!r}", hint=f"it is one of {', '.join(_KEYS)}")
    end = min((at for at in (until, now) if at is not None), default=None)
    if since is not None and end is not None and since > end:
        raise UsageProblem("the report would end before it begins", hint="--since must be before --until and --now")
    found = _document(nova.ledger.reports.report(key, since, end), nova.ledger.store.currency)
    if model is not None:
        from nova.revenue.attribution.compare import compared, models_named

        if key != "worker":
            raise UsageProblem("models divide among workers", hint="--model goes with --by worker")
        found = compared(nova, found, models_named(model), since, end)
    return {**found, "unconverted": unconverted(nova)}


def timeline(nova: Office, *, days: int = 30, now: datetime | None = None) -> dict[str, Any]:
    """The last `days` local days, today included, each with a row."""
    zone, currency = nova.ledger.store.zone, nova.ledger.store.currency
    at = now or nova.clock.now()
    today = at.astimezone(zone).date()
    first = today - timedelta(days=days - 1)
    since = datetime(first.year, first.month, first.day, tzinfo=zone)
    found = nova.ledger.reports.report("day", since, now)
    rows = {row.key: row for row in found.rows}
    nothing = Totals(Money.zero(currency), Money.zero(currency), 0, 0, 0, has_cost=False)
    shown = [rows.get(name) or Row(name, nothing) for name in _names(first, days)]
    return {**_document(found, currency), "rows": [_row(row) for row in shown]}


def _names(first: date, days: int) -> list[str]:
    return [f"{first + timedelta(days=n):%Y-%m-%d}" for n in range(days)]


def _document(found: Report, currency: str) -> dict[str, Any]:
    rest = found.unattributed
    return {
        "currency": currency,
        "since": None if found.since is None else iso(found.since),
        "until": None if found.until is None else iso(found.until),
        "rows": [_row(row) for row in found.rows],
        "unattributed": {"revenue": str(rest.revenue), "entries": rest.entries},
        "total": _figures(found.total),
    }


def _row(row: Row) -> dict[str, Any]:
    return {"key": row.key, **_figures(row.totals)}


def _figures(sums: Totals) -> dict[str, Any]:
    return {
        "revenue": str(sums.revenue),
        "cost": str(sums.cost),
        "profit": str(sums.profit),
        "roi_percent": sums.roi_percent,
        "entries": sums.entries,
    }


def unconverted(nova: Office, only: str | None = None) -> list[dict[str, Any]]:
    """What waits for a rate, by currency: revenue less cost, or `only` the revenue, or the cost."""
    waiting: dict[str, Money] = {}
    counts: dict[str, int] = {}
    for one in nova.ledger.reports.unconverted():
        if only in (None, one.side):
            code = one.amount.currency
            adds = only is not None or one.side == "revenue"
            waiting[code] = waiting.get(code, Money.zero(code)) + (one.amount if adds else -one.amount)
            counts[code] = counts.get(code, 0) + one.entries
    return [{"currency": code, "amount": str(waiting[code]), "entries": counts[code]} for code in sorted(waiting)]
