"""The terms a deployment runs under, besides how often and how many: schedule, resources, health, imputed cost."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from nova.clock import parse_duration
from nova.errors import UsageProblem
from nova.money import Money

IMPUTED_PERS = ("run", "hour")
HEALTH_RULES = {
    "heartbeat": "heartbeat_s",
    "progress": "progress_runs",
    "velocity": "velocity",
    "errors": "error_percent",
    "error-runs": "error_runs",
    "probe": "probe_s",
}

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When runs are due, besides `every`, which `cron` takes the place of.

    `at_most` missed occurrences of a cron schedule are made up for: 1 runs once for all of them, 0 skips them.
    `windows` are the times of a week in which a run may begin, as `mon-fri 09:00-17:00`. `once`: one run a declaration.
    `timezone` is an IANA name; empty is the operator's.
    """

    cron: str | None = None
    timezone: str = ""
    at_most: int = 1
    jitter_s: float = 0.0
    windows: tuple[str, ...] = ()
    once: bool = False


@dataclass(frozen=True, slots=True)
class Resources:
    """What the processes of an instance may take; None is without a limit. `cpu_s` is processor time of one run."""

    memory_bytes: int | None = None
    cpu_s: float | None = None
    open_files: int | None = None
    processes: int | None = None


@dataclass(frozen=True, slots=True)
class HealthRules:
    """When a deployment's breaker opens; 0 turns a rule off.

    `heartbeat_s`: a run that gave no sign of life for so long is ended. `progress_runs`: so many runs in a row without
    a success, an earning or a change of state. `velocity`: a run or an hour costs so many times its rolling normal.
    `error_percent` of the last `error_runs` runs failed. `probe_s`: from opening to the first probe run.
    """

    heartbeat_s: float = 0.0
    progress_runs: int = 20
    velocity: float = 3.0
    error_percent: float = 50.0
    error_runs: int = 20
    probe_s: float = 300.0

    @classmethod
    def parse(cls, settings: Sequence[str]) -> HealthRules:
        """Reads `heartbeat=2m`, `velocity=5`, `progress=off` and the like. Raises UsageProblem."""
        given: dict[str, Any] = {}
        for setting in settings:
            key, equals, text = setting.partition("=")
            name = HEALTH_RULES.get(key.strip())
            if name is None or not equals:
                raise UsageProblem(
                    f"not a health rule: {setting!r}", hint=f"it is one of {', '.join(HEALTH_RULES)}, as in velocity=5"
                )
            given[name] = _rule(name, text.strip())
        return cls(**given)


@dataclass(frozen=True, slots=True)
class ImputedCost:
    """What a run costs besides what it meters: machine time or a subscription, per run or per hour of running."""

    amount: Money
    per: str

    @classmethod
    def parse(cls, text: str, currency: str) -> ImputedCost:
        """Reads `0.02/run` or `0.50/hour`. Raises UsageProblem."""
        amount, slash, per = text.partition("/")
        if not slash or per.strip() not in IMPUTED_PERS:
            raise UsageProblem(f"not an imputed cost: {text!r}", hint="write it as 0.02/run or 0.50/hour")
        cost = cls(Money.parse(amount, currency), per.strip())
        if cost.amount.micros < 0 or cost.amount.currency != currency:
            raise UsageProblem(f"an imputed cost is a positive amount in {currency}, not {text!r}")
        return cost


@dataclass(frozen=True, slots=True)
class Breaker:
    """Of a deployment whose breaker opened: why, how often in a row, and whether its probe run is under way."""

    rule: str
    trips: int = 1
    probing: bool = False


def parse_size(text: str) -> int:
    """Bytes, of `256MB`, `1.5G` or `1048576`; a K is 1024. Raises UsageProblem."""
    found = _SIZE.fullmatch(text.strip())
    size = int(float(found[1]) * _UNITS[found[2].lower()]) if found else 0
    if size <= 0:
        raise UsageProblem(f"not a size: {text!r}", hint="write it as 256MB or 1.5G")
    return size


def valid_variables(names: Sequence[str], what: str) -> tuple[str, ...]:
    """Names of environment variables, sorted, each once. Raises UsageProblem."""
    for name in names:
        if not _VARIABLE.fullmatch(name):
            raise UsageProblem(f"not the name of a variable: {name!r}", hint=f"{what} takes a name, never a value")
    return tuple(sorted(set(names)))


def plain(value: Schedule | Resources | HealthRules | ImputedCost | Breaker) -> dict[str, Any]:
    """As JSON keeps it; `of_plain` reads it back."""
    found = {one.name: getattr(value, one.name) for one in fields(value)}
    return {
        key: list(one) if isinstance(one, tuple) else f"{one} {one.currency}" if isinstance(one, Money) else one
        for key, one in found.items()
    }


def schedule_of(document: Mapping[str, Any]) -> Schedule:
    known = _known(Schedule, document)
    return Schedule(**{**known, "windows": tuple(known.get("windows", ()))})


def resources_of(document: Mapping[str, Any]) -> Resources:
    return Resources(**_known(Resources, document))


def health_of(document: Mapping[str, Any]) -> HealthRules:
    return HealthRules(**_known(HealthRules, document))


def imputed_of(document: Mapping[str, Any], currency: str) -> ImputedCost:
    return ImputedCost.parse(f"{document['amount']}/{document['per']}", currency)


def breaker_of(document: Mapping[str, Any]) -> Breaker:
    return Breaker(**_known(Breaker, document))


def _known(kind: type, document: Mapping[str, Any]) -> dict[str, Any]:
    """Fields it does not know belong to a newer nova and are passed over."""
    return {one.name: document[one.name] for one in fields(kind) if one.name in document}


def _rule(name: str, text: str) -> Any:
    if text == "off":
        return 0
    try:
        if name.endswith("_s"):
            return parse_duration(text)
        if name.endswith("_runs"):
            number: float = int(text)
        else:
            number = float(text.removesuffix("%").removesuffix("x"))
    except ValueError:
        number = -1
    if not 0 <= number < 1e6:
        raise UsageProblem(f"not a value for {name}: {text!r}", hint="a number, a duration such as 2m, or off")
    return number
