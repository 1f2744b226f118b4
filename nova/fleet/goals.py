"""What the operator wants to earn, as it is declared: 5000 a month, of the fleet, a department or a deployment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nova.errors import UsageProblem
from nova.fleet.documents import valid_name
from nova.money import Money

TARGET_PERS = ("day", "week", "month", "year")


@dataclass(frozen=True, slots=True)
class Target:
    """`amount` of net revenue per day, week, month or year. `scope` is fleet, department:D or worker:NAME."""

    scope: str
    per: str
    amount: Money

    @classmethod
    def parse(cls, text: str, scope: str, currency: str) -> Target:
        """Reads `5000/month`. Raises UsageProblem."""
        amount, slash, per = text.partition("/")
        if not slash or per.strip() not in TARGET_PERS:
            raise UsageProblem(
                f"not a target: {text!r}", hint="write it as 5000/month; it is per day, week, month or year"
            )
        return cls(scope, per.strip(), Money.parse(amount, currency)).checked(currency)

    def checked(self, currency: str) -> Target:
        """Itself. Raises UsageProblem where it makes no sense."""
        kind, colon, name = self.scope.partition(":")
        if self.scope != "fleet":
            if not colon or kind not in ("department", "worker"):
                raise UsageProblem(f"not a scope: {self.scope!r}", hint="it is fleet, department:D or worker:NAME")
            valid_name(name, kind)
        if self.per not in TARGET_PERS:
            raise UsageProblem(f"not a target's period: {self.per!r}", hint=f"it is {', '.join(TARGET_PERS)}")
        if self.amount.micros <= 0:
            raise UsageProblem(f"a target must be more than nothing, not {self.amount}")
        if self.amount.currency != currency:
            raise UsageProblem(f"a target is in {currency}, the reporting currency, not in {self.amount.currency}")
        return self

    @property
    def key(self) -> str:
        """A scope has one target a period."""
        return f"{self.scope}/{self.per}"

    def to_document(self) -> dict[str, Any]:
        """As JSON keeps it; `target_of` reads it back."""
        return {"scope": self.scope, "per": self.per, "amount": f"{self.amount} {self.amount.currency}"}


def target_of(document: Mapping[str, Any], currency: str) -> Target:
    """Raises UsageProblem or KeyError for what is none."""
    amount = Money.parse(document["amount"], currency)
    return Target(str(document["scope"]), str(document["per"]), amount).checked(currency)
