"""Decisions and cycles. Every step of a decision that matters leaves an audit row in the same transaction."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, insert, select, update

from nova.clock import from_us, iso, to_us
from nova.errors import NotFound, Refused
from nova.ledger import audit
from nova.ledger.schema import cycles, decisions
from nova.money import Money

if TYPE_CHECKING:
    from nova.ledger.store import Store

IMPACT = "daily_cost_impact"
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # without what is easily read as something else
_SILENT = frozenset({"advised", "deferred"})  # nothing happened, so nothing to answer for
_BY_NOBODY = ("engine", "manager")


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """`body` is JSON: figures, evidence, the policy and its version.

    Once a person decided it holds `decided_by` and `note`. `body["daily_cost_impact"]` is an amount in the reporting
    currency, as a string.
    """

    id: str
    at: datetime
    worker: str
    kind: str
    state: str
    rule: str
    reason: str
    actor: str
    fingerprint: str
    cycle: str | None = None
    expires_at: datetime | None = None
    updated_at: datetime | None = None
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CycleRecord:
    """`dry_run`: it could not have acted, because it was one or because it replayed another time."""

    id: str
    at: datetime
    enabled: bool
    dry_run: bool
    policy_version: int
    evaluated: int
    body: Mapping[str, Any] = field(default_factory=dict)


def short_id(prefix: str = "d") -> str:
    """Short enough to be typed: d-7k2m9x. `free_ids` gives those that are not taken."""
    return f"{prefix}-" + "".join(secrets.choice(_ALPHABET) for _ in range(6))


def free_ids(conn: Connection, count: int) -> list[str]:
    """Ids that no decision has."""
    free: set[str] = set()
    while len(free) < count:
        drawn = {short_id() for _ in range(count - len(free))}
        taken = conn.execute(select(decisions.c.id).where(decisions.c.id.in_(drawn))).scalars()
        free |= drawn - set(taken)
    return list(free)


def add(conn: Connection, records: Iterable[DecisionRecord]) -> None:
    """Records decisions; those that did or may do something (no advice, nothing put off, no holds) are audited."""
    rows = list(records)
    if not rows:
        return
    conn.execute(insert(decisions), [_values(record) for record in rows])
    for record in rows:
        if record.state not in _SILENT and record.kind != "hold":
            detail = {"worker": record.worker, "kind": record.kind, "rule": record.rule, "reason": record.reason}
            audit.append(conn, record.at, record.actor, f"decision_{record.state}", record.id, detail)


def transition(
    conn: Connection,
    decision: str,
    from_states: Collection[str],
    to_state: str,
    actor: str,
    at: datetime,
    *,
    note: str | None = None,
    changes: Mapping[str, Any] | None = None,
) -> DecisionRecord:
    """Moves a decision on, once: of two who try, one is Refused. `changes` go into its body.

    A person's verdict (to approved or rejected) stays in the body as `decided_by`, `decided_at` and `note`.
    """
    record = get(conn, decision)
    if record.state not in from_states:
        raise Refused(f"the decision {decision} is {record.state}, not {' or '.join(sorted(from_states))}")
    verdict = {"decided_by": actor, "decided_at": iso(at), "note": note} if to_state in ("approved", "rejected") else {}
    body = {**record.body, **verdict, **(changes or {})}
    moved = conn.execute(
        update(decisions)
        .where(decisions.c.id == decision, decisions.c.state == record.state)
        .values(state=to_state, updated_us=to_us(at), body=_json(body))
    )
    if not moved.rowcount:
        raise Refused(f"the decision {decision} was just decided by somebody else")
    detail = {"from": record.state, "worker": record.worker, "kind": record.kind, "note": note, **(changes or {})}
    audit.append(conn, at, actor, f"decision_{to_state}", decision, detail)
    return replace(record, state=to_state, updated_at=at, body=json.loads(_json(body)))


def restate(conn: Connection, record: DecisionRecord, actor: str, at: datetime) -> DecisionRecord:
    """Brings what a waiting decision shows up to date under its id; when it was asked and when it expires stay.

    Refused when it waits no longer. The audit row tells which amount stood there before.
    """
    before = get(conn, record.id)
    if before.state != "pending":
        raise Refused(f"the decision {record.id} is {before.state}, not pending")
    conn.execute(
        update(decisions)
        .where(decisions.c.id == record.id)
        .values(rule=record.rule, reason=record.reason, body=_json(record.body), updated_us=to_us(at))
    )
    impacts = {"from": before.body.get(IMPACT), "to": record.body.get(IMPACT)}
    detail = {"worker": record.worker, "kind": record.kind, IMPACT: impacts, "reason": record.reason}
    audit.append(conn, at, actor, "decision_restated", record.id, detail)
    return replace(record, updated_at=at)


def expire(conn: Connection, now: datetime) -> list[DecisionRecord]:
    """Silence means no: what waited for a person past its expiry is expired."""
    late = select(decisions.c.id).where(decisions.c.state == "pending", decisions.c.expires_us <= to_us(now))
    ids = conn.execute(late.order_by(decisions.c.at_us)).scalars().all()
    return [transition(conn, decision, ("pending",), "expired", "engine", now) for decision in ids]


def get(conn: Connection, decision: str) -> DecisionRecord:
    row = conn.execute(select(decisions).where(decisions.c.id == decision)).one_or_none()
    if row is None:
        raise NotFound(f"no decision {decision}", hint="`nova autonomous history` lists them")
    return _record(row)


def added_without_person(conn: Connection, since: datetime, currency: str) -> Money:
    """What the decisions executed after `since` without a person's approval add a day; reductions give no credit."""
    unattended = select(decisions.c.body).where(
        decisions.c.state == "executed",
        decisions.c.updated_us > to_us(since),
        decisions.c.actor.in_(_BY_NOBODY),
    )
    bodies = (json.loads(body) for body in conn.execute(unattended).scalars())
    impacts = (
        Money.parse(body[IMPACT], currency) for body in bodies if body.get(IMPACT) and not body.get("decided_by")
    )
    return Money.total((impact for impact in impacts if impact.micros > 0), currency)


