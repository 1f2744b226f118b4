"""How far revenue can be from what was seen: one-sided bounds for sums of few and unequal sales.

The gamma interval of Fay and Feuer (Statistics in Medicine 16:791-801, 1997) for a weighted sum of Poisson counts,
and MOVER (Donner and Zou, Statistical Methods in Medical Research 21:347-359, 2012) for differences. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Takings:
    """Amounts of one sign over a span, in units of the currency: a statistic, no money.

    `peaks` are the largest single amounts that are known, largest first; the first is the largest of all.
    """

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    peaks: tuple[float, ...] = ()

    @classmethod
    def of(cls, amounts: Iterable[float]) -> Takings:
        kept = sorted(amounts, reverse=True)
        return cls(len(kept), math.fsum(kept), math.fsum(x * x for x in kept), tuple(kept))

    def __add__(self, other: Takings) -> Takings:
        peaks = tuple(sorted(self.peaks + other.peaks, reverse=True))
        return Takings(self.count + other.count, self.total + other.total, self.squares + other.squares, peaks)

    @property
    def variance(self) -> float:
        """Of a compound Poisson sum: the sum of squares, never below what `count` equal amounts would give."""
        return max(self.squares, self.total * self.total / self.count) if self.count else 0.0

    @property
    def peak(self) -> float:
        return self.peaks[0] if self.peaks else 0.0


NOTHING = Takings()


@dataclass(frozen=True, slots=True)
class Bounds:
    """An estimate and what it is credibly not below and not above, each side with the confidence asked for."""

    low: float
    mid: float
    high: float

    def times(self, factor: float) -> Bounds:
        return Bounds(self.low * factor, self.mid * factor, self.high * factor)

    def plus(self, shift: float) -> Bounds:
        return Bounds(self.low + shift, self.mid + shift, self.high + shift)


def takings_bounds(seen: Takings, size: float, confidence: float) -> Bounds:
    """Bounds of what the span was worth on average, had it been lived many times.

    `size` is what one more sale may be worth though none so large was seen. Without any sale the upper bound is
    size × −ln(1 − confidence): the largest mean under which seeing nothing is still that likely.
    """
    return Bounds(_low(seen, confidence), seen.total, _high(seen, max(size, seen.peak), confidence))


def net_bounds(sales: Takings, returns: Takings, fees: float, size: float, confidence: float) -> Bounds:
    """Bounds of sales less returns (refunds, disputes, negative adjustments) less fees.

    Fees shrink with the sales as far as they are at most half of them; the rest is taken as spent. Sales and returns
    are combined by MOVER, so the bounds rise with every sale, fall with every return, and may be negative.
    """
    share = min(fees / sales.total, 0.5) if sales.total > 0 else (0.5 if fees else 0.0)
    kept = takings_bounds(sales, size, confidence).times(1 - share).plus(share * sales.total - fees)
    return difference(kept, takings_bounds(returns, 0.0, confidence)) if returns.count else kept


def difference(one: Bounds, other: Bounds) -> Bounds:
    """Bounds of `one` − `other`, recovered from their own (MOVER)."""
    mid = one.mid - other.mid
    return Bounds(
        mid - math.hypot(one.mid - one.low, other.high - other.mid),
        mid,
        mid + math.hypot(one.high - one.mid, other.mid - other.low),
    )


def outlier_hides_more(seen: Takings, confidence: float) -> bool:
    """Whether the lower bound rises without the largest sale, so that knowing the next largest could raise it more."""
    return seen.count > 1 and _low(seen, confidence) > _gamma(seen.total, seen.variance, 1 - confidence)


def _low(seen: Takings, confidence: float) -> float:
    """The best bound among those of the sales without the k largest: one large sale more must not lower it."""
    total, variance, count = seen.total, seen.variance, seen.count
    best = _gamma(total, variance, 1 - confidence)
    for peak in seen.peaks[: seen.count - 1]:
        total, variance, count = total - peak, variance - peak * peak, count - 1
        if total <= best or total <= 0:
            break
        best = max(best, _gamma(total, max(variance, total * total / count), 1 - confidence))
    return best


def _high(seen: Takings, size: float, confidence: float) -> float:
    return _gamma(seen.total + size, seen.variance + size * size, confidence)


def _gamma(mean: float, variance: float, probability: float) -> float:
    """The quantile of the gamma distribution with this mean and variance (half a chi-squared, scaled)."""
    if mean <= 0 or variance <= 0:
        return 0.0
    from scipy.special import gammaincinv  # 0.2 s to import: only where something is decided

    return float(gammaincinv(mean * mean / variance, probability)) * variance / mean
