"""From a look at the fleet to the rows of the table: what each says, in which order, in how much room. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from nova.cli.layout import cells
from nova.cli.render import NOTHING
from nova.cli.terminal import printable
from nova.cli.top.look import Look, Rate, Rates
from nova.clock import parse_time

_WEEK = 7
_SOON_S = 120.0  # what comes sooner is not worth a note
_URGENT = ("parked", "hung", "cooling_down", "backing_off", "paused", "active", "done", "killed")
_SHORT = {"cooling_down": "cooling", "backing_off": "backoff"}


@dataclass(frozen=True, slots=True)
class Row:
    """A deployment. `shown` is its state as an operator should see it: `hung` where an active one hangs,
    `done` where its single run was made.
    """

    name: str
    department: str
    shown: str
    running: int
    replicas: int
    rate: Rate | None
    success: float | None
    cpu: float | None
    memory_mb: float | None
    roi: float | None
    note: str

    @property
    def spent(self) -> float | None:
        return None if self.rate is None else self.rate.spent

    @property
    def earned(self) -> float | None:
        return None if self.rate is None else self.rate.earned

    @property
    def runs(self) -> float | None:
        return None if self.rate is None else self.rate.runs


def rows_of(look: Look, rates: Rates, zone: ZoneInfo) -> list[Row]:
    return [_row(worker, rates.of(worker["name"]), look.at, zone) for worker in look.document["workers"]]


def _row(worker: Mapping[str, Any], rate: Rate | None, now: datetime, zone: ZoneInfo) -> Row:
    return Row(
        name=worker["name"],
        department=worker["department"],
        shown=_shown(worker),
        running=worker["running"],
        replicas=worker["replicas"],
        rate=rate,
        success=worker["success_rate"],
        cpu=worker["cpu_percent"],
        memory_mb=worker["memory_mb"],
        roi=worker["roi_percent"],
        note=printable(_note(worker, now, zone)),
    )


def _shown(worker: Mapping[str, Any]) -> str:
    if worker["state"] != "active":
        return str(worker["state"])
    if worker["finished"]:
        return "done"
    states = {instance["state"] for instance in worker["instances"]}
    return next((state for state in ("hung", "backing_off") if state in states), "active")


def _note(worker: Mapping[str, Any], now: datetime, zone: ZoneInfo) -> str:
    """The one thing an operator should know of it beside its state."""
    state = _shown(worker)
    until = clock_time(worker.get("state_until"), now, zone)
    if state == "paused":
        reason = "by you" if worker["pause_reason"] == "operator" else str(worker["pause_reason"])
        return f"{reason} until {until}" if until else reason
    if state == "hung":
        return ", ".join(f"#{_index(one)}" for one in worker["instances"] if one["state"] == "hung")
    if state in ("cooling_down", "backing_off", "parked"):
        said = last_line(worker["last_error"])
        return f"until {until}: {said}" if until else said
    return _next(worker, now, zone) if state == "active" else ""


def _next(worker: Mapping[str, Any], now: datetime, zone: ZoneInfo) -> str:
    """When a schedule's next run is due, where that is not at once and nothing runs."""
    due = [parse_time(one["next_run_at"]) for one in worker["instances"] if one.get("next_run_at")]
    if not due or any(one["state"] == "running" for one in worker["instances"]):
        return ""
    first = min(due)
    return f"at {clock_time(first, now, zone)}" if (first - now).total_seconds() > _SOON_S else ""


def _index(instance: Mapping[str, Any]) -> str:
    return str(instance["id"]).rpartition("#")[2]


def last_line(text: str | None) -> str:
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def clock_time(at: str | datetime | None, now: datetime, zone: ZoneInfo, *, seconds: bool = False) -> str:
    """`15:20` of today, `Mon 09:00` of the days to come, else with its date; in the operator's zone."""
    if at is None:
        return ""
    local = (parse_time(at) if isinstance(at, str) else at).astimezone(zone)
    shown = f"{local:%H:%M:%S}" if seconds else f"{local:%H:%M}"
    days = (local.date() - now.astimezone(zone).date()).days
    if days == 0:
        return shown
    return f"{local:%a} {shown}" if 0 < days < _WEEK else f"{local:%b %d} {shown}"


