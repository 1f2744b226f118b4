"""The words of the screens beside the table: a decision, a deployment's details, the keys. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from nova.cli import render
from nova.cli.layout import cells, folded_text
from nova.cli.terminal import printable
from nova.cli.top.head import BAD, DIM, GOOD, PLAIN, STRONG, WARN, Words, bar, length
from nova.cli.top.rows import clock_time, fitted
from nova.clock import format_duration, parse_time
from nova.fleet.documents import Deployment
from nova.ledger.run_records import RunRecord

_ROOMY = 100

KEYS = (
    ("↑ ↓ k j", "choose a deployment, or a decision that waits"),
    ("Tab", "change between the deployments and the decisions"),
    ("Enter", "show all of the chosen one"),
    ("l", "follow its log"),
    ("p  r", "pause it, let it run again"),
    ("+  -", "one replica more, one less"),
    ("a  x", "approve or reject the decision; you are asked first"),
    ("s  S", "sort by the next column; turn the order round"),
    ("/", "show only names and departments with this; Esc shows all"),
    ("q", "leave; everything goes on running"),
)


def waiting(decision: Mapping[str, Any], width: int, currency: str, now: datetime) -> Words:
    """A decision on one line."""
    expires = parse_time(decision["expires_at"]) if decision["expires_at"] else None
    left = render.age(expires, now).removeprefix("in ") if expires else render.NOTHING
    words: Words = [
        (f"{decision['id']}  ", DIM),
        (fitted(_what(decision, " {} → {}"), min(44, width // 3 + 6)), STRONG),
        (f"  {_cost(decision, currency):<14}", WARN),
        (f"  ROI {_bounds(decision) if width >= _ROOMY else render.percent(decision.get('roi_percent'))}", PLAIN),
        (f"  {left} left", DIM),
    ]
    return within(words, width)


def question(decision: Mapping[str, Any], verb: str, currency: str) -> str:
    """What is asked before a decision is answered: with what it costs."""
    lines = [
        f"{verb} {decision['id']}: {_what(decision)}?",
        "",
        f"cost    {_cost(decision, currency)}{_most(decision, currency)}",
        f"ROI     {_bounds(decision)}",
        f"because {printable(str(decision['reason']))}",
        "",
        "It is decided again first and refused if the figures now say something else."
        if verb == "Approve"
        else "The same proposal stays silent for a day.",
    ]
    return "\n".join(lines)


def _what(decision: Mapping[str, Any], step: str = ", {} to {} replicas") -> str:
    before, after = decision.get("from_replicas"), decision.get("to_replicas")
    steps = step.format(before, after) if before != after and after is not None else ""
    return f"{str(decision['kind']).replace('_', ' ')} {decision['worker']}{steps}"


def _cost(decision: Mapping[str, Any], currency: str) -> str:
    impact = decision.get("daily_cost_impact")
    return "no cost known" if impact is None else f"{render.money_text(impact, currency)} a day"


def _most(decision: Mapping[str, Any], currency: str) -> str:
    """An approval holds up to this; said where it is more than what stands there."""
    most = decision.get("approve_up_to")
    if not most or most == decision.get("daily_cost_impact"):
        return ""
    return f", and yes holds up to {render.money_text(most, currency)} a day"


def _bounds(decision: Mapping[str, Any]) -> str:
    low, high = decision.get("roi_low"), decision.get("roi_high")
    shown = render.percent(decision.get("roi_percent"))
    return shown if low is None else f"{shown} ({render.percent(low)} to {render.percent(high)})"


def within(words: Words, width: int) -> Words:
    """What does not fit is left out, from the end."""
    kept: Words = []
    for text, style in words:
        rest = width - length(kept)
        if rest <= 0:
            break
        kept.append((text if cells(text) <= rest else fitted(text, rest), style))
    return kept


def folded(words: Words, width: int) -> Iterator[Words]:
    """What does not fit goes on below its last piece's beginning."""
    *before, (text, style) = words or [("", PLAIN)]
    indent = length(before)
    if length(words) <= width or indent > width // 2:
        yield words
        return
    first, *rest = folded_text(text.strip(), width - indent - len(text) + len(text.lstrip()))
    lead = " " * (len(text) - len(text.lstrip()))
    yield [*before, (lead + first, style)]
    yield from ([(" " * indent + lead + line, style)] for line in rest)


def details(
    found: Mapping[str, Any], worker: Mapping[str, Any] | None, now: datetime, zone: ZoneInfo, width: int
) -> Iterator[Words]:
    for words in _details(found, worker, now, zone, width):
        yield from folded(words, width)


