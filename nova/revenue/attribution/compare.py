"""What workers would have earned by other models: computed beside the books, without booking anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nova.errors import UsageProblem
from nova.ledger.facts import REVENUE_SIGNS
from nova.money import Money, roi_percent
from nova.revenue.attribution.effects import MonthlyEffects, payments_between
from nova.revenue.attribution.models import MODELS, Part, divided_together
from nova.revenue.attribution.payments import Payment
from nova.revenue.attribution.rule import rule_of
from nova.revenue.attribution.verdict import Effects, decide

if TYPE_CHECKING:
    from nova.ledger.entries import StoredEntry
    from nova.revenue.office import Office

ALL = "all"


def models_named(text: str) -> tuple[str, ...]:
    """One of them, or all. Raises UsageProblem."""
    if text == ALL:
        return MODELS
    if text not in MODELS:
        raise UsageProblem(f"not a model: {text!r}", hint=f"it is {ALL}, or one of {', '.join(MODELS)}")
    return (text,)


def compared(
    nova: Office, document: dict[str, Any], models: Sequence[str], since: datetime | None, until: datetime | None
) -> dict[str, Any]:
    """A report by worker with, in each row, the figures by each model; what it says as booked stays.

    What waits for a rate is in none of them.
    """
    moved = differences(nova, models, since, until)
    currency = document["currency"]
    nothing = str(Money.zero(currency))
    rows = {row["key"]: row for row in document["rows"]}
    for worker in sorted({name for found in moved.values() for name in found if name} - set(rows)):
        blank = {"revenue": nothing, "cost": nothing, "profit": nothing, "roi_percent": None, "entries": 0}
        rows[worker] = {"key": worker, **blank}
    for worker, row in rows.items():
        row["models"] = {model: _figures(row, moved[model].get(worker, 0), currency) for model in models}
    rest = document["unattributed"]
    rest["models"] = {
        model: {"revenue": str(Money.parse(rest["revenue"], currency) + Money(moved[model].get(None, 0), currency))}
        for model in models
    }
    return {**document, "models": list(models), "rows": list(rows.values())}


def differences(
    nova: Office, models: Sequence[str], since: datetime | None, until: datetime | None
) -> dict[str, dict[str | None, int]]:
    """By model, how many millionths more than is booked each would have; None is nobody. Each adds up to nothing."""
    ledger, window = nova.ledger, rule_of(nova.fleet.snapshot().policy).window
    effects = MonthlyEffects(ledger, window)
    found: dict[str, dict[str | None, int]] = {model: defaultdict(int) for model in models}
    with ledger.read() as conn:
        for payment in payments_between(conn, ledger, window, None, until):
            if not payment.settled and (payment.path or payment.credit.model is not None):
                _add(found, payment, effects, ledger.store.currency, since, until)
    return found


def _add(
    found: Mapping[str, dict[str | None, int]],
    payment: Payment,
    effects: Effects,
    currency: str,
    since: datetime | None,
    until: datetime | None,
) -> None:
    entries = [(one, part) for one, part in zip(payment.entries, payment.parts, strict=True) if one.booked is not None]
    parts = [Part(part.stream, _booked(one), currency) for one, part in entries]
    counted = [
        (since is None or one.entry.at >= since) and (until is None or one.entry.at < until) for one, _ in entries
    ]
    now: dict[str | None, int] = defaultdict(int)
    for (one, _), counts in zip(entries, counted, strict=True):
        for worker, micros in _now(one, payment) if counts else ():
            now[worker] += micros
    for model, sums in found.items():
        verdict = decide(payment, model, effects)
        for worker, micros in now.items():
            sums[worker] -= micros
        if verdict.shares is None:
            given: list[dict[str | None, int]] = [{verdict.worker: part.micros} for part in parts]
        else:
            given = [dict(held.items()) for held in divided_together(parts, verdict.shares)]
        for place, held in enumerate(given):
            for worker, micros in held.items() if counted[place] else ():
                sums[worker] += micros


def _booked(one: StoredEntry) -> int:
    return 0 if one.booked is None else one.booked.micros * REVENUE_SIGNS.get(one.entry.kind, 1)


def _now(one: StoredEntry, payment: Payment) -> Iterator[tuple[str | None, int]]:
    """What each holds of it in the books, in the reporting currency."""
    yield one.entry.worker, _booked(one)
    for row in payment.moves[one.ref]:
        yield row.worker, row.booked_micros or 0


def _figures(row: Mapping[str, Any], more: int, currency: str) -> dict[str, Any]:
    revenue = Money.parse(row["revenue"], currency) + Money(more, currency)
    cost = Money.parse(row["cost"], currency)
    return {"revenue": str(revenue), "profit": str(revenue - cost), "roi_percent": roi_percent(revenue, cost)}
