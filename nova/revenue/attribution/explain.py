"""Why a payment is whose it is: the evidence, the touches, the model and the shares."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from nova.clock import iso
from nova.errors import UsageProblem
from nova.ledger.entries import MOVES, held
from nova.money import Money
from nova.revenue.attribution.effects import MonthlyEffects
from nova.revenue.attribution.models import WHOLE
from nova.revenue.attribution.payments import Payment, load
from nova.revenue.attribution.rule import rule_of
from nova.revenue.attribution.verdict import Verdict, decide

if TYPE_CHECKING:
    from nova.revenue.office import Office


def path_of(nova: Office, ref: str) -> dict[str, Any]:
    """Raises NotFound, or UsageProblem where the entry belongs to no payment of a platform."""
    found = nova.ledger.entries.find(ref)
    if found.entry.source == MOVES:
        found = nova.ledger.entries.find(found.entry.corrects or ref)
    source, object = found.entry.source, found.entry.object
    if object is None:
        raise UsageProblem(
            f"{found.ref} belongs to no payment of a platform, so that nothing but its own word says whose it is",
            hint="give it to somebody with `nova revenue attribute`",
        )
    rule = rule_of(nova.fleet.snapshot().policy)
    with nova.ledger.read() as conn:
        payment = load(conn, nova.ledger.store, [(source, object)], rule.window)[source, object]
        verdict = decide(payment, rule.model, MonthlyEffects(nova.ledger, rule.window))
    return {
        "entry": found.ref,
        "source": source,
        "payment": object,
        "at": iso(payment.credit.at),
        "model": rule.model,
        "window": int(rule.window.total_seconds()),
        "customer_known": payment.credit.subject is not None,
        "evidence": dict(payment.credit.evidence),
        "direct": {
            "worker": payment.direct.worker,
            "model": payment.direct.model,
            "evidence": payment.direct.evidence,
            "firm": payment.direct.firm or payment.settled,
        },
        "touches": [
            {
                "at": iso(one.at),
                "worker": one.worker,
                "kind": one.kind,
                "channel": one.channel,
                "campaign": one.campaign,
                "link": one.link,
            }
            for one in payment.touches
        ],
        "path": [step.worker for step in payment.path],
        "divided_by": verdict.dividing,
        "shares": _shares(verdict),
        "booked": _booked(payment),
        "up_to_date": not payment.credit.stale,
    }


def _shares(verdict: Verdict) -> list[dict[str, Any]]:
    shares = {verdict.worker: WHOLE} if verdict.shares is None else verdict.shares
    return [{"worker": worker, "share": str(Decimal(part) / WHOLE)} for worker, part in shares.items()]


def _booked(payment: Payment) -> list[dict[str, Any]]:
    """What each holds of the whole payment in the books, in its own currencies."""
    sums: dict[tuple[str | None, str], int] = {}
    for one in payment.entries:
        for worker, micros in held(one, payment.moves[one.ref]).items():
            key = (worker, one.effect.currency)
            sums[key] = sums.get(key, 0) + micros
    return [
        {"worker": worker, "amount": str(Money(micros, currency)), "currency": currency}
        for (worker, currency), micros in sorted(sums.items(), key=lambda item: (-item[1], item[0][0] or ""))
    ]
