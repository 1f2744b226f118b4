"""Decisions as the ledger keeps them and as the interface shows them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from nova.autonomous.decision import Decision, Kind
from nova.autonomous.evidence import Change, Evidence
from nova.autonomous.gate import approvable, has_moved
from nova.autonomous.policy import Policy
from nova.clock import iso, to_us
from nova.ledger.decisions import DecisionRecord
from nova.ledger.schema import decisions
from nova.money import Money

ENGINE = "engine"
_SILENT = ("advised", "deferred")
_DAY = timedelta(days=1)
_FIGURES = (
    "roi_percent",
    "roi_low",
    "roi_high",
    "confidence",
    "risk",
    "from_replicas",
    "to_replicas",
    "daily_cost_impact",
)


def record_of(
    decision: Decision,
    evidence: Evidence,
    policy: Policy,
    *,
    id: str,
    state: str,
    cycle: str,
    at: datetime,
    requires_approval: bool,
) -> DecisionRecord:
    """With all that explains it later: the evidence, the policy and its version, and what an approval is bound to."""
    waits = state == "pending"
    body: dict[str, Any] = {
        **{
            name: value
            for name, value in decision.to_json().items()
            if name not in ("worker", "kind", "rule", "reason")
        },
        "requires_approval": requires_approval,
        "hash": decision.hash,
        "policy_version": decision.policy_version,
        "policy": policy.to_json(),
        "evidence": evidence.to_json(),
    }
    if waits:
        body["approve_up_to"] = str(approvable(decision.daily_cost_impact, policy))
        body["first_asked"] = str(decision.daily_cost_impact)
    return DecisionRecord(
        id=id,
        at=at,
        worker=decision.worker,
        kind=decision.kind.value,
        state=state,
        rule=decision.rule,
        reason=decision.reason,
        actor=ENGINE,
        fingerprint=decision.fingerprint,
        cycle=cycle,
        expires_at=at + policy.approval_expiry if waits else None,
        body=body,
    )


def brought_up(waiting: DecisionRecord, newer: DecisionRecord, policy: Policy) -> DecisionRecord:
    """What waits, with the figures of `newer`, the same proposal, where its cost has moved; else as it is."""
    was, now = (Money.parse(str(one.body["daily_cost_impact"]), policy.currency) for one in (waiting, newer))
    if not has_moved(now, was, policy):
        return waiting
    body = {**newer.body, "first_asked": waiting.body["first_asked"]}
    return replace(waiting, rule=newer.rule, reason=newer.reason, body=body)


def decision_in(record: DecisionRecord, currency: str) -> Decision:
    """The decision the engine recorded. Raises KeyError for a record of somebody else's."""
    body, change = record.body, record.body.get("change")
    return Decision(
        worker=record.worker,
        kind=Kind(record.kind),
        rule=record.rule,
        reason=record.reason,
        from_replicas=body["from_replicas"],
        to_replicas=body["to_replicas"],
        daily_cost_impact=Money.parse(body["daily_cost_impact"], currency),
        policy_version=body["policy_version"],
        change=Change(change["key"], change["value"]) if change else None,
    )


def shown(record: DecisionRecord) -> dict[str, Any]:
    """A decision in the interface's JSON; enforcement by the manager, which has no figures, shows null."""
    body = record.body
    result: dict[str, Any] = {
        "id": record.id,
        "at": iso(record.at),
        "worker": record.worker,
        "kind": record.kind,
        "state": record.state,
        "rule": record.rule,
        "reason": record.reason,
        **{name: body.get(name) for name in _FIGURES},
        "change": body.get("change"),
        "requires_approval": bool(body.get("requires_approval")),
        "expires_at": iso(record.expires_at) if record.expires_at else None,
        "actor": record.actor,
    }
    for name in ("approve_up_to", "decided_by", "decided_at", "note", "outcome"):
        if body.get(name) is not None:
            result[name] = body[name]
    return result


def keep_ids(conn: Connection, records: Iterable[DecisionRecord], now: datetime) -> list[DecisionRecord]:
    """Advice that was given within the last day goes on under its id, so that frequent cycles do not fill the ledger.

    Only under the same state, and never under that of a later time: a dry run or a replay rewrites nothing else.
    """
    kept = decisions.c
    recent = select(kept.id, kept.worker, kept.fingerprint, kept.state).where(
        kept.at_us > to_us(now - _DAY), kept.at_us <= to_us(now), kept.state.in_(_SILENT)
    )
    known = {(row.worker, row.fingerprint, row.state): row.id for row in conn.execute(recent)}
    return [
        replace(record, id=known.get((record.worker, record.fingerprint, record.state), record.id))
        if record.state in _SILENT
        else record
        for record in records
    ]


def refresh(conn: Connection, records: Sequence[DecisionRecord]) -> set[str]:
    """Brings advice that is in the ledger up to date; returns the ids it found there."""
    ids = [record.id for record in records if record.state in _SILENT]
    there: set[str] = set()
    for start in range(0, len(ids), 1000):
        some = select(decisions.c.id).where(decisions.c.id.in_(ids[start : start + 1000]))
        there |= set(conn.execute(some).scalars())
    names = ("cycle", "state", "rule", "reason")
    values = [
        {
            "key": record.id,
            "at": to_us(record.at),
            "json": _json(record),
            **{f"new_{n}": getattr(record, n) for n in names},
        }
        for record in records
        if record.id in there
    ]
    if values:
        changed = update(decisions).where(decisions.c.id == bindparam("key"))
        changes: dict[str, Any] = {name: bindparam(f"new_{name}") for name in names}
        conn.execute(
            changed.values(at_us=bindparam("at"), updated_us=bindparam("at"), body=bindparam("json"), **changes), values
        )
    return there


def _json(record: DecisionRecord) -> str:
    return json.dumps(record.body, sort_keys=True, separators=(",", ":"), default=str)
