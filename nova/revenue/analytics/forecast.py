"""What the days to come may bring: exponential smoothing (ETS) with intervals from simulated paths. Estimates only.

Every figure that leaves here was a float on the way: it is rounded to the currency's digits and marked an estimate.
Source: R. J. Hyndman, G. Athanasopoulos: Forecasting: principles and practice, 3rd ed., chapters 5.5 and 8.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from nova.clock import iso
from nova.errors import Refused, UsageProblem
from nova.money import MICROS, Money
from nova.revenue.analytics.cash import Flow, read_flows
from nova.revenue.analytics.office import instant_of
from nova.revenue.office import Office
from nova.revenue.reports import unconverted

if TYPE_CHECKING:
    import numpy

    Paths = numpy.ndarray[Any, Any]

LEAST_DAYS = 14
WEEKLY_FROM = 35  # days: five weeks tell a weekday from a chance
MOST_DAYS = 730  # of history; older days say little of the next
PATHS = 2000
_SEED = 1
_DAY = timedelta(days=1)
_FIGURES: Mapping[str, Callable[[Flow], Money]] = {
    "revenue": lambda flow: flow.revenue,
    "cost": lambda flow: flow.costs,
    "profit": lambda flow: flow.net,
}
_SMOOTHED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("level", {}),
    ("level and damped trend", {"trend": "add", "damped_trend": True}),
)


@dataclass(frozen=True, slots=True)
class Outlook:
    """`paths` are possible futures, a row a day and a column a path; `floor` is the least a day can be."""

    model: str
    mean: tuple[float, ...]
    paths: Paths
    floor: float | None

    def band(self, values: Paths, level: float) -> tuple[float, float]:
        """Between which the share `level` of these values lies, but never below what can be."""
        import numpy

        low, high = (float(numpy.quantile(values, q)) for q in ((1 - level) / 2, (1 + level) / 2))
        return (low, high) if self.floor is None else (max(low, self.floor), max(high, self.floor))


def outlook(history: Sequence[float], days: int, *, floor: float | None = None) -> Outlook:
    """The next `days` after `history`, by the model with the lowest AICc. The same history gives the same paths.

    The paths draw their errors from the model's own residuals, so that a few large days stay few and large. Raises
    Refused for less than LEAST_DAYS.
    """
    if len(history) < LEAST_DAYS:
        raise Refused(
            f"a forecast needs at least {LEAST_DAYS} whole days of history; there are {len(history)}",
            hint="nova revenue timeline shows what there is",
        )
    import numpy

    values = numpy.asarray(history[-MOST_DAYS:], dtype=float)
    scale = float(numpy.abs(values).max())
    if scale == 0 or float(values.max() - values.min()) <= 1e-9 * scale:
        same = numpy.full((days, PATHS), float(values[-1]))
        return Outlook("every day the same", tuple(float(row[0]) for row in same), same, floor)
    name, fitted = _best(values / scale)
    mean, paths = _futures(fitted, days)
    least = -math.inf if floor is None else floor
    return Outlook(name, tuple(max(float(one) * scale, least) for one in mean), paths * scale, floor)


def _futures(fitted: Any, days: int) -> tuple[Any, Paths]:
    """The model's own paths are too narrow, since it takes what it estimated for known. They are widened by the degrees
    of freedom that were used up, and each is shifted by what its level may be off.
    """
    import numpy

    rng = numpy.random.default_rng(_SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawn = fitted.simulate(days, anchor="end", repetitions=PATHS, random_errors="bootstrap", rng=rng)
        mean = numpy.asarray(fitted.forecast(days))
    known = len(fitted.resid)
    wider = math.sqrt(known / max(1, known - len(fitted.params)))
    off = float(numpy.std(numpy.asarray(fitted.resid))) * wider / math.sqrt(known)
    paths = mean[:, None] + wider * (numpy.asarray(drawn) - mean[:, None]) + rng.normal(0.0, off, PATHS)
    return mean, paths


def _best(values: Any) -> tuple[str, Any]:
    from numpy.linalg import LinAlgError
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    seasons: list[tuple[str, dict[str, Any]]] = [("", {})]
    if len(values) >= WEEKLY_FROM:
        seasons.append((" with a weekly season", {"seasonal": "add", "seasonal_periods": 7}))
    found = []
    for season, periods in seasons:
        for name, shape in _SMOOTHED:
            try:
                with warnings.catch_warnings():  # a fit that did not converge is judged by its AICc like the others
                    warnings.simplefilter("ignore")
                    fitted = ETSModel(values, error="add", **shape, **periods).fit(disp=False)
            except (LinAlgError, ValueError):
                continue
            if math.isfinite(fitted.aicc):
                found.append((float(fitted.aicc), name + season, fitted))
    if not found:
        raise Refused("no model fits this history", hint="nova revenue timeline shows it")
    _, name, fitted = min(found, key=lambda one: one[0])
    return name, fitted


def series(found: Mapping[date, Flow], of: str, today: date) -> list[Money]:
    """Each whole local day from the first entry to yesterday."""
    amount = _FIGURES[of]
    if not found:
        return []
    first = min(found)
    nothing = Money.zero(next(iter(found.values())).sales.currency)
    days = (first + n * _DAY for n in range((today - first).days))
    return [amount(found[day]) if day in found else nothing for day in days]


def look_ahead(found: Mapping[date, Flow], of: str, today: date, days: int) -> tuple[Outlook, list[Money]]:
    """From `today` on, and the history it rests on. A day that has begun brings at least what it brought so far."""
    import numpy

    history = series(found, of, today)
    floor = 0.0 if of != "profit" and all(one.micros >= 0 for one in history) else None
    ahead = outlook([one.micros / MICROS for one in history], days, floor=floor)
    if today in found and floor is not None:
        so_far = _FIGURES[of](found[today]).micros / MICROS
        paths = ahead.paths.copy()
        paths[0] = numpy.maximum(paths[0], so_far)
        ahead = Outlook(ahead.model, (max(ahead.mean[0], so_far), *ahead.mean[1:]), paths, floor)
    return ahead, history


def estimated(value: float, currency: str) -> Money:
    """An estimate as money, rounded to the currency's digits."""
    return Money(round(value * MICROS), currency).rounded()


