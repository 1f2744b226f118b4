"""Limits on spending and what is said of them: the pure part of the budgets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from nova.clock import window_end, window_of
from nova.errors import BudgetExceeded
from nova.money import Money
from nova.words import exact_money, when

TOTAL = "total"  # the window that never turns
_LASTING = {"run": 0, "day": 1, "month": 2, TOTAL: 3}
_SPAN = {"run": "in this run", "day": "today", "month": "this month", TOTAL: "in total"}

Key = tuple[str, str]
Used = Mapping[Key, tuple[int, int]]  # millionths (spent, reserved) by (scope, window)


def local_day(at: datetime, zone: ZoneInfo) -> str:
    """The day of `at` where the operator lives, as 2026-11-21."""
    return window_of("day", at, zone).removeprefix("day:")


def windows_of(day: str) -> tuple[str, str, str]:
    """The windows a local day is counted in."""
    return f"day:{day}", f"month:{day[:7]}", TOTAL


def turn_of(per: str, at: datetime, zone: ZoneInfo) -> datetime | None:
    """When the window that holds `at` turns; None for those that never do, a run's own and the total."""
    return window_end(per, at, zone) if per in ("day", "month") else None


@dataclass(frozen=True, slots=True)
class RunRef:
    """The run that money is spent by, and every scope it counts in."""

    run: str
    worker: str
    instance: str
    department: str
    manager: str | None = None

    def keys(self, day: str) -> tuple[Key, ...]:
        """What a spending on the local `day` counts in, limits or not."""
        windows = windows_of(day)
        scopes = ("fleet", f"department:{self.department}", f"worker:{self.worker}")
        return (*((scope, window) for scope in scopes for window in windows), (f"run:{self.run}", "run"))


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `amount` per run, day or month, or in total. `scope` is run, worker:NAME, department:D or fleet.

    Per run it bounds each run of the scope by itself. `tiers` are the percentages of it at which people are warned.
    """

    scope: str
    per: str
    amount: Money
    tiers: tuple[int, ...] = (80,)

    @property
    def lasts(self) -> bool:
        """Whether it bounds more than one run."""
        return self.per != "run"

    def key(self, run: RunRef, day: str) -> Key:
        return (self.scope, self.window(day)) if self.lasts else (f"run:{run.run}", "run")

    def window(self, day: str) -> str:
        """The window of a lasting limit that the local `day` is counted in."""
        return TOTAL if self.per == TOTAL else f"day:{day}" if self.per == "day" else f"month:{day[:7]}"

    def reached(self, spent: int, most: int) -> int | None:
        """The highest tier that `spent` of `most` millionths has reached."""
        return max((tier for tier in self.tiers if 0 < tier * most <= 100 * spent), default=None)

    def tier(self, before: int, after: int, most: int) -> int | None:
        """The highest tier that spending reached with its step from `before` to `after`, of `most` millionths."""
        return max((tier for tier in self.tiers if 100 * before < tier * most <= 100 * after), default=None)


@dataclass(frozen=True, slots=True)
class Usage:
    spent: Money
    reserved: Money


@dataclass(frozen=True, slots=True)
class Breach:
    """A limit and what stands against it in its window; `until` is when that turns (None: never).

    `tier` is the percentage that was reached, where it warns.
    """

    limit: Limit
    window: str
    spent: Money
    reserved: Money
    until: datetime | None
    tier: int | None = None


def breach_of(limit: Limit, usage: Usage, at: datetime, zone: ZoneInfo, tier: int | None = None) -> Breach:
    """Of a lasting limit, in the window that holds `at`."""
    window = limit.window(local_day(at, zone))
    return Breach(limit, window, usage.spent, usage.reserved, turn_of(limit.per, at, zone), tier)


@dataclass(frozen=True, slots=True)
class Booked:
    """What a spending did to its limits: those it left broken, and those it carried over one of their tiers.

    `total` is what its run has spent since it began, in reporting millionths; None where nothing was added.
    """

    breaches: tuple[Breach, ...] = ()
    near: tuple[Breach, ...] = ()
    total: int | None = None


class LimitReached(BudgetExceeded):
    """A budget does not allow this spending."""

    def __init__(self, refused: tuple[Breach, ...], asked: Money) -> None:
        """`refused` is every limit that stands in the way, the longest lasting first: it is the one named."""
        self.refused = tuple(sorted(refused, key=lambda breach: -_LASTING[breach.limit.per]))
        self.asked = asked
        self.breach = self.refused[0]
        self.limit = self.breach.limit
        self.spent = self.breach.spent
        self.reserved = self.breach.reserved
        super().__init__(_words(self.breach, asked), hint=_advice(self.breach))


def _words(breach: Breach, asked: Money) -> str:
    limit = breach.limit
    return f"{limit.scope} has {standing(breach)} {_SPAN[limit.per]}; {exact_money(asked)} more was asked"


def standing(breach: Breach) -> str:
    """`spent $4.90 and reserved $0.05 of $5.00`."""
    reserved = f" and reserved {exact_money(breach.reserved)}" if breach.reserved else ""
    return f"spent {exact_money(breach.spent)}{reserved} of {exact_money(breach.limit.amount)}"


def _advice(breach: Breach) -> str:
    limit = breach.limit
    scope = "worker:NAME" if limit.scope == "run" else limit.scope
    wait = f", or wait until {when(breach.until)}" if breach.until else ""
    return f"raise it with `nova budgets set {scope} AMOUNT/{limit.per}`{wait}"


@dataclass(frozen=True, slots=True)
class Judge:
    """Holds limits, each with its amount in reporting millionths, against what was used before a step."""

    limits: tuple[tuple[Limit, int], ...]
    run: RunRef
    day: str
    until: Mapping[str, datetime | None]
    currency: str

    @classmethod
    def on(
        cls, limits: tuple[tuple[Limit, int], ...], run: RunRef, day: str, at: datetime, zone: ZoneInfo, currency: str
    ) -> Judge:
        """`day` is the local day the step counts in, `at` an instant of it."""
        until = {per: turn_of(per, at, zone) for per in {limit.per for limit, _ in limits}}
        return cls(limits, run, day, until, currency)

    def refused(self, before: Used, asked: int) -> tuple[Breach, ...]:
        """The limits that `asked` more would break."""
        return tuple(
            self._breach(limit, spent, reserved)
            for limit, most, spent, reserved in self._standing(before)
            if spent + reserved + asked > most
        )

    def booked(self, before: Used, added: int) -> Booked:
        breaches, near = [], []
        for limit, most, spent, reserved in self._standing(before):
            after = spent + added
            if after > most:
                breaches.append(self._breach(limit, after, reserved))
            tier = limit.tier(spent, after, most)
            if tier is not None:
                near.append(self._breach(limit, after, reserved, tier))
        own = before.get((f"run:{self.run.run}", "run"))
        return Booked(tuple(breaches), tuple(near), None if own is None else own[0] + added)

    def _standing(self, used: Used) -> Iterator[tuple[Limit, int, int, int]]:
        """Raises KeyError for a limit on a scope the run is not in."""
        for limit, most in self.limits:
            spent, reserved = used[limit.key(self.run, self.day)]
            yield limit, most, spent, reserved

    def _breach(self, limit: Limit, spent: int, reserved: int, tier: int | None = None) -> Breach:
        window = limit.key(self.run, self.day)[1]
        used = Money(spent, self.currency), Money(reserved, self.currency)
        return Breach(limit, window, *used, self.until[limit.per], tier)