def _details(
    found: Mapping[str, Any], worker: Mapping[str, Any] | None, now: datetime, zone: ZoneInfo, width: int
) -> Iterator[Words]:
    one: Deployment = found["deployment"]
    yield [(one.name, STRONG), (f"  {one.agent} in {one.department}, {one.runtime}", DIM)]
    yield []
    reason = f" ({one.pause_reason})" if one.pause_reason else ""
    until = f" until {clock_time(one.state_until, now, zone)}" if one.state_until else ""
    yield _fact(
        "state", f"{one.state.replace('_', ' ')}{reason}{until}, since {clock_time(one.state_since, now, zone)}"
    )
    yield _fact("replicas", f"{one.replicas} of at most {one.max_replicas}")
    yield _fact("due", _due(one))
    yield _fact("timeout", f"{format_duration(one.timeout_s)} a run")
    for key, value in found["config"].items():
        yield _fact(key, printable(str(value)))
    if worker is not None:
        yield from _lifetime(worker)
        yield from _instances(worker, now, zone)
    if found["budgets"]:
        yield from _titled("budgets")
        yield from ([("  ", PLAIN), *bar(one, one.per, width - 2, 6)] for one in found["budgets"])
    yield from _runs(found["runs"], now, zone)
    yield from _decisions(found["decisions"], now, zone)
    if worker is not None and worker["last_error"]:
        yield from _titled("last error")
        yield from ([(f"  {printable(line)}", BAD)] for line in str(worker["last_error"]).splitlines()[-8:])


def _due(one: Deployment) -> str:
    schedule = one.schedule
    often = (
        f"cron {schedule.cron}"
        if schedule.cron
        else "once"
        if schedule.once
        else f"every {format_duration(one.every_s)}"
    )
    zone = f" in {schedule.timezone}" if schedule.timezone and schedule.cron else ""
    return f"{often}{zone}" + (f", within {', '.join(schedule.windows)}" if schedule.windows else "")


def _lifetime(worker: Mapping[str, Any]) -> Iterator[Words]:
    counts = f"{worker['runs']:,}: {worker['succeeded']:,} succeeded, {worker['failed']:,} failed"
    yield _fact("runs", f"{counts}, {worker['interrupted']:,} interrupted, {worker['crashes']:,} crashed")
    sums = f"revenue {worker['revenue']}, cost {worker['cost']}, profit {worker['profit']}"
    yield _fact("ever", f"{sums}, ROI {render.percent(worker['roi_percent'])}")


def _instances(worker: Mapping[str, Any], now: datetime, zone: ZoneInfo) -> Iterator[Words]:
    yield from _titled("instances")
    for one in worker["instances"]:
        since = (
            f", run since {clock_time(one['run_started_at'], now, zone, seconds=True)}" if one["run_started_at"] else ""
        )
        due = f", next {clock_time(one['next_run_at'], now, zone, seconds=True)}" if one.get("next_run_at") else ""
        yield [(f"  {one['id']}  ", PLAIN), (one["state"], _colour(one["state"])), (f"{since}{due}", DIM)]


def _runs(runs: list[RunRecord], now: datetime, zone: ZoneInfo) -> Iterator[Words]:
    yield from _titled("last runs")
    for run in runs:
        took = render.duration((run.ended_at - run.started_at).total_seconds()) if run.ended_at else "so far"
        said = f"  {printable(render.short(run.error, 60))}" if run.error else ""
        when = clock_time(run.started_at, now, zone, seconds=True)
        yield [(f"  {when}  {run.instance}  ", DIM), (run.status, _colour(run.status)), (f"  {took}{said}", DIM)]
    if not runs:
        yield [("  none yet", DIM)]


def _decisions(decisions: list[dict[str, Any]], now: datetime, zone: ZoneInfo) -> Iterator[Words]:
    if decisions:
        yield from _titled("last decisions")
    for one in decisions:
        when = clock_time(one["at"], now, zone)
        yield [(f"  {when}  {one['id']}  ", DIM), (f"{one['kind']} {one['state']}", _colour(one["state"]))]
        yield [(f"    {printable(str(one['reason']))}", DIM)]


def _titled(title: str) -> Iterator[Words]:
    yield []
    yield [(title, STRONG)]


def _fact(name: str, value: str) -> Words:
    return [(f"{name:<10}", DIM), (value, PLAIN)]


def _colour(state: str) -> str:
    return COLOURS.get(state, PLAIN)


COLOURS = {
    **dict.fromkeys(("active", "running", "succeeded", "executed", "approved"), GOOD),
    **dict.fromkeys(("paused", "cooling_down", "backing_off", "pending", "deferred", "interrupted"), WARN),
    **dict.fromkeys(("parked", "hung", "failed", "rejected"), BAD),
    **dict.fromkeys(("waiting", "done", "killed", "stopped", "expired", "superseded"), DIM),
}
