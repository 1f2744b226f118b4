"""A person's word on what waits for one."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from nova.autonomous.decision import Decision, Kind
from nova.autonomous.engine import decide
from nova.autonomous.execute import close, execute
from nova.autonomous.gate import approvable
from nova.autonomous.office import Office, cycle_lock, look, policy_of
from nova.autonomous.policy import Policy
from nova.autonomous.records import ENGINE, decision_in, shown
from nova.autonomous.reinvesting import decisions, plan
from nova.clock import iso
from nova.errors import Refused
from nova.ledger.decisions import DecisionRecord
from nova.money import Money
from nova.words import exact_money

if TYPE_CHECKING:
    from nova.autonomous.gather import Gathered
    from nova.fleet.documents import FleetSnapshot

_WAIT_S = 10.0  # an approval waits for a cycle that is under way
_AGAIN = "`nova autonomous run` proposes what is right now"


def approvals(nova: Office) -> dict[str, Any]:
    """What waits for a person, the oldest first."""
    now = nova.clock.now()
    waiting = nova.ledger.decisions.by_state("pending")
    return {"approvals": [{**shown(one), "created_at": iso(one.at)} for one in waiting if not _expired(one, now)]}


def approve(nova: Office, id: str, by: str, note: str | None = None) -> DecisionRecord:
    """Executes a waiting decision at once, if deciding now gives the same again and at no higher cost.

    Raises NotFound, Refused (not pending, expired, drifted) and LockHeld.
    """
    with cycle_lock(nova, _WAIT_S):
        record = _waiting(nova, id)
        now, snapshot = nova.clock.now(), nova.fleet.snapshot()
        policy = policy_of(nova, snapshot)
        meant = decision_in(record, policy.currency)
        if meant.hash != record.body["hash"]:
            raise Refused(f"the decision {id} is not what was proposed: its record was changed")
        if record.worker in policy.protected:
            raise Refused(f"{record.worker} is protected: the engine may only advise on it")
        gathered = look(nova, snapshot, policy, now)
        if record.worker not in {evidence.worker for evidence in gathered.evidence}:
            gone = "was killed" if record.worker in snapshot.deployments else "is not there any more"
            raise Refused(f"{record.worker} {gone}", hint=_AGAIN)
        _refuse_drift(meant, _again(nova, record, snapshot, policy, gathered, now), _amount(record, meant, policy))
        approved = nova.ledger.decisions.transition(id, ("pending",), "approved", by, note=note, at=now)
        (done,) = close(nova, execute(nova, [approved], snapshot), by)
        if done.state != "executed":
            raise Refused(f"the decision {id} is {done.state}: {done.body.get('outcome')}", hint=_AGAIN)
        return done


def _again(
    nova: Office, record: DecisionRecord, snapshot: FleetSnapshot, policy: Policy, gathered: Gathered, now: datetime
) -> Decision:
    """What deciding now gives for the same deployment."""
    seen = {evidence.worker: evidence for evidence in gathered.evidence}
    if record.kind != Kind.BUDGET:
        return decide(seen[record.worker], policy, now)
    found = decisions(plan(nova, snapshot, policy, gathered, now, without=record.id), policy, seen)
    same = next((one for one in found if one.worker == record.worker), None)
    if same is None:
        raise Refused(f"deciding now gives {record.worker} no such budget", hint=_AGAIN)
    return same


def reject(nova: Office, id: str, by: str, note: str | None = None) -> DecisionRecord:
    """The same proposal stays silent for a while. Raises NotFound, Refused and LockHeld."""
    with cycle_lock(nova, _WAIT_S):
        _waiting(nova, id)
        return nova.ledger.decisions.transition(id, ("pending",), "rejected", by, note=note, at=nova.clock.now())


def _waiting(nova: Office, id: str) -> DecisionRecord:
    record, now = nova.ledger.decisions.get(id), nova.clock.now()
    if record.state == "pending" and _expired(record, now):
        record = nova.ledger.decisions.transition(id, ("pending",), "expired", ENGINE, at=now)
    if record.state != "pending":
        raise Refused(f"the decision {id} is {record.state}: only what is pending can be decided", hint=_AGAIN)
    return record


def _expired(record: DecisionRecord, now: datetime) -> bool:
    return record.expires_at is not None and record.expires_at <= now


def _amount(record: DecisionRecord, meant: Decision, policy: Policy) -> Money:
    """Up to which daily cost the answer holds: what was shown, and never more than its figures and the policy allow."""
    shown_last = Money.parse(str(record.body["approve_up_to"]), policy.currency)
    return min(shown_last, approvable(meant.daily_cost_impact, policy))


def _refuse_drift(meant: Decision, found: Decision, amount: Money) -> None:
    if found.kind is not meant.kind:
        raise Refused(f"deciding now gives {found.kind} instead of {meant.kind}: {found.reason}", hint=_AGAIN)
    if found.fingerprint != meant.fingerprint and found.kind is Kind.BUDGET:
        raise Refused(f"deciding now gives another budget: {found.reason}", hint=_AGAIN)
    if found.fingerprint != meant.fingerprint:
        raise Refused(
            f"deciding now gives {found.from_replicas} to {found.to_replicas} replicas "
            f"instead of {meant.from_replicas} to {meant.to_replicas}",
            hint=_AGAIN,
        )
    if found.daily_cost_impact > amount:
        raise Refused(
            f"it would now add {exact_money(found.daily_cost_impact)} a day, "
            f"more than the {exact_money(amount)} that was proposed",
            hint=_AGAIN,
        )