def add_cycle(conn: Connection, cycle: CycleRecord) -> None:
    values = {"id": cycle.id, "at_us": to_us(cycle.at), "enabled": cycle.enabled, "dry_run": cycle.dry_run}
    values |= {"policy_version": cycle.policy_version, "evaluated": cycle.evaluated, "body": _json(cycle.body)}
    conn.execute(insert(cycles), values)


class Decisions:
    """What was decided, by whom, and what became of it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def free_ids(self, count: int) -> list[str]:
        with self._store.read() as conn:
            return free_ids(conn, count)

    def add(self, records: Iterable[DecisionRecord]) -> None:
        rows = list(records)
        self._store.apply(lambda conn: add(conn, rows))

    def transition(
        self,
        decision: str,
        from_states: Collection[str],
        to_state: str,
        actor: str,
        *,
        note: str | None = None,
        changes: Mapping[str, Any] | None = None,
        at: datetime | None = None,
    ) -> DecisionRecord:
        """Refused when the decision is in none of `from_states`, so exactly one of two approvers wins."""
        when = at or self._store.clock.now()
        return self._store.apply(
            lambda conn: transition(conn, decision, from_states, to_state, actor, when, note=note, changes=changes)
        )

    def expire(self, now: datetime | None = None) -> list[DecisionRecord]:
        return self._store.apply(lambda conn: expire(conn, now or self._store.clock.now()))

    def get(self, decision: str) -> DecisionRecord:
        with self._store.read() as conn:
            return get(conn, decision)

    def by_state(self, *states: str) -> list[DecisionRecord]:
        """The oldest first."""
        query = select(decisions).where(decisions.c.state.in_(states)).order_by(decisions.c.at_us, decisions.c.id)
        return self._all(query)

    def history(
        self,
        worker: str | None = None,
        since: datetime | None = None,
        *,
        holds: bool = False,
        limit: int | None = None,
    ) -> list[DecisionRecord]:
        """The newest first."""
        query = select(decisions).order_by(decisions.c.at_us.desc(), decisions.c.updated_us.desc(), decisions.c.id)
        if worker is not None:
            query = query.where(decisions.c.worker == worker)
        if since is not None:
            query = query.where(decisions.c.at_us >= to_us(since))
        if not holds:
            query = query.where(decisions.c.kind != "hold")
        return self._all(query.limit(limit))

    def of_kind(self, kind: str, since: datetime, states: Collection[str]) -> list[DecisionRecord]:
        """The newest first."""
        query = select(decisions).where(
            decisions.c.kind == kind, decisions.c.at_us >= to_us(since), decisions.c.state.in_(states)
        )
        return self._all(query.order_by(decisions.c.at_us.desc(), decisions.c.updated_us.desc(), decisions.c.id))

    def rejected_since(self, since: datetime) -> frozenset[tuple[str, str]]:
        """The (worker, fingerprint) of what a person rejected after `since`."""
        query = select(decisions.c.worker, decisions.c.fingerprint).where(
            decisions.c.state == "rejected", decisions.c.updated_us > to_us(since)
        )
        with self._store.read() as conn:
            return frozenset((row.worker, row.fingerprint) for row in conn.execute(query))

    def added_without_person(self, since: datetime) -> Money:
        with self._store.read() as conn:
            return added_without_person(conn, since, self._store.currency)

    def cycles(self, limit: int = 1, *, until: datetime | None = None, live: bool = False) -> list[CycleRecord]:
        """The newest first; `live` leaves out dry runs and replays."""
        query = select(cycles).order_by(cycles.c.at_us.desc(), cycles.c.id).limit(limit)
        if until is not None:
            query = query.where(cycles.c.at_us <= to_us(until))
        if live:
            query = query.where(cycles.c.dry_run.is_(False))
        with self._store.read() as conn:
            return [_cycle(row) for row in conn.execute(query)]

    def _all(self, query: Any) -> list[DecisionRecord]:
        with self._store.read() as conn:
            return [_record(row) for row in conn.execute(query)]


def _json(body: Mapping[str, Any]) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), default=str)


def _values(record: DecisionRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "cycle": record.cycle,
        "at_us": to_us(record.at),
        "worker": record.worker,
        "kind": record.kind,
        "state": record.state,
        "rule": record.rule,
        "reason": record.reason,
        "actor": record.actor,
        "fingerprint": record.fingerprint,
        "expires_us": None if record.expires_at is None else to_us(record.expires_at),
        "updated_us": to_us(record.updated_at or record.at),
        "body": _json(record.body),
    }


def _record(row: Row[Any]) -> DecisionRecord:
    return DecisionRecord(
        id=row.id,
        at=from_us(row.at_us),
        worker=row.worker,
        kind=row.kind,
        state=row.state,
        rule=row.rule,
        reason=row.reason,
        actor=row.actor,
        fingerprint=row.fingerprint,
        cycle=row.cycle,
        expires_at=None if row.expires_us is None else from_us(row.expires_us),
        updated_at=from_us(row.updated_us),
        body=json.loads(row.body),
    )


def _cycle(row: Row[Any]) -> CycleRecord:
    return CycleRecord(
        row.id, from_us(row.at_us), row.enabled, row.dry_run, row.policy_version, row.evaluated, json.loads(row.body)
    )