def forecast(
    nova: Office,
    *,
    of: str = "revenue",
    days: int = 30,
    level: float = 0.9,
    workers: Collection[str] | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Day by day from today on, and by month with what it has brought already. Raises UsageProblem, Refused."""
    if of not in _FIGURES:
        raise UsageProblem(f"not a figure to forecast: {of!r}", hint=f"it is {', '.join(_FIGURES)}")
    at, store = instant_of(nova, now), nova.ledger.store
    today = at.astimezone(store.zone).date()
    found = read_flows(nova.ledger, at, workers)
    ahead, history = look_ahead(found, of, today, days)
    return {
        "currency": store.currency,
        "at": iso(at),
        "of": of,
        "estimate": True,
        "model": ahead.model,
        "history_days": len(history),
        "level_percent": round(100 * level, 1),
        "days": [
            {
                "day": (today + n * _DAY).isoformat(),
                **_span(ahead, ahead.mean[n], ahead.paths[n], level, store.currency),
            }
            for n in range(days)
        ],
        "months": _months(found, of, today, ahead, level, store.currency),
        "history": [
            {"day": (today - (len(history) - n) * _DAY).isoformat(), "amount": str(one)}
            for n, one in enumerate(history)
        ][-MOST_DAYS:],
        "unconverted": unconverted(nova),
    }


def _span(ahead: Outlook, mean: float, values: Paths, level: float, currency: str) -> dict[str, str]:
    low, high = ahead.band(values, level)
    figures = {"expected": mean, "low": min(low, mean), "high": max(high, mean)}
    return {name: str(estimated(value, currency)) for name, value in figures.items()}


def _months(
    found: Mapping[date, Flow], of: str, today: date, ahead: Outlook, level: float, currency: str
) -> list[dict[str, Any]]:
    """Sums of whole paths: the days of one are not independent, so their bounds do not add up."""
    amount, rows = _FIGURES[of], []
    place = 0
    while place < len(ahead.mean):
        first = (today + place * _DAY).replace(day=1)
        after = (first + timedelta(days=32)).replace(day=1)
        until = min((after - today).days, len(ahead.mean))
        past = sum(amount(flow).micros for day, flow in found.items() if first <= day < today) / MICROS
        sums = past + ahead.paths[place:until].sum(axis=0)
        rows.append(
            {
                "month": f"{first:%Y-%m}",
                "whole": (after - today).days <= len(ahead.mean),
                "so_far": str(estimated(past, currency)) if place == 0 else None,
                **_span(ahead, past + sum(ahead.mean[place:until]), sums, level, currency),
            }
        )
        place = until
    return rows