def short(value: float | None) -> str:
    """A figure in at most six places: three digits that count."""
    if value is None:
        return NOTHING
    size = abs(value)
    sign = "-" if value < 0 else ""
    for unit, above in (("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if size >= above:
            size /= above if unit != "k" else 1e3
            return f"{sign}{size:.{0 if size >= 100 else 1}f}{unit}"
    if size >= 100 or size == 0:
        return f"{sign}{size:.0f}"
    places = min(5, max(1, 1 - math.floor(math.log10(size))))
    shown = f"{size:.{places}f}"
    return sign + (shown.rstrip("0").rstrip(".") if places > 2 else shown)


def percentage(value: float | None) -> str:
    if value is None:
        return NOTHING
    return f"{short(value)}%" if abs(value) >= 1e4 else f"{value:.0f}%"


def amount(micros: float | None) -> str:
    """Money without its currency, which the head of the screen names."""
    if micros is None:
        return NOTHING
    value = micros / 1e6
    return f"{value:.2f}" if 1 <= abs(value) < 1000 else short(value)


@dataclass(frozen=True, slots=True)
class Column:
    """`order` is what it sorts by, the least first unless `falling`; what is unknown comes last either way."""

    key: str
    head: str
    width: int
    text: Callable[[Row], str]
    order: Callable[[Row], Any]
    falling: bool = True
    left: bool = False


def _urgency(row: Row) -> int:
    return _URGENT.index(row.shown) if row.shown in _URGENT else len(_URGENT)


NAME = Column("name", "name", 16, lambda row: row.name, lambda row: row.name.casefold(), falling=False, left=True)
STATE = Column(
    "state", "state", 7, lambda row: _SHORT.get(row.shown, row.shown), _urgency, falling=False, left=True
)  # fmt: skip
DEPARTMENT = Column(
    "department", "department", 12, lambda row: row.department, lambda row: row.department, falling=False, left=True
)
RUNNING = Column("run", "run", 5, lambda row: f"{row.running}/{row.replicas}", lambda row: row.running)
RUNS = Column("runs", "runs/m", 6, lambda row: short(row.runs), lambda row: row.runs)
SUCCESS = Column("ok", "ok", 5, lambda row: percentage(row.success), lambda row: row.success, falling=False)
CPU = Column("cpu", "cpu", 5, lambda row: percentage(row.cpu), lambda row: row.cpu)
MEMORY = Column("memory", "MB", 6, lambda row: short(row.memory_mb), lambda row: row.memory_mb)
SPENT = Column("spend", "cost/m", 7, lambda row: amount(row.spent), lambda row: row.spent)
EARNED = Column("earn", "earn/m", 7, lambda row: amount(row.earned), lambda row: row.earned)
ROI = Column("roi", "ROI", 7, lambda row: percentage(row.roi), lambda row: row.roi)
NOTE = Column("note", "note", 8, lambda row: row.note, lambda row: row.note, left=True)

SORTS = (NAME, STATE, SPENT, EARNED, ROI, RUNS, SUCCESS, CPU)
_NARROW = (NAME, STATE, RUNNING, RUNS, SUCCESS, CPU, SPENT, ROI, NOTE)
_WIDE = (NAME, DEPARTMENT, STATE, RUNNING, RUNS, SUCCESS, CPU, MEMORY, SPENT, EARNED, ROI, NOTE)
_WIDE_FROM = 110
_LEAST_NOTE = 8


def arranged(rows: Iterable[Row], by: Column, *, backward: bool = False) -> list[Row]:
    """Sorted, equal ones by name; what is unknown comes last."""
    known: list[Row] = []
    unknown: list[Row] = []
    for row in sorted(rows, key=lambda row: row.name.casefold()):
        (unknown if by.order(row) is None else known).append(row)
    return sorted(known, key=by.order, reverse=by.falling != backward) + unknown


@dataclass(frozen=True, slots=True)
class Plan:
    """The columns that fit a width, and how wide each is."""

    columns: tuple[Column, ...]
    widths: tuple[int, ...]

    def cells(self, row: Row) -> tuple[str, ...]:
        return tuple(
            fitted(column.text(row), width, left=column.left)
            for column, width in zip(self.columns, self.widths, strict=True)
        )

    def heads(self, by: Column, *, backward: bool) -> tuple[str, ...]:
        arrow = "▲" if by.falling == backward else "▼"
        marked = [f"{column.head}{arrow}" if column is by else column.head for column in self.columns]
        return tuple(
            fitted(head, width, left=column.left)
            for head, column, width in zip(marked, self.columns, self.widths, strict=True)
        )


def plan(width: int, rows: Sequence[Row]) -> Plan:
    """Names and departments as wide as they are, up to a third of the room; the note has what is left."""
    columns = _WIDE if width >= _WIDE_FROM else _NARROW
    widths = [column.width for column in columns]
    longest = max((cells(row.name) for row in rows), default=0)
    rest = width - sum(widths) - len(columns) + 1
    grown = max(0, min(longest - widths[0], rest, width // 3 - widths[0]))
    widths[0] += grown
    widths[-1] = max(0, widths[-1] + rest - grown)
    if widths[-1] < _LEAST_NOTE and rest < 0:  # a terminal narrower than eighty
        widths[0] = max(8, widths[0] + rest + NOTE.width)
    return Plan(columns, tuple(widths))


def fitted(text: str, width: int, *, left: bool = True) -> str:
    """In exactly so many places; a text that is too long loses its end, a figure is never cut."""
    taken = cells(text)
    if taken <= width:
        blank = " " * (width - taken)
        return text + blank if left else blank + text
    if not left:
        return text
    while text and cells(text) > width - 1:
        text = text[:-1]
    return f"{text}…" + " " * (width - cells(text) - 1) if width > 0 else ""
