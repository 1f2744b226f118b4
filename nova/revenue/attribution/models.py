"""How a payment is divided among those whom its customer met before: paths in, millionths out. Pure.

The heuristic models are those of web analytics, as Google Analytics defined them
(support.google.com/analytics/answer/1662518, "About the default attribution models").
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nova.money import digits

DIRECT = "direct"  # by evidence on the payment alone
MARKOV = "markov"
WHOLE = 1_000_000
HALF_LIFE_S = 7 * 86_400  # of time decay: Google Analytics' default of seven days

Shares = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Step:
    """A touch on the way to a payment, so many seconds before it."""

    worker: str
    age_s: float


class Part(NamedTuple):
    """One entry of a payment. Those of one `stream`, its money or its fees in a currency, are rounded together."""

    stream: str
    micros: int
    currency: str


def shares(model: str, path: Sequence[Step], effects: Mapping[str, float] | None = None) -> dict[str, int]:
    """Millionths by worker that add up to a whole. `path` is in order and not empty; `effects` are Markov's."""
    if model == MARKOV:
        return as_millionths(_by_removal(path, effects or {}))
    weights: dict[str, float] = defaultdict(float)
    for step, weight in zip(path, _WEIGHTS[model](path), strict=True):
        weights[step.worker] += weight
    return as_millionths(weights)


def as_millionths(weights: Mapping[str, float]) -> dict[str, int]:
    """In proportion to the weights, by largest remainder, then by name; who would get nothing is left out."""
    total = sum(weights.values())
    exact = {worker: WHOLE * weight / total for worker, weight in weights.items()}
    given = {worker: int(part) for worker, part in exact.items()}
    order = sorted(exact, key=lambda worker: (-round(exact[worker] - given[worker], 6), worker))
    for worker in order[: WHOLE - sum(given.values())]:
        given[worker] += 1
    return {worker: given[worker] for worker in sorted(given) if given[worker]}


def divided(micros: int, currency: str, among: Shares) -> dict[str, int]:
    """Parts of an amount that add up to it, by largest remainder over the currency's smallest units, then by name.

    In millionths where the amount is no multiple of that unit. The parts of the negative amount are the negatives.
    """
    unit = 10 ** (6 - digits(currency))
    if micros % unit:
        unit = 1
    whole, total = abs(micros) // unit, sum(among.values())
    parts = {worker: divmod(whole * share, total) for worker, share in among.items()}
    left = whole - sum(quotient for quotient, _ in parts.values())
    first = set(sorted(parts, key=lambda worker: (-parts[worker][1], worker))[:left])
    sign = -unit if micros < 0 else unit
    return {worker: sign * (quotient + (worker in first)) for worker, (quotient, _) in parts.items()}


def divided_together(parts: Sequence[Part], among: Shares) -> list[dict[str, int]]:
    """What each holds of each entry of a payment, in the order given.

    What somebody holds of the entries up to any one is their share of the sum of these, so that nobody's rounding adds
    up: refunds that take back a sale, at once or in pieces, leave nobody with a cent.
    """
    sums: dict[tuple[str, str], int] = defaultdict(int)
    held: dict[tuple[str, str], dict[str, int]] = {}
    found = []
    for stream, micros, currency in parts:
        key = (stream, currency)
        sums[key] += micros
        before = held.get(key, {})
        after = held[key] = divided(sums[key], currency, among)
        found.append({worker: amount - before.get(worker, 0) for worker, amount in after.items()})
    return found


def _first(path: Sequence[Step]) -> list[float]:
    return [1, *[0] * (len(path) - 1)]


def _last(path: Sequence[Step]) -> list[float]:
    return [*[0] * (len(path) - 1), 1]


def _linear(path: Sequence[Step]) -> list[float]:
    return [1] * len(path)


def _time_decay(path: Sequence[Step]) -> list[float]:
    """2 to the power of −age / half-life; only the differences of ages matter."""
    youngest = min(step.age_s for step in path)
    weights: list[float] = [2.0 ** ((youngest - step.age_s) / HALF_LIFE_S) for step in path]
    return weights


def _position(path: Sequence[Step]) -> list[float]:
    """40 % for the first and the last each, 20 % for all between; of one or two, evenly."""
    between = len(path) - 2
    if between <= 0:
        return _linear(path)
    return [2 * between, *[1] * between, 2 * between]


def _by_removal(path: Sequence[Step], effects: Mapping[str, float]) -> dict[str, float]:
    """Each worker on the path, once, by its removal effect; evenly where none of them has any."""
    found: dict[str, float] = {step.worker: round(effects.get(step.worker, 0.0), 9) for step in path}
    return found if any(found.values()) else dict.fromkeys(found, 1.0)


_WEIGHTS: dict[str, Callable[[Sequence[Step]], Sequence[float]]] = {
    "first_touch": _first,
    "last_touch": _last,
    "linear": _linear,
    "time_decay": _time_decay,
    "position": _position,
}
DIVIDING = (*_WEIGHTS, MARKOV)
MODELS = (DIRECT, *DIVIDING)
