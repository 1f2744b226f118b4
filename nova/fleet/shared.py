"""Bills that several deployments share, as they are declared: 49 a month among department:sales by revenue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from nova.errors import UsageProblem
from nova.fleet.documents import Deployment, valid_name
from nova.money import Money

BILL_PERS = ("day", "month", "year")
BASES = ("revenue", "even", "runs")
_FIRST, _LAST = date(2000, 1, 1), date(2199, 12, 31)
_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class SharedCost:
    """`amount` per day, month or year, from the local day `since` on and before `until`.

    `among` is fleet, department:D, agent:A or worker:A,B.
    """

    name: str
    amount: Money
    per: str
    among: str
    by: str
    since: date
    until: date | None = None

    def checked(self) -> SharedCost:
        """Itself. Raises UsageProblem where it makes no sense."""
        valid_name(self.name)
        if self.per not in BILL_PERS:
            raise UsageProblem(f"not a bill's period: {self.per!r}", hint="it is day, month or year, as in 49/month")
        if self.amount.micros <= 0:
            raise UsageProblem(f"a bill must be more than nothing, not {self.amount}")
        if self.by not in BASES:
            raise UsageProblem(f"not a way to share: {self.by!r}", hint=f"it is {', '.join(BASES)}")
        _members(self.among)
        if not _FIRST <= self.since <= _LAST:
            raise UsageProblem(f"a bill begins between 2000 and 2199, not on {self.since}")
        if self.until is not None and self.until <= self.since:
            raise UsageProblem(f"the bill would end on {self.until}, before it begins on {self.since}")
        return self

    def concerns(self, one: Deployment) -> bool:
        """Whether a deployment is among those that share it."""
        kind, names = _members(self.among)
        mine = {"fleet": "", "department": one.department, "agent": one.agent, "worker": one.name}[kind]
        return kind == "fleet" or mine in names

    @property
    def bill(self) -> str:
        """`49.00 USD/month`."""
        return f"{self.amount} {self.amount.currency}/{self.per}"

    def to_document(self) -> dict[str, Any]:
        """As JSON keeps it; `shared_of` reads it back."""
        until = self.until.isoformat() if self.until else None
        amount = f"{self.amount} {self.amount.currency}"
        days = {"since": self.since.isoformat(), "until": until}
        return {"name": self.name, "amount": amount, "per": self.per, "among": self.among, "by": self.by, **days}


def parse_bill(text: str, currency: str) -> tuple[Money, str]:
    """Reads `49/month` or `49 EUR/month`. Raises UsageProblem."""
    amount, slash, per = text.partition("/")
    if not slash or per.strip() not in BILL_PERS:
        raise UsageProblem(f"not a bill: {text!r}", hint="write it as 49/month; it is per day, month or year")
    return Money.parse(amount, currency), per.strip()


def parse_day(text: str) -> date:
    """Reads `2026-11-21`. Raises UsageProblem."""
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise UsageProblem(f"not a day: {text!r}", hint="write it as 2026-11-21") from None


def name_after(among: str) -> str:
    """What a bill is called that was given no name: `department-sales`."""
    return among.replace(":", "-").replace(",", "-").replace(" ", "")[:_LONGEST_NAME]


def shared_of(document: Mapping[str, Any], currency: str) -> SharedCost:
    """Raises UsageProblem, KeyError or ValueError for what is none."""
    until = document.get("until")
    return SharedCost(
        name=str(document["name"]),
        amount=Money.parse(document["amount"], currency),
        per=document["per"],
        among=document["among"],
        by=document["by"],
        since=date.fromisoformat(document["since"]),
        until=date.fromisoformat(until) if until else None,
    ).checked()


def _members(among: str) -> tuple[str, tuple[str, ...]]:
    """The kind of those that share, and their names."""
    kind, colon, rest = among.partition(":")
    names = tuple(name.strip() for name in rest.split(","))
    several = kind == "worker"
    if among == "fleet":
        return kind, ()
    if not colon or kind not in ("department", "agent", "worker") or (len(names) > 1 and not several):
        raise UsageProblem(
            f"not those who share: {among!r}", hint="it is fleet, department:D, agent:A or worker:NAME,NAME"
        )
    for name in names:
        if kind != "agent":
            valid_name(name, kind)
        elif not name:
            raise UsageProblem(f"not an agent: {name!r}")
    return kind, names
