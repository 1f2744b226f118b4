"""When a deployment's breaker opens: pure. What its runs did and cost goes in, a verdict with its evidence out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import takewhile
from typing import Any, NamedTuple

from nova.clock import iso
from nova.fleet.terms import HealthRules
from nova.money import MICROS, Money
from nova.words import money

NO_PROGRESS, ERROR_RATE, SPEND_VELOCITY = "no_progress", "error_rate", "spend_velocity"
LEAST_RUNS = 10  # that cost something, before a run's cost can be called abnormal
LEAST_HOURS = 5
FLOOR = MICROS // 100  # what costs less trips nothing
MOST_CAUGHT_UP = 24.0  # usual gaps, after a pause: what was missed meanwhile may be made up for
_A_PAUSE, _A_PAUSE_S = 1.5, 60.0  # usual gaps, and seconds more than one: no run is quite on time
_ROUNDS = 2  # so often every replica must have had its turn, or one bad minute would speak for all


@dataclass(frozen=True, slots=True)
class Done:
    """A run that is over. `cost` in millionths, None where nothing is known of it. `progressed`: it earned, claimed or
    changed state, whatever its status.
    """

    run: str
    instance: str
    started_at: datetime
    status: str
    cost: int | None = None
    progressed: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Trip:
    """Why the breaker opens, in words and in figures. For `rest_s` a probe would break the same rule."""

    rule: str
    reason: str
    evidence: Mapping[str, Any]
    rest_s: float = 0.0


class Cost(NamedTuple):
    """Millionths that one run or one hour cost; `of` is the instance, as gaps are measured within one."""

    at_s: float
    micros: int
    of: str = ""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What one more may cost: `velocity` times the `normal`; more after a pause (`caught_up` usual gaps), and more
    while it earns more (`busier`).
    """

    limit: int
    normal: int
    samples: int
    caught_up: float
    busier: float = 1.0


def judge(runs: Sequence[Done], rules: HealthRules, replicas: int) -> Trip | None:
    """The first rule that the last runs break; `runs` are in the order they ended, none before the last fresh start.

    Interrupted runs say nothing: a budget, a person or the manager ended them.
    """
    judged = [run for run in runs if run.status != "interrupted"]
    return _no_progress(judged, rules, replicas) or _error_rate(judged, rules, replicas)


def is_off(rule: str, rules: HealthRules) -> bool:
    return (
        (rule == NO_PROGRESS and not rules.progress_runs)
        or (rule == ERROR_RATE and not (rules.error_runs and rules.error_percent))
        or (rule == SPEND_VELOCITY and not rules.velocity)
    )


def ceiling(costs: Sequence[Cost], velocity: float, least: int, at_s: float, of: str = "") -> Ceiling | None:
    """None while there is too little to say what is normal. `costs` are in the order of time, and none is zero."""
    if not velocity or len(costs) < least:
        return None
    gaps = _gaps(costs)
    usual = sorted(found)[len(found) // 2] if (found := [gap for gap in gaps if gap > 0]) else 0.0
    normal = normal_of(round(cost.micros / _caught_up(gap, usual)) for cost, gap in zip(costs, gaps, strict=True))
    last_s = next((cost.at_s for cost in reversed(costs) if cost.of == of), at_s)
    caught_up = _caught_up(at_s - last_s, usual)
    limit = normal * round(velocity * caught_up * 1000) // 1000
    return Ceiling(max(limit, FLOOR), normal, len(costs), caught_up)


def raised(most: Ceiling, earned: Sequence[int], lately: int) -> Ceiling:
    """Who earns more than in its other hours, as on the day of a sale, may spend more in the same proportion.

    `earned` in hours that brought anything, oldest first, and `lately` in one.
    """
    if len(earned) < LEAST_HOURS or lately <= (usual := normal_of(earned)):
        return most
    busier = min(lately / usual, MOST_CAUGHT_UP)
    return replace(most, limit=most.limit * round(busier * 1000) // 1000, busier=busier)


def over(spent: int, most: Ceiling, what: str, velocity: float, currency: str, rest_s: float = 0.0) -> Trip:
    """`what` is a run or an hour that costs `spent`."""
    later = f", and it is {most.caught_up:.1f} times its usual gap since the last one" if most.caught_up > 1 else ""
    later += f", and it earns {most.busier:.1f} times what it normally does" if most.busier > 1 else ""
    normal = f"{velocity:g} times the {money(Money(most.normal, currency))} of its last {most.samples} {what}s{later}"
    reason = f"one {what} costs {money(Money(spent, currency))}, more than {normal}"
    more = {"caught_up": most.caught_up, "busier": most.busier}
    figures = {"spent": spent, "normal": most.normal, "limit": most.limit}
    evidence = {name: str(Money(micros, currency)) for name, micros in figures.items()}
    return Trip(
        SPEND_VELOCITY,
        reason,
        {
            "span": what,
            **evidence,
            "samples": most.samples,
            "velocity": velocity,
            **{key: round(one, 2) for key, one in more.items() if one > 1},
        },
        rest_s,
    )


def normal_of(values: Iterable[int]) -> int:
    """What nine in ten keep to, and of a few all but the highest: what varies by itself is not abnormal."""
    ordered = sorted(values)
    return ordered[9 * (len(ordered) - 1) // 10]


def _no_progress(judged: Sequence[Done], rules: HealthRules, replicas: int) -> Trip | None:
    enough = needed(rules.progress_runs, replicas)
    fruitless = [*takewhile(lambda run: run.status != "succeeded" and not run.progressed, reversed(judged))]
    if is_off(NO_PROGRESS, rules) or len(fruitless) < enough:
        return None
    reason = f"{len(fruitless)} runs in a row without a success, an earning or a change of state{_last(fruitless)}"
    evidence = {"runs": len(fruitless), "since": iso(fruitless[-1].started_at), "needed": enough}
    return Trip(NO_PROGRESS, reason, evidence)


def _error_rate(judged: Sequence[Done], rules: HealthRules, replicas: int) -> Trip | None:
    enough = needed(rules.error_runs, replicas)
    last = judged[-enough:]
    failed = [run for run in last if run.status != "succeeded"]
    if is_off(ERROR_RATE, rules) or len(last) < enough:
        return None
    if 100 * len(failed) < rules.error_percent * enough:
        return None
    reason = f"{len(failed)} of its last {enough} runs failed{_last(failed[::-1])}"
    return Trip(
        ERROR_RATE, reason, {"runs": enough, "failed": len(failed), "percent": round(100 * len(failed) / enough, 1)}
    )


def needed(runs: int, replicas: int) -> int:
    """How many runs a rule asks for where so many replicas share them."""
    return max(runs, _ROUNDS * replicas)


def _last(failed: Sequence[Done]) -> str:
    lines = (failed[0].error or "").strip().splitlines() if failed else []
    return f"; the last: {lines[0][:200]}" if lines else ""


def _gaps(costs: Sequence[Cost]) -> list[float]:
    """Seconds since the one before of the same instance; 0 where there is none, or the clock was set back."""
    last: dict[str, float] = {}
    gaps = []
    for cost in costs:
        gaps.append(max(0.0, cost.at_s - last.get(cost.of, cost.at_s)))
        last[cost.of] = cost.at_s
    return gaps


def _caught_up(gap: float, usual: float) -> float:
    """For how many usual gaps a run or an hour stands that comes so late: work may have piled up meanwhile."""
    paused = usual > 0 and gap >= _A_PAUSE * usual and gap - usual >= _A_PAUSE_S
    return min(gap / usual, MOST_CAUGHT_UP) if paused else 1.0
