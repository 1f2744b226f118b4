"""The policy: thresholds and guardrails, as the operator writes them and as the engine reads them. Pure."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, Protocol

from nova.clock import format_duration, parse_duration
from nova.errors import ConfigInvalid, UsageProblem
from nova.money import Money
from nova.revenue.attribution.models import DIRECT, MODELS
from nova.revenue.attribution.rule import WINDOW

PERIODS = ("day", "month")


class PolicyDefaults(Protocol):
    """The settings that give the policy its initial values."""

    @property
    def nova_currency(self) -> str: ...
    @property
    def max_daily_budget(self) -> Decimal: ...
    @property
    def min_roi_threshold(self) -> float | Decimal: ...
    @property
    def scale_roi_threshold(self) -> float | Decimal: ...
    @property
    def kill_roi_threshold(self) -> float | Decimal: ...
    @property
    def require_approval_above(self) -> Decimal: ...


@dataclass(frozen=True, slots=True)
class ActionCap:
    """How many decisions a cycle may carry out: a percentage of the deployments looked at (at least 1), or a number."""

    percent: float | None = None
    count: int | None = None

    def limit(self, evaluated: int) -> int:
        if self.count is not None:
            return self.count
        return max(1, math.floor((self.percent or 0.0) * evaluated / 100))

    def __str__(self) -> str:
        return str(self.count) if self.count is not None else f"{self.percent:g}%"


@dataclass(frozen=True, slots=True)
class Policy:
    """Percentages are ROI in percent; `version` rises with each change the operator makes."""

    require_approval_above: Money
    max_daily_budget: Money
    min_roi: float = 150.0
    scale_roi: float = 300.0
    kill_roi: float = 0.0
    min_runs: int = 20
    min_success_rate: float = 80.0
    confidence: float = 0.9
    window: timedelta = timedelta(days=7)
    attribution_lag: timedelta = timedelta(0)
    attribution_model: str = DIRECT
    attribution_window: timedelta = WINDOW
    warmup: timedelta = timedelta(hours=1)
    cooldown: timedelta = timedelta(minutes=15)
    scale_factor: float = 2.0
    max_actions_per_cycle: ActionCap = ActionCap(percent=20.0)
    approval_expiry: timedelta = timedelta(hours=24)
    approval_headroom: float = 2.0
    rejection_silence: timedelta = timedelta(hours=24)
    probe_interval: timedelta = timedelta(hours=24)
    probe_window: timedelta = timedelta(hours=6)
    sync_interval: timedelta = timedelta(minutes=15)
    protected: frozenset[str] = frozenset()
    reinvest_share: float = 0.0
    reinvest_period: str = "day"
    version: int = field(default=0, kw_only=True)

    @property
    def currency(self) -> str:
        return self.max_daily_budget.currency

    @classmethod
    def from_settings(cls, settings: PolicyDefaults) -> Policy:
        """The initial policy. Raises ConfigInvalid where the settings contradict each other."""
        currency = settings.nova_currency
        policy = cls(
            require_approval_above=Money.of(settings.require_approval_above, currency),
            max_daily_budget=Money.of(settings.max_daily_budget, currency),
            min_roi=float(settings.min_roi_threshold),
            scale_roi=float(settings.scale_roi_threshold),
            kill_roi=float(settings.kill_roi_threshold),
        )
        problem = _contradiction(policy)
        if problem:
            names = "KILL_ROI_THRESHOLD, MIN_ROI_THRESHOLD, SCALE_ROI_THRESHOLD"
            raise ConfigInvalid(f"{names}: {problem}")
        return policy

    @classmethod
    def from_overrides(cls, defaults: Policy, overrides: Mapping[str, str], version: int = 0) -> Policy:
        """`defaults` with what the operator has set. Raises UsageProblem naming key, value and what is valid."""
        values = {key: _parse(key, text, defaults.currency) for key, text in overrides.items()}
        policy = replace(defaults, version=version, **values)
        problem = _contradiction(policy)
        if problem:
            raise UsageProblem(problem)
        return policy

    def to_json(self) -> dict[str, Any]:
        """By key, in the interface's order: durations in seconds, money as a decimal string."""
        return {key: _plain(getattr(self, key)) for key in KEYS}

    def as_text(self) -> dict[str, str]:
        """By key, as `policy set` would read it."""
        return {key: _written(getattr(self, key)) for key in KEYS}


def parse_pairs(pairs: list[str]) -> dict[str, str]:
    """Reads `KEY=VALUE` arguments. The values are not looked at; `Policy.from_overrides` does."""
    result: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageProblem(f"not a setting: {pair!r}", hint="write it as KEY=VALUE, such as min_roi=150")
        if _known(key.strip()) in result:
            raise UsageProblem(f"{key.strip()} is given twice")
        result[key.strip()] = value.strip()
    return result


def _number(text: str, low: float, high: float) -> float:
    value = float(text.removesuffix("%"))
    if not low <= value <= high:  # also refuses nan
        raise ValueError
    return value


def _roi(text: str, _: str) -> float:
    return _number(text, -100, 1e6)


