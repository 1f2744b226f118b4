"""How long replicas ran: what was declared of a deployment over time, walked back from what is declared now."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from nova.ledger.schema import audit, decisions

_BY_ENGINE = ("scale_up", "scale_down", "pause", "resume")
_PARKS = ("crash_parked", "hung_parked")  # by the manager, and no matter of minutes
_BY_PEOPLE = ("scaled", "paused", "resumed", "deployed")


@dataclass(frozen=True, slots=True)
class Turn:
    """Something changed at `at_us`; before it there were `replicas`, and it ran or not. None: as after it."""

    at_us: int
    replicas: int | None = None
    ran: bool | None = None


def served_us(turns: Iterable[Turn], replicas: int, runs: bool, start_us: int, end_us: int) -> int:
    """Replicas times microseconds from `start_us` until `end_us`; `replicas` and `runs` are what holds now. Pure."""
    total, until = 0, end_us
    for turn in sorted(turns, key=lambda one: one.at_us, reverse=True):
        if turn.at_us <= start_us:
            break
        if turn.at_us < until:
            total += (until - turn.at_us) * replicas * runs
            until = turn.at_us
        replicas = replicas if turn.replicas is None else max(turn.replicas, 1)
        runs = runs if turn.ran is None else turn.ran
    return total + max(until - start_us, 0) * replicas * runs


def read_turns(conn: Connection, since_us: int) -> dict[str, list[Turn]]:
    """By worker, since then (microseconds): what the engine executed and what people did.

    Time that a budget or a cooldown stopped it counts as served: it is part of what a day of it costs.
    """
    found: dict[str, list[Turn]] = defaultdict(list)
    for worker, turn in (*_executed(conn, since_us), *_by_people(conn, since_us)):
        found[worker].append(turn)
    return found


def _executed(conn: Connection, since_us: int) -> Iterator[tuple[str, Turn]]:
    kept = decisions.c
    query = select(kept.worker, kept.kind, kept.actor, kept.rule, kept.updated_us, kept.body).where(
        kept.state == "executed", kept.kind.in_(_BY_ENGINE), kept.updated_us > since_us
    )
    for row in conn.execute(query):
        if row.actor == "manager" and row.rule not in _PARKS:
            continue
        before = None if row.kind == "resume" else json.loads(row.body).get("from_replicas")
        ran = {"pause": True, "resume": False}.get(row.kind)
        yield row.worker, Turn(row.updated_us, before, ran)


def _by_people(conn: Connection, since_us: int) -> Iterator[tuple[str, Turn]]:
    query = select(audit.c.at_us, audit.c.action, audit.c.subject, audit.c.detail).order_by(audit.c.seq.desc())
    with conn.execution_options(yield_per=1000).execute(query) as rows:
        for row in rows:
            if row.at_us <= since_us:
                break  # the trail is in the order of time, and grows for ever
            if row.action in _BY_PEOPLE and (turn := _turn(row.action, row.at_us, json.loads(row.detail))):
                yield row.subject, turn


def _turn(action: str, at_us: int, detail: Mapping[str, Any]) -> Turn | None:
    """From the audit row of what a person did; None where it changed neither replicas nor whether it runs."""
    if action == "scaled":
        return Turn(at_us, replicas=detail.get("from"))
    if action == "paused":
        return Turn(at_us, ran=True)
    if action == "resumed":
        return None if detail.get("from") == "cooling_down" else Turn(at_us, ran=False)
    declared = detail.get("changes", {}).get("replicas")
    return Turn(at_us, replicas=declared[0]) if isinstance(declared, list) else None
