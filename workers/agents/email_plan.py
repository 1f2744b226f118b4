"""When the email agent may mail whom: the hours, the daily cap, and how far each recipient has come. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any

MARK_CHARS = 16
NEW = -1  # the step that who is new has had last


@dataclass(frozen=True, slots=True)
class Hours:
    """`quiet` is a time of day from which nothing is sent until another one, over midnight too; `first` the hour before
    which nothing is. By the wall clock of a zone, whatever its clocks do.
    """

    quiet: tuple[time, time] | None = None
    first: int | None = None

    def open(self, local: datetime) -> bool:
        now = local.time()
        if self.first is not None and now.hour < self.first:
            return False
        if self.quiet is None:
            return True
        begins, ends = self.quiet
        return not (begins <= now < ends if begins <= ends else now >= begins or now < ends)


@dataclass(frozen=True, slots=True)
class Quota:
    """How many were mailed on `day`, and since when this deployment mails: the warm-up goes by days since then."""

    first: date | None = None
    day: date | None = None
    used: int = 0

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Quota:
        first, day = (said.get(name) for name in ("first", "day"))
        return cls(_date(first), _date(day), int(said.get("used", 0)))

    def said(self) -> dict[str, Any]:
        return {"first": str(self.first), "day": str(self.day), "used": self.used}

    def grant(self, today: date, wanted: int, warm_up: Sequence[int], per_day: int | None) -> tuple[Quota, int]:
        """How many of them may be mailed now, and the quota after that."""
        used = self.used if self.day == today else 0
        cap = self.cap(today, warm_up, per_day)
        granted = wanted if cap is None else max(0, min(wanted, cap - used))
        return Quota(self.first or (today if granted else None), today, used + granted), granted

    def cap(self, today: date, warm_up: Sequence[int], per_day: int | None) -> int | None:
        """Of today; None: none. After the last day of the warm-up only `per_day` holds."""
        days = (today - (self.first or today)).days
        caps = [cap for cap in (warm_up[days] if 0 <= days < len(warm_up) else None, per_day) if cap is not None]
        return min(caps, default=None)

    def back(self, count: int) -> Quota:
        """So many were not mailed after all."""
        return Quota(self.first, self.day, max(0, self.used - count))


@dataclass(slots=True)
class Plan:
    """A step to some people, by their marks: written down before it is sent, under the key that it is sent by.

    `asked` is the minute in which it was last found to be in doubt.
    """

    key: str
    step: int
    who: list[str]
    asked: int = 0

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Plan:
        return cls(said["key"], said["step"], list(_cut(said["who"])), said.get("asked", 0))

    def said(self) -> dict[str, Any]:
        return {"key": self.key, "step": self.step, "who": "".join(self.who), "asked": self.asked}


@dataclass(slots=True)
class Progress:
    """How far the recipients of one shard have come: who had which step last, and when (in minutes since 1970).

    `out` are those who are written to no more; `open` the plans whose end is not known.
    """

    had: dict[tuple[int, int], set[str]] = field(default_factory=dict)
    out: set[str] = field(default_factory=set)
    open: list[Plan] = field(default_factory=list)
    plans: int = 0

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Progress:
        had = {
            (int(step), int(minute)): set(_cut(who))
            for name, who in said.get("had", {}).items()
            for step, minute in [name.split("@")]
        }
        plans = [Plan.of(one) for one in said.get("open", ())]
        return cls(had, set(_cut(said.get("out", ""))), plans, int(said.get("plans", 0)))

    def said(self) -> dict[str, Any]:
        """Two digits a byte, so that a shard of some ten thousand recipients is one value of the state."""
        had = {f"{step}@{minute}": "".join(sorted(who)) for (step, minute), who in sorted(self.had.items()) if who}
        return {
            "had": had, "out": "".join(sorted(self.out)), "open": [one.said() for one in self.open],
            "plans": self.plans,
        }  # fmt: skip

    def due(self, listed: Iterable[str], after_min: Sequence[int], now_min: int) -> Iterator[tuple[int, list[str]]]:
        """By step, those of the listed who are due: the next step, so many minutes after the one before.

        Each has had the steps before, and of nobody's plan the end is unknown.
        """
        last = {mark: (step, minute) for (step, minute), who in self.had.items() for mark in who}
        blocked = self.out | {mark for plan in self.open for mark in plan.who}
        found: dict[int, list[str]] = {}
        for mark in listed:
            step, minute = last.get(mark, (NEW, now_min))
            following = step + 1
            if mark in blocked or following >= len(after_min):
                continue
            if step == NEW or minute + after_min[following] <= now_min:
                found.setdefault(following, []).append(mark)
        yield from sorted(found.items(), reverse=True)  # who waits for a later step first

    def begin(self, prefix: str, step: int, who: Sequence[str]) -> Plan:
        self.plans += 1
        plan = Plan(f"{prefix}/{self.plans}", step, list(who))
        self.open.append(plan)
        return plan

    def finish(self, plan: Plan, now_min: int, out: Iterable[str] = (), had: Iterable[str] | None = None) -> None:
        """All of the plan, or those who `had` it, have come to its step; who is `out` gets no other one."""
        self.open = [one for one in self.open if one.key != plan.key]
        gone = set(out)
        reached = set(plan.who if had is None else had) - gone
        for who in self.had.values():
            who.difference_update(reached | gone)
        self.had.setdefault((plan.step, now_min), set()).update(reached)
        self.out |= gone

    def drop(self, plan: Plan) -> None:
        """It was not sent: they are due again."""
        self.open = [one for one in self.open if one.key != plan.key]


def shard_of(mark: str, shards: int) -> int:
    return int(mark[:8], 16) % shards


def shards_for(recipients: int, each: int) -> int:
    """A power of two, so that a list may grow much beyond what it was when it was first read."""
    shards = 16
    while shards * each < recipients and shards < 4096:
        shards *= 2
    return shards


def _cut(joined: str) -> Iterator[str]:
    return (joined[first : first + MARK_CHARS] for first in range(0, len(joined), MARK_CHARS))


def _date(said: str | None) -> date | None:
    return date.fromisoformat(said) if said and said != "None" else None
