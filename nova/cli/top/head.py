"""The lines above the table: the managers, the money, the budgets as bars. Pure; each line a list of (text, style)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from nova.cli import render
from nova.cli.layout import cells
from nova.cli.top.look import Budget, Look, Rate
from nova.cli.top.rows import clock_time, fitted
from nova.money import Money

Piece = tuple[str, str]
Words = list[Piece]

GOOD, WARN, BAD, DIM, PLAIN, STRONG = "green", "yellow", "bold red", "dim", "", "bold"
FULL, HELD, EMPTY = "█", "▒", "░"
_NEAR = 0.8
_BAR = 20
_SIDE_BY_SIDE = 110


def head(look: Look, rate: Rate | None, width: int, zone: ZoneInfo) -> list[Words]:
    return [_managers(look, width, zone), _money(look, rate), _fleet(look)]


def _managers(look: Look, width: int, zone: ZoneInfo) -> Words:
    managers = _living(look)
    clock = clock_time(look.at, look.at, zone, seconds=True)
    if not managers:
        words: Words = [("nova", STRONG), ("  no manager runs", BAD), (" (nova workers start)", DIM)]
    else:
        words = [("nova", STRONG), (f"  {_who(managers)}", GOOD), *_load(managers)]
    return [*words, (" " * max(1, width - length(words) - len(clock)), PLAIN), (clock, DIM)]


def _living(look: Look) -> list[dict[str, Any]]:
    found = look.document.get("managers") or [look.document["manager"]]
    return [manager for manager in found if manager["running"]]


def _who(managers: Sequence[dict[str, Any]]) -> str:
    if len(managers) > 1:
        return f"{len(managers)} managers"
    (one,) = managers
    of = "" if one["department"] in (None, "all") else f" for {one['department']}"
    return f"manager {one['pid']}{of}, up {render.duration(one['uptime_s'])}"


def _load(managers: Sequence[dict[str, Any]]) -> Words:
    cpus = [one["cpu_percent"] for one in managers if one.get("cpu_percent") is not None]
    memory = [one["memory_mb"] for one in managers if one.get("memory_mb") is not None]
    words: Words = []
    if cpus:
        words += [("  cpu ", DIM), (render.percent(round(sum(cpus), 1)), PLAIN)]
    if memory:
        words += [("  memory ", DIM), (render.size(sum(memory) * 1e6), PLAIN)]
    return words


def _money(look: Look, rate: Rate | None) -> Words:
    profit = look.earned_today - look.spent_today
    return [
        ("today  spent ", DIM),
        (render.money(look.spent_today), STRONG),
        (_per_minute(rate.spent if rate else None, look.currency), DIM),
        ("  earned ", DIM),
        (render.money(look.earned_today), STRONG),
        (_per_minute(rate.earned if rate else None, look.currency), DIM),
        ("  profit ", DIM),
        (render.money(profit), GOOD if profit.micros >= 0 else BAD),
    ]


def _per_minute(micros: float | None, currency: str) -> str:
    if micros is None:
        return ""
    return f" {render.money(Money(round(micros), currency))}/min"


def _fleet(look: Look) -> Words:
    totals = look.document["totals"]
    if not totals["deployments"]:
        return [("nothing is deployed yet (nova deploy --help)", DIM)]
    words: Words = [
        ("fleet  ", DIM),
        (render.count(totals["deployments"], "deployment"), PLAIN),
        (f", {totals['running']:,} of {totals['instances']:,} instances run", PLAIN),
    ]
    words += [
        (f", {totals[state]} {state}", style) for state, style in (("paused", WARN), ("parked", BAD)) if totals[state]
    ]
    return [*words, ("  autonomy ", DIM), ("on", GOOD) if look.autonomous else ("off", DIM)]


def bars(budgets: Sequence[Budget], width: int, most: int) -> list[Words]:
    """The fullest first, at most so many lines; two beside each other where there is room."""
    ordered = sorted(budgets, key=lambda one: -one.used)
    across = 2 if width >= _SIDE_BY_SIDE else 1
    shown = ordered[: most * across]
    if not shown:
        return []
    left = len(ordered) - len(shown)
    room = (width - 3 * (across - 1)) // across
    names = min(max(cells(_name(one)) for one in shown), room // 3)
    parts = [bar(one, _name(one), room, names) for one in shown]
    if left:
        parts[-1] = [*parts[-1], (f" +{left} more", DIM)]
    lines = []
    for start in range(0, len(parts), across):
        line: Words = []
        for part in parts[start : start + across]:
            gap = room + 3 - (length(line) % (room + 3)) if line else 0
            line += [(" " * gap, PLAIN), *part]
        lines.append(line)
    return lines


def bar(one: Budget, name: str, width: int, names: int) -> Words:
    """`fleet/day  ████▒▒░░░░  $12.30 of $20.00`: spent, reserved, left."""
    style = BAD if one.used >= 1 else WARN if one.used >= _NEAR else GOOD
    sums = f"{render.money(one.spent)} of {render.money(one.limit)}"
    part = f"{min(999, round(100 * one.used))}%"
    size = max(4, min(_BAR, width - names - len(sums) - 10))
    spent = min(size, round(size * (one.spent.micros / one.limit.micros if one.limit.micros else 1.0)))
    held = min(size - spent, round(size * one.used) - spent)
    return [
        (fitted(name, names), DIM),
        ("  ", PLAIN),
        (FULL * spent + HELD * max(0, held), style),
        (EMPTY * (size - spent - max(0, held)), DIM),
        (f" {part:>4}", style),
        (f"  {sums}", PLAIN),
    ]


def _name(one: Budget) -> str:
    return f"{one.scope.removeprefix('department:')}/{one.per}"


def length(words: Words) -> int:
    return sum(cells(text) for text, _ in words)
