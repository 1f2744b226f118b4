"""What the engine saw of one deployment: frozen values, gathered elsewhere. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from nova.autonomous.interval import NOTHING, Bounds, Takings, net_bounds
from nova.clock import iso
from nova.money import MICROS, Money, roi_percent

DAY_US = 86_400_000_000
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """Runs and money from `start` until before `end`. `returns` are refunds, disputes and what was taken back."""

    start: datetime
    end: datetime
    cost: Money
    revenue: Money
    succeeded: int = 0
    failed: int = 0
    interrupted: int = 0
    sales: Takings = NOTHING
    returns: Takings = NOTHING
    fees: float = 0.0

    @property
    def runs(self) -> int:
        return self.succeeded + self.failed + self.interrupted

    @property
    def success_rate(self) -> float:
        """Percent of the runs that ended by themselves; 0 without any."""
        ended = self.succeeded + self.failed
        return 100.0 * self.succeeded / ended if ended else 0.0

    @property
    def days(self) -> float:
        return (self.end - self.start) / timedelta(days=1)

    @property
    def roi(self) -> float | None:
        return roi_percent(self.revenue, self.cost)

    def revenue_bounds(self, size: float, confidence: float) -> Bounds:
        """Of the net revenue, in units of the currency."""
        return net_bounds(self.sales, self.returns, self.fees, size, confidence)

    def roi_bounds(self, size: float, confidence: float) -> Bounds | None:
        """Of the ROI in percent; the cost is taken as known. None without a cost."""
        if self.cost.micros <= 0:
            return None
        return self.revenue_bounds(size, confidence).times(100 * MICROS / self.cost.micros).plus(-100)

    def to_json(self) -> dict[str, Any]:
        return {
            "start": iso(self.start),
            "end": iso(self.end),
            "runs": self.runs,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "interrupted": self.interrupted,
            "cost": str(self.cost),
            "revenue": str(self.revenue),
            "sales": self.sales.count,
            "returns": self.returns.count,
            "sum_of_squares": round(self.sales.squares + self.returns.squares, 6),
            "largest_sale": _amount(self.sales.peak, self.cost.currency),
            "fees": _amount(self.fees, self.cost.currency),
        }


@dataclass(frozen=True, slots=True)
class StepEvidence:
    """The last step of the replicas by the engine, what was seen before it (None: nothing) and what after it."""

    at: datetime
    from_replicas: int
    to_replicas: int
    before: Window | None
    after: Window

    def to_json(self) -> dict[str, Any]:
        return {
            "at": iso(self.at),
            "from_replicas": self.from_replicas,
            "to_replicas": self.to_replicas,
            "before": self.before.to_json() if self.before else None,
            "after": self.after.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Change:
    """One value of one tunable parameter that has not been tried."""

    key: str
    value: Any

    def to_json(self) -> dict[str, Any]:
        return {"key": self.key, "value": self.value}


@dataclass(frozen=True, slots=True)
class SaleSize:
    """What one sale is worth in units, and whose sales say so: its own, else its department's, else the fleet's."""

    amount: float
    known_from: str

    def to_json(self) -> dict[str, Any]:
        return {"amount": f"{self.amount:.6f}".rstrip("0").rstrip("."), "known_from": self.known_from}


@dataclass(frozen=True, slots=True)
class Evidence:
    """One deployment. What it means that a field is missing:

    `earlier` holds windows of fresh evidence before this one, newest first, without the time paused for ROI;
    `sale_size` is None where no sale was ever seen in the fleet; `replica_time` is how long replicas were declared to
    run within the window, summed over them; `budget_left` is the least that any day budget over it leaves at the
    present pace, and `budget_scope` says whose it is.
    """

    worker: str
    department: str
    state: str
    replicas: int
    max_replicas: int
    window: Window
    replica_time: timedelta
    budget_left: Money
    budget_scope: str = "fleet"
    pause_reason: str | None = None
    state_since: datetime | None = None
    evidence_since: datetime | None = None
    first_run_at: datetime | None = None
    scalable: bool = True
    earlier: tuple[Window, ...] = ()
    sale_size: SaleSize | None = None
    stale: tuple[str, ...] = ()
    unconverted: tuple[str, ...] = ()
    last_step: StepEvidence | None = None
    last_action_at: datetime | None = None
    probing_since: datetime | None = None
    untried: tuple[Change, ...] = field(default=())

    @property
    def spend_per_replica_day(self) -> Money:
        """At the window's pace, to the nearest millionth; zero where no replica ran."""
        served = self.replica_time // _MICROSECOND
        if served <= 0:
            return Money.zero(self.window.cost.currency)
        return Money((2 * self.window.cost.micros * DAY_US + served) // (2 * served), self.window.cost.currency)

    @property
    def daily_spend(self) -> Money:
        """What the declared replicas spend a day at the window's pace; nothing while it does not run."""
        running = self.state in ("active", "cooling_down")
        return self.spend_per_replica_day * (self.replicas if running else 0)

    @property
    def size_of_a_sale(self) -> float:
        """In units. Where no sale is known anywhere it is a day's cost, so the first days without one prove nothing."""
        if self.sale_size is not None:
            return self.sale_size.amount
        return (self.spend_per_replica_day * max(self.replicas, 1)).micros / MICROS

    def to_json(self) -> dict[str, Any]:
        return {
            "worker": self.worker,
            "department": self.department,
            "state": self.state,
            "pause_reason": self.pause_reason,
            "state_since": _iso(self.state_since),
            "evidence_since": _iso(self.evidence_since),
            "first_run_at": _iso(self.first_run_at),
            "replicas": self.replicas,
            "max_replicas": self.max_replicas,
            "scalable": self.scalable,
            "window": self.window.to_json(),
            "earlier": [window.to_json() for window in self.earlier],
            "replica_days": round(self.replica_time / timedelta(days=1), 6),
            "spend_per_replica_day": str(self.spend_per_replica_day),
            "sale_size": self.sale_size.to_json() if self.sale_size else None,
            "stale": list(self.stale),
            "unconverted": list(self.unconverted),
            "last_step": self.last_step.to_json() if self.last_step else None,
            "last_action_at": _iso(self.last_action_at),
            "probing_since": _iso(self.probing_since),
            "untried": [change.to_json() for change in self.untried],
            "budget_left": str(self.budget_left),
            "budget_scope": self.budget_scope,
        }


def _amount(units: float, currency: str) -> str:
    return str(Money(round(units * MICROS), currency))


def _iso(at: datetime | None) -> str | None:
    return iso(at) if at else None
