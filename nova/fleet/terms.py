"""The terms a deployment runs under, besides how often and how many: schedule, resources, health, imputed cost."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import timedelta
from math import inf, isfinite
from typing import Any, TypeVar

from nova.clock import parse_duration
from nova.errors import UsageProblem
from nova.money import Money

LONGEST_WAIT_S = 3600.0  # for the next probe of a breaker that stays open
IMPUTED_PERS = ("run", "hour")
HEALTH_RULES = {
    "heartbeat": "heartbeat_s",
    "progress": "progress_runs",
    "velocity": "velocity",
    "errors": "error_percent",
    "error-runs": "error_runs",
    "probe": "probe_s",
}

_SECOND_US = 1_000_000
_HOUR_US = 3600 * _SECOND_US
_SIZE = re.compile(r"(\d{1,15}(?:\.\d+)?)\s*(?:([kmgt])i?)?b?", re.IGNORECASE | re.ASCII)
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_LARGEST = 1024**5
_NUMBER = re.compile(r"\d{1,6}(?:\.\d+)?", re.ASCII)
_ABOVE = {"velocity": 1.0}  # what costs no more than is normal trips nothing
_UP_TO = {"error_percent": 100.0}
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

    def wait(self, trips: int) -> timedelta | None:
        """From the n-th opening in a row to the probe: doubling, up to an hour or `probe_s`. None: a person decides."""
        if not self.probe_s:
            return None
        longest = max(self.probe_s, LONGEST_WAIT_S)
        return timedelta(seconds=min(longest, self.probe_s * 2.0 ** min(trips - 1, 30)))

    @classmethod
    def parse(cls, settings: Sequence[str]) -> HealthRules:
        """Reads `heartbeat=2m`, `velocity=5`, `progress=off` and the like. Raises UsageProblem."""
        if [setting.strip() for setting in settings] == ["off"]:
            settings = [f"{rule}=off" for rule in HEALTH_RULES]
        given: dict[str, Any] = {}
        for setting in settings:
            key, equals, text = setting.partition("=")
            name = HEALTH_RULES.get(key.strip())
            if name is None or not equals:
                raise UsageProblem(
                    f"not a health rule: {setting!r}", hint=f"it is one of {', '.join(HEALTH_RULES)}, as in velocity=5"
                )
            if name in given:
                raise UsageProblem(f"a health rule is said twice: {key.strip()}")
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
            raise UsageProblem(f"an imputed cost is an amount of at least 0 in {currency}, not {text!r}")
        return cost

    def due(self, seconds: float) -> Money:
        """For a run that has gone on so long; half a millionth rounds to even."""
        if self.per == "run":
            return self.amount
        whole, rest = divmod(self.amount.micros * round(seconds * _SECOND_US), _HOUR_US)
        up = 2 * rest > _HOUR_US or (2 * rest == _HOUR_US and whole % 2 == 1)
        return Money(whole + up, self.amount.currency)

    def __str__(self) -> str:
        """`0.50 USD/hour`."""
        return f"{self.amount} {self.amount.currency}/{self.per}"


@dataclass(frozen=True, slots=True)
class Breaker:
    """Of a deployment whose breaker opened: why, how often in a row, and whether its probe run is under way."""

    rule: str
    trips: int = 1
    probing: bool = False


T = TypeVar("T", bound="Schedule | Resources | HealthRules | Breaker")


def parse_size(text: str) -> int:
    """Bytes, of `256MB`, `1.5G` or `1048576`; a K is 1024. Raises UsageProblem."""
    found = _SIZE.fullmatch(text.strip())
    size = int(float(found[1]) * _UNITS[(found[2] or "").lower()]) if found else 0
    if not 0 < size <= _LARGEST:
        raise UsageProblem(f"not a size: {text!r}", hint="write it as 256MB or 1.5G")
    return size


def valid_variables(names: Sequence[str], what: str) -> tuple[str, ...]:
    """Names of environment variables, sorted, each once. Raises UsageProblem."""
    for name in names:
        if not _VARIABLE.fullmatch(name):
            shown = name.partition("=")[0]  # what follows may be the secret itself
            raise UsageProblem(f"not the name of a variable: {shown!r}", hint=f"{what} takes a name, never a value")
    return tuple(sorted(set(names)))


def plain(value: Schedule | Resources | HealthRules | ImputedCost | Breaker) -> dict[str, Any]:
    """As JSON keeps it."""
    found = {one.name: getattr(value, one.name) for one in fields(value)}
    return {
        key: list(one) if isinstance(one, tuple) else f"{one} {one.currency}" if isinstance(one, Money) else one
        for key, one in found.items()
    }


def usual_of(kind: type) -> Mapping[str, Any]:
    """The default of each field; MISSING where it has none."""
    made = {one.name: one.default_factory for one in fields(kind)}
    return {
        one.name: one.default if made[one.name] is MISSING else made[one.name]()  # type: ignore[operator]
        for one in fields(kind)
    }


def unusual(value: Schedule | Resources | HealthRules | ImputedCost | Breaker) -> dict[str, Any]:
    """What of it is not by default; `schedule_of` and its like read it back."""
    usual = usual_of(type(value))
    return {key: one for key, one in plain(value).items() if getattr(value, key) != usual[key]}


def checked(value: T) -> T:
    """Itself. Raises UsageProblem where a field is of another kind than it should be, or a number makes no sense."""
    for one in fields(value):
        given = getattr(value, one.name)
        if not _FITS[str(one.type)](given):
            raise UsageProblem(f"{one.name} cannot be {given!r}")
    return value


def schedule_of(document: Mapping[str, Any]) -> Schedule:
    known = _known(Schedule, document)
    windows = known.get("windows")
    return checked(Schedule(**{**known, "windows": tuple(windows)} if isinstance(windows, list) else known))


def resources_of(document: Mapping[str, Any]) -> Resources:
    return checked(Resources(**_known(Resources, document)))


def health_of(document: Mapping[str, Any]) -> HealthRules:
    return checked(HealthRules(**_known(HealthRules, document)))


def imputed_of(document: Mapping[str, Any], currency: str) -> ImputedCost:
    if not isinstance(document["amount"], str):
        raise UsageProblem(f"an amount is kept as text, not as {document['amount']!r}")
    return ImputedCost.parse(f"{document['amount']}/{document['per']}", currency)


def breaker_of(document: Mapping[str, Any]) -> Breaker:
    return checked(Breaker(**_known(Breaker, document)))


def _is_number(value: object, kinds: tuple[type, ...], least: float = 0.0) -> bool:
    return type(value) in kinds and isfinite(value) and value >= least  # type: ignore[arg-type, operator]


_FITS: Mapping[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str),
    "str | None": lambda value: value is None or isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: _is_number(value, (int,)),
    "float": lambda value: _is_number(value, (int, float)),
    "int | None": lambda value: value is None or _is_number(value, (int,), 1),
    "float | None": lambda value: value is None or (_is_number(value, (int, float)) and value > 0),
    "tuple[str, ...]": lambda value: isinstance(value, tuple) and all(isinstance(one, str) for one in value),
}


def _known(kind: type, document: Mapping[str, Any]) -> dict[str, Any]:
    """Fields it does not know belong to a newer nova and are passed over."""
    if not isinstance(document, Mapping):
        raise UsageProblem(f"{document!r} cannot be read as {kind.__name__}")
    return {one.name: document[one.name] for one in fields(kind) if one.name in document}


def _rule(name: str, text: str) -> Any:
    if text == "off":
        return 0
    if name.endswith("_s"):
        return parse_duration(text)
    found = _NUMBER.fullmatch(text.removesuffix("%" if name == "error_percent" else "x"))
    number = float(found[0]) if found else -inf
    whole = name.endswith("_runs")
    if not _ABOVE.get(name, -1.0) < number <= _UP_TO.get(name, inf) or (whole and "." in text):
        raise UsageProblem(f"not a value for {name}: {text!r}", hint=_hint(name))
    return int(number) if whole else number


def _hint(name: str) -> str:
    if name in _ABOVE:
        return f"a number above {_ABOVE[name]:g}, or off"
    return f"a number up to {_UP_TO[name]:g}, or off" if name in _UP_TO else "a whole number of runs, or off"