def _percent(text: str, _: str) -> float:
    return _number(text, 0, 100)


def _confidence(text: str, _: str) -> float:
    value = float(text.removesuffix("%"))
    return _number(str(value / 100 if text.endswith("%") else value), 0.5, 0.99)


def _factor(text: str, _: str) -> float:
    return _number(text, 1.01, 100)


def _count(text: str, _: str) -> int:
    if not re.fullmatch(r"\d{1,7}", text, re.ASCII):
        raise ValueError
    return int(text)


def _duration(text: str, _: str) -> timedelta:
    return timedelta(seconds=parse_duration(text))


def _evidence_window(text: str, currency: str) -> timedelta:
    """At least a minute: `7`, meant as days, is seven seconds, in which nothing could ever be decided."""
    value = _duration(text, currency)
    if value < timedelta(minutes=1):
        raise ValueError
    return value


def _positive_duration(text: str, currency: str) -> timedelta:
    value = _duration(text, currency)
    if not value:
        raise ValueError
    return value


def _money(text: str, currency: str) -> Money:
    amount = Money.parse(text, currency)
    if amount.micros < 0 or amount.currency != currency:
        raise ValueError
    return amount


def _cap(text: str, _: str) -> ActionCap:
    if text.endswith("%"):
        return ActionCap(percent=_number(text, 0, 100))
    count = _count(text, "")
    if count < 1:
        raise ValueError
    return ActionCap(count=count)


def _model(text: str, _: str) -> str:
    if text not in MODELS:
        raise ValueError
    return text


def _names(text: str, _: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.strip("[]").split(",") if name.strip())


def _period(text: str, _: str) -> str:
    if text not in PERIODS:
        raise ValueError
    return text


_ROI = (_roi, "a percentage of at least -100, such as 150")
_PERCENT = (_percent, "a percentage from 0 to 100")
_DURATION = (_duration, "a duration such as 15m, 24h or 7d")
_SPAN = (_positive_duration, "a duration longer than zero, such as 15m, 24h or 7d")
_MONEY = (_money, "an amount of money in the reporting currency, such as 50 or 49.90")

_FORMS: dict[str, tuple[Callable[[str, str], Any], str]] = {
    "min_roi": _ROI,
    "scale_roi": _ROI,
    "kill_roi": _ROI,
    "require_approval_above": _MONEY,
    "max_daily_budget": _MONEY,
    "min_runs": (_count, "a whole number of runs, such as 20"),
    "min_success_rate": _PERCENT,
    "confidence": (_confidence, "a probability from 0.5 to 0.99, such as 0.9"),
    "window": (_evidence_window, "a duration of at least a minute, such as 24h or 7d"),
    "attribution_lag": _DURATION,
    "attribution_model": (_model, f"one of {', '.join(MODELS)}"),
    "attribution_window": _SPAN,
    "warmup": _DURATION,
    "cooldown": _DURATION,
    "scale_factor": (_factor, "a factor above 1 and at most 100, such as 2"),
    "max_actions_per_cycle": (_cap, "a percentage such as 20% or a number of at least 1"),
    "approval_expiry": _SPAN,
    "approval_headroom": _PERCENT,
    "rejection_silence": _DURATION,
    "probe_interval": _SPAN,
    "probe_window": _DURATION,
    "sync_interval": _SPAN,
    "protected": (_names, "names of deployments, separated by commas; empty for none"),
    "reinvest_share": _PERCENT,
    "reinvest_period": (_period, f"one of {', '.join(PERIODS)}"),
}
KEYS: tuple[str, ...] = tuple(_FORMS)


def _known(key: str) -> str:
    if key not in _FORMS:
        near = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.7)
        hint = f"did you mean {near[0]}?" if near else f"keys: {', '.join(KEYS)}"
        raise UsageProblem(f"the policy has no key {key!r}", hint=hint)
    return key


def _parse(key: str, text: str, currency: str) -> Any:
    parse, valid = _FORMS[_known(key)]
    try:
        return parse(text.strip(), currency)
    except (ValueError, UsageProblem):
        raise UsageProblem(f"{key} cannot be {text!r}: it is {valid}") from None


def _contradiction(policy: Policy) -> str | None:
    if not policy.kill_roi <= policy.min_roi <= policy.scale_roi:
        return (
            f"kill_roi {policy.kill_roi:g}, min_roi {policy.min_roi:g} and scale_roi {policy.scale_roi:g} "
            "must not fall in this order"
        )
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return _whole(value.total_seconds())
    if isinstance(value, float):
        return _whole(value)
    if isinstance(value, frozenset):
        return sorted(value)
    return str(value) if isinstance(value, (Money, ActionCap)) else value


def _whole(value: float) -> float | int:
    return int(value) if value == int(value) else value


def _written(value: Any) -> str:
    if isinstance(value, timedelta):
        return format_duration(value.total_seconds())
    if isinstance(value, frozenset):
        return ",".join(sorted(value))
    return f"{value:g}" if isinstance(value, float) else str(value)
