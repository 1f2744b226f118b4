"""How much of a closed period's profit goes back as budget, and to whom: best marginal ROI first. Pure.

The marginal ROI, what the latest money brought, decides and not the mean: money goes where the next of it brings most
(the equimarginal principle, Gossen's second law). Its credible lower bound counts, so that luck earns no budget.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import ROUND_DOWN, Decimal
from zoneinfo import ZoneInfo

from nova.money import Money, digits
from nova.words import money, percent, threshold

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Period:
    """Whole local days whose profit is put back once. `name` is 2026-11-20 or 2026-11."""

    name: str
    since: datetime
    until: datetime

    def overlaps(self, since: datetime, until: datetime) -> bool:
        return self.since < until and since < self.until


@dataclass(frozen=True, slots=True)
class Candidate:
    """A deployment and its limit per `per`: `base` is what it is without what was put back before.

    `marginal` is the lower bound of its marginal ROI in percent, `basis` what it was read from, `most` the largest
    raise at once. `held` says why it gets nothing, whatever it earns.
    """

    worker: str
    per: str
    limit: Money
    base: Money
    most: Money
    marginal: float | None
    basis: str
    held: str | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """`amount` put back into a deployment, or zero, and why."""

    candidate: Candidate
    amount: Money
    reason: str

    @property
    def to(self) -> Money:
        """The limit that follows."""
        return self.candidate.base + self.amount


def last_closed(per: str, until: datetime, zone: ZoneInfo) -> Period:
    """The last local day or month that was over at `until`."""
    today = until.astimezone(zone).date()
    after = today if per == "day" else today.replace(day=1)
    first = after - _DAY if per == "day" else (after - _DAY).replace(day=1)
    name = f"{first:%Y-%m-%d}" if per == "day" else f"{first:%Y-%m}"
    return Period(name, _midnight(first, zone), _midnight(after, zone))


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)


def overdrawn(days: Iterable[Money], currency: str) -> Money:
    """What was given back beyond what came in, and no later day brought again; zero or less."""
    nothing = Money.zero(currency)
    owed = nothing
    for one in days:
        owed = min(nothing, owed + one)
    return owed


def share_of(profit: Money, share_percent: float, given: Money, room: Money) -> Money:
    """What may still be put back: the share of the profit less what was `given` of it, within the day's `room`.

    Whole cents, rounded down.
    """
    exact = Decimal(profit.micros) * Decimal(str(share_percent)) / 100
    share = Money(int(exact.to_integral_value(ROUND_DOWN)), profit.currency)
    cent = 10 ** (6 - digits(profit.currency))
    left = min(share - given, room).micros // cent * cent
    return Money(max(0, left), profit.currency)


def share_out(candidates: Sequence[Candidate], available: Money, min_roi: float) -> list[Share]:
    """Best marginal ROI first, each at most its `most`, all together at most `available`."""
    shares: list[Share] = []
    left = available
    for one in sorted(candidates, key=_rank):
        reason = one.held or _too_little(one, min_roi)
        amount = Money.zero(left.currency) if reason else min(one.most, left)
        left -= amount
        shares.append(Share(one, amount, reason or _words(one, amount)))
    return shares


def _rank(one: Candidate) -> tuple[bool, float, str]:
    return one.held is not None, -(one.marginal if one.marginal is not None else float("-inf")), one.worker


def _too_little(one: Candidate, min_roi: float) -> str | None:
    if one.marginal is None:
        return "no cost is known"
    if one.marginal >= min_roi:
        return None
    return f"{one.basis} credibly returned no more than {percent(one.marginal)}, {threshold(min_roi)} is needed"


def _words(one: Candidate, amount: Money) -> str:
    found = f"{one.basis} credibly returned at least {percent(one.marginal)}"
    if not amount:
        return f"{found}, but nothing is left to put back"
    short = "" if amount == one.most else f" ({money(one.most)} if there were more to put back)"
    return f"{found}: {money(amount)} more {_a(one.per)}{short}"


def _a(per: str) -> str:
    return "in total" if per == "total" else f"a {per}"
