"""One cycle: look at every deployment, decide, pass the gate, carry out, record, tell."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from nova.autonomous.budget import DayBudget, scopes_of
from nova.autonomous.decision import Kind
from nova.autonomous.engine import decide
from nova.autonomous.evidence import Evidence
from nova.autonomous.execute import close, execute, finish_leftovers
from nova.autonomous.gate import DEFERRED, EXECUTE, PENDING, Gated, Situation, Standing, gate
from nova.autonomous.office import OFF_THE_CLOCK, Office, cycle_lock, is_enabled, look, policy_of
from nova.autonomous.policy import Policy
from nova.autonomous.records import ENGINE, brought_up, keep_ids, record_of, refresh, shown
from nova.autonomous.reinvesting import decisions, plan_if_wanted
from nova.clock import iso
from nova.errors import UsageProblem
from nova.ledger.decisions import CycleRecord, DecisionRecord, add, add_cycle, free_ids, restate, short_id, transition
from nova.money import Money
from nova.revenue.shared import book_due
from nova.words import count

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from nova.autonomous.gather import Gathered
    from nova.fleet.documents import FleetSnapshot

log = logging.getLogger(__name__)

_DAY = timedelta(days=1)
_STATES = {EXECUTE: "approved", PENDING: "pending", DEFERRED: "deferred"}


@dataclass(frozen=True, slots=True)
class CycleResult:
    """`decisions` in the order they passed the gate; without holds unless they were asked for."""

    cycle: str
    at: datetime
    enabled: bool
    dry_run: bool
    policy_version: int
    currency: str
    evaluated: int
    budget: DayBudget
    decisions: tuple[DecisionRecord, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "cycle": self.cycle,
            "at": iso(self.at),
            "enabled": self.enabled,
            "dry_run": self.dry_run,
            "policy_version": self.policy_version,
            "currency": self.currency,
            "evaluated": self.evaluated,
            "budget": self.budget.to_json(),
            "decisions": [shown(record) for record in self.decisions],
        }


def run_cycle(
    nova: Office, *, now: datetime | None = None, dry_run: bool = False, include_holds: bool = False
) -> CycleResult:
    """`now` is the instant to take as now. Raises LockHeld, with nothing changed, while another cycle runs.

    Raises UsageProblem for a `now` before 1970.
    """
    if now is not None and now.year < 1970:
        raise UsageProblem(f"nothing was recorded before 1970: {iso(now)}")
    with cycle_lock(nova):
        clock = nova.clock.now()
        at = now or clock
        live = not dry_run and abs(at - clock) <= OFF_THE_CLOCK
        if live:
            finish_leftovers(nova, nova.fleet.snapshot())
            nova.ledger.decisions.expire(clock)
            book_due(nova)
        snapshot = nova.fleet.snapshot()
        enabled = is_enabled(nova, snapshot)
        return _Cycle(nova, snapshot, policy_of(nova, snapshot), at, enabled, dry_run, live).run(include_holds)


@dataclass(frozen=True, slots=True)
class _Cycle:
    nova: Office
    snapshot: FleetSnapshot
    policy: Policy
    at: datetime
    enabled: bool
    dry_run: bool
    live: bool

    @property
    def acts(self) -> bool:
        return self.live and self.enabled

    def run(self, include_holds: bool) -> CycleResult:
        id = short_id("c")
        gathered = look(self.nova, self.snapshot, self.policy, self.at)
        seen = {evidence.worker: evidence for evidence in gathered.evidence}
        pending = self.nova.ledger.decisions.by_state("pending")
        waiting = {record.worker: record for record in pending if record.kind != Kind.BUDGET}
        verdicts = [decide(evidence, self.policy, self.at) for evidence in seen.values()]
        put_back = plan_if_wanted(self.nova, self.snapshot, self.policy, gathered, self.at)
        if put_back is not None:
            verdicts += decisions(put_back, self.policy, seen)
        passed = gate(verdicts, self.policy, self._situation(gathered, waiting))
        if not include_holds:
            passed = [each for each in passed if each.decision.kind is not Kind.HOLD]
        records = self._record(id, passed, seen, waiting, gathered.budget, put_back.outdated if put_back else ())
        if self.acts:
            records = self._carry_out(records)
        self._tell(id, records, waiting, seen)
        result = CycleResult(
            id, self.at, self.enabled, self.dry_run, self.policy.version, self.policy.currency, len(seen),
            gathered.budget, tuple(records),
        )  # fmt: skip
        log.info(
            "cycle_done", extra={"action": "cycle_done", "cycle": id, "evaluated": len(seen), "decisions": len(records)}
        )
        return result

    def _situation(self, gathered: Gathered, waiting: Mapping[str, DecisionRecord]) -> Situation:
        decisions = self.nova.ledger.decisions
        rejected = decisions.rejected_since(self.nova.clock.now() - self.policy.rejection_silence)
        return Situation(
            evaluated=len(gathered.evidence),
            added=decisions.added_without_person(self.nova.clock.now() - _DAY),
            budget_left={scope: budget.remaining for scope, budget in gathered.budgets.items()},
            scopes={evidence.worker: scopes_of(evidence) for evidence in gathered.evidence},
            advise_only=not self.acts,
            silenced=frozenset(fingerprint for _, fingerprint in rejected),
            standing={worker: _standing(record, self.policy.currency) for worker, record in waiting.items()},
        )

    def _record(
        self,
        id: str,
        passed: Sequence[Gated],
        seen: Mapping[str, Evidence],
        waiting: Mapping[str, DecisionRecord],
        budget: DayBudget,
        outdated: Sequence[DecisionRecord],
    ) -> list[DecisionRecord]:
        """All of the cycle in one transaction: what is to be done is written down before anything is."""
        kept = {each.keeps for each in passed if each.keeps}
        gone = [record for record in (*waiting.values(), *outdated) if record.id not in kept] if self.acts else []
        cycle = CycleRecord(
            id, self.at, self.enabled, not self.live, self.policy.version, len(seen),
            {"budget": budget.to_json(), "stale": _stale(seen), "decisions": len(passed)},
        )  # fmt: skip

        def work(conn: Connection) -> list[DecisionRecord]:
            for record in gone:
                transition(conn, record.id, ("pending",), "superseded", ENGINE, self.nova.clock.now())
            ids = iter(free_ids(conn, len(passed)))
            records = [self._one(each, seen, waiting, next(ids), id) for each in passed]
            for record in records:
                if record.id in kept and record is not waiting[record.worker]:
                    restate(conn, record, ENGINE, self.nova.clock.now())
            records = keep_ids(conn, records, self.at)
            there = refresh(conn, records) | kept
            add(conn, [record for record in records if record.id not in there])
            add_cycle(conn, cycle)
            return records

        return self.nova.ledger.apply(work)

    def _one(
        self,
        each: Gated,
        seen: Mapping[str, Evidence],
        waiting: Mapping[str, DecisionRecord],
        id: str,
        cycle: str,
    ) -> DecisionRecord:
        worker = each.decision.worker
        state = _STATES.get(each.outcome, "advised")
        record = record_of(
            each.decision, seen[worker], self.policy, id=id, state=state, cycle=cycle, at=self.at,
            requires_approval=each.requires_approval,
        )  # fmt: skip
        return brought_up(waiting[worker], record, self.policy) if each.keeps else record

    def _carry_out(self, records: Sequence[DecisionRecord]) -> list[DecisionRecord]:
        """Budgets after the rest, on what that has left: both may concern the same deployment."""
        approved = [one for one in records if one.state == "approved"]
        outcomes = execute(self.nova, [one for one in approved if one.kind != Kind.BUDGET], self.snapshot)
        budgets = [one for one in approved if one.kind == Kind.BUDGET]
        if budgets:
            outcomes += execute(self.nova, budgets, self.nova.fleet.snapshot())
        closed = {one.id: one for one in close(self.nova, outcomes)}
        return [closed.get(one.id, one) for one in records]

    def _tell(
        self,
        id: str,
        records: Sequence[DecisionRecord],
        waiting: Mapping[str, DecisionRecord],
        seen: Mapping[str, Evidence],
    ) -> None:
        """Once for each approval that is asked for, and once when revenue becomes stale, whatever the switch says."""
        alerts = self.nova.alerts
        if alerts is None or not self.live:
            return
        known = {record.id for record in waiting.values()}
        for record in records:
            if record.state == "pending" and record.id not in known:
                body = f"{record.reason}\nApprove it with `nova autonomous approve {record.id}`, or reject it."
                alerts.send("approval_waiting", f"{record.kind} of {record.worker} waits for you", body)
        stale = _stale(seen)
        before = next((one for one in self.nova.ledger.decisions.cycles(2, live=True) if one.id != id), None)
        if stale and (before is None or stale != before.body.get("stale")):
            held = count(sum(bool(evidence.stale) for evidence in seen.values()), "deployment")
            body = f"{held} held until `nova revenue sync` succeeds."
            alerts.send("revenue_stale", f"revenue is stale: {', '.join(stale)}", body)


def _stale(seen: Mapping[str, Evidence]) -> list[str]:
    return sorted({source for evidence in seen.values() for source in evidence.stale})


def _standing(record: DecisionRecord, currency: str) -> Standing:
    return Standing(record.id, record.fingerprint, Money.parse(str(record.body["first_asked"]), currency))
