"""To whom a payment goes: whole to whom it belongs by firm word or direct evidence, or divided by a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from nova.revenue.attribution.models import DIRECT, MARKOV, Shares, divided_together, shares
from nova.revenue.attribution.payments import Payment

NOBODYS = "unattributed"

Effects = Callable[[datetime], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`shares` None: all of it is `worker`'s. `model` is what its moves are labelled with."""

    worker: str | None
    shares: Shares | None
    model: str
    evidence: str | None

    @property
    def dividing(self) -> str | None:
        return None if self.shares is None else self.model


def decide(payment: Payment, model: str, effects: Effects) -> Verdict:
    """`effects` are Markov's, of the month a payment was made in."""
    direct, path = payment.direct, payment.path
    if direct.firm or model == DIRECT or not path:
        return Verdict(direct.worker, None, direct.model or NOBODYS, direct.evidence)
    found = shares(model, path, effects(payment.credit.at) if model == MARKOV else None)
    touches = "1 touch" if len(path) == 1 else f"{len(path)} touches"
    return Verdict(None, found, model, f"{touches} of {len(found)} worker{'s' if len(found) != 1 else ''}")


def parts_of(payment: Payment, verdict: Verdict) -> list[dict[str | None, int]]:
    """What each is to hold of each of its entries, in millionths of the entry's currency."""
    if verdict.shares is None:
        return [{verdict.worker: part.micros} for part in payment.parts]
    found: list[dict[str | None, int]] = []
    found.extend(dict(held.items()) for held in divided_together(payment.parts, verdict.shares))
    return found
