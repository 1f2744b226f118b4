"""A verdict as a value: what to do with one deployment, by which rule, and in words. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nova.autonomous.evidence import Change
from nova.money import Money


class Kind(StrEnum):
    """What can be decided, in the order in which a cycle acts: what stops a loss comes first."""

    KILL = "kill"
    PAUSE = "pause"
    SCALE_DOWN = "scale_down"
    OPTIMIZE = "optimize"
    RESUME = "resume"
    DEPLOY = "deploy"
    SCALE_UP = "scale_up"
    BUDGET = "budget"
    HOLD = "hold"

    @property
    def priority(self) -> int:
        return _ORDER[self]


_ORDER = {kind: place for place, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True)
class Decision:
    """`rule` names the rule that fired; ROI figures are percent over the window, None where unknown.

    `daily_cost_impact` is what is added to the day's spend, negative where it falls. `change` is set for `optimize`
    and for `budget`: its key is `budget/PER` there.
    """

    worker: str
    kind: Kind
    rule: str
    reason: str
    from_replicas: int
    to_replicas: int
    daily_cost_impact: Money
    policy_version: int
    roi_percent: float | None = None
    roi_low: float | None = None
    roi_high: float | None = None
    confidence: float | None = None
    risk: str = "low"
    change: Change | None = None

    @property
    def fingerprint(self) -> str:
        """Equal for the same proposal on another day: it leaves out money, figures and the policy."""
        return _digest(self._proposal())

    @property
    def hash(self) -> str:
        """What an approval is bound to."""
        return _digest(
            {**self._proposal(), "impact": self.daily_cost_impact.micros, "currency": self.daily_cost_impact.currency,
             "policy_version": self.policy_version, "rule": self.rule}
        )  # fmt: skip

    def _proposal(self) -> dict[str, Any]:
        return {
            "worker": self.worker,
            "kind": self.kind.value,
            "from": self.from_replicas,
            "to": self.to_replicas,
            "change": self.change.to_json() if self.change else None,
        }

    def to_json(self) -> dict[str, Any]:
        return {
            "worker": self.worker,
            "kind": self.kind.value,
            "rule": self.rule,
            "reason": self.reason,
            "roi_percent": self.roi_percent,
            "roi_low": self.roi_low,
            "roi_high": self.roi_high,
            "confidence": self.confidence,
            "risk": self.risk,
            "from_replicas": self.from_replicas,
            "to_replicas": self.to_replicas,
            "daily_cost_impact": str(self.daily_cost_impact),
            "change": self.change.to_json() if self.change else None,
        }


def _digest(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()).hexdigest()
