"""Which model divides payments, and over which touches: as the operator set it in the policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from nova.clock import parse_duration
from nova.revenue.attribution.models import DIRECT

WINDOW = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Rule:
    """Touches count that are no older than `window` when the payment is made."""

    model: str = DIRECT
    window: timedelta = WINDOW

    def __str__(self) -> str:
        return f"{self.model} {self.window.total_seconds():g}s"


def rule_of(policy: Mapping[str, str]) -> Rule:
    """From what the operator set in the policy, where `attribution_model` and `attribution_window` were checked."""
    written = policy.get("attribution_window")
    window = WINDOW if written is None else timedelta(seconds=parse_duration(written))
    return Rule(policy.get("attribution_model", DIRECT), window)
