from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from nova.clock import ManualClock
from nova.errors import NotFound, Refused
from nova.ledger.audit import Audit
from nova.ledger.decisions import CycleRecord, DecisionRecord, Decisions, add_cycle, restate, short_id
from nova.ledger.store import Store
from nova.money import Money


@pytest.fixture
def decisions(store: Store) -> Decisions:
    return Decisions(store)


def record(clock: ManualClock, **changes: object) -> DecisionRecord:
    made = DecisionRecord(
        short_id(), clock.now(), "mailer", "scale_up", "pending", "scale", "it pays", "engine", "f1",
        expires_at=clock.now() + timedelta(hours=24), body={"daily_cost_impact": "60.00"},
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def actions(store: Store) -> list[tuple[str, str]]:
    return [(row.actor, row.action) for row in Audit(store).log()]


def test_what_was_recorded_comes_back(decisions: Decisions, clock: ManualClock) -> None:
    made = record(clock, cycle="c-1")
    decisions.add([made])
    assert decisions.get(made.id) == replace(made, updated_at=made.at)
    assert decisions.by_state("pending", "approved") == [decisions.get(made.id)]
    with pytest.raises(NotFound):
        decisions.get("d-nothing")


def test_a_step_is_audited_and_keeps_the_verdict(decisions: Decisions, store: Store, clock: ManualClock) -> None:
    made = record(clock)
    decisions.add([made])
    decisions.transition(made.id, ["pending"], "approved", "dana", note="go")
    done = decisions.transition(made.id, ["approved"], "executed", "engine", changes={"revision": 7})
    assert done.state == "executed" and done == decisions.get(made.id)
    assert (done.body["decided_by"], done.body["note"], done.body["revision"]) == ("dana", "go", 7)
    assert actions(store) == [
        ("engine", "decision_pending"), ("dana", "decision_approved"), ("engine", "decision_executed"),
    ]  # fmt: skip
    assert Audit(store).verify().ok


def test_a_step_from_another_state_is_refused_and_leaves_no_trace(
    decisions: Decisions, store: Store, clock: ManualClock
) -> None:
    made = record(clock, state="rejected")
    decisions.add([made])
    with pytest.raises(Refused, match="is rejected, not pending"):
        decisions.transition(made.id, ["pending"], "approved", "dana")
    assert decisions.get(made.id).state == "rejected" and len(actions(store)) == 1


def test_of_many_approvers_at_once_exactly_one_wins(decisions: Decisions, store: Store, clock: ManualClock) -> None:
    made = record(clock)
    decisions.add([made])
    won: list[str] = []
    lost: list[str] = []
    together = threading.Barrier(8)

    def approve(name: str) -> None:
        together.wait()
        try:
            decisions.transition(made.id, ["pending"], "approved", name)
            won.append(name)
        except Refused:
            lost.append(name)

    threads = [threading.Thread(target=approve, args=(f"p{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and len(lost) == 7
    assert decisions.get(made.id).body["decided_by"] == won[0]
    assert actions(store)[1:] == [(won[0], "decision_approved")]


def test_advice_and_holds_leave_no_audit_row(decisions: Decisions, store: Store, clock: ManualClock) -> None:
    decisions.add(
        [record(clock, state="advised"), record(clock, state="deferred"), record(clock, kind="hold", state="executed")]
    )
    assert actions(store) == []


def test_what_a_waiting_decision_shows_is_restated_under_its_id(
    decisions: Decisions, store: Store, clock: ManualClock
) -> None:
    made = record(clock)
    decisions.add([made])
    clock.advance(60)
    newer = replace(made, reason="it pays more", body={"daily_cost_impact": "66.00"})

    store.apply(lambda conn: restate(conn, newer, "engine", clock.now()))

    assert decisions.get(made.id) == replace(newer, updated_at=clock.now())
    row = Audit(store).log()[-1]
    assert (row.action, row.detail["daily_cost_impact"]) == ("decision_restated", {"from": "60.00", "to": "66.00"})
    decisions.transition(made.id, ["pending"], "rejected", "dana")
    with pytest.raises(Refused, match="is rejected"):
        store.apply(lambda conn: restate(conn, newer, "engine", clock.now()))


def test_what_waited_too_long_is_expired(decisions: Decisions, clock: ManualClock) -> None:
    late, other = record(clock), record(clock, expires_at=clock.now() + timedelta(hours=30))
    decisions.add([late, other])
    clock.advance(24 * 3600 - 1)
    assert decisions.expire() == []
    clock.advance(1)
    assert [gone.id for gone in decisions.expire()] == [late.id]
    assert decisions.get(late.id).state == "expired" and decisions.get(other.id).state == "pending"
    assert decisions.expire() == []


def test_only_what_was_added_without_a_person_counts(decisions: Decisions, clock: ManualClock) -> None:
    def impact(amount: str | None, **changes: object) -> DecisionRecord:
        return record(clock, **{"state": "executed", "body": {"daily_cost_impact": amount}, **changes})

    approved = record(clock, body={"daily_cost_impact": "70.00"})
    decisions.add([
        impact("10.10"), impact("5.05", kind="deploy"), impact("-30.00", kind="kill"), impact(None), approved,
        impact("3.00", state="advised"), impact("4.00", actor="dana"),
    ])  # fmt: skip
    decisions.transition(approved.id, ["pending"], "approved", "dana")
    decisions.transition(approved.id, ["approved"], "executed", "engine")
    day = timedelta(hours=24)
    assert decisions.added_without_person(clock.now() - day) == Money.parse("15.15", "USD")
    clock.advance(day.total_seconds())
    assert decisions.added_without_person(clock.now() - day) == Money.zero("USD")


def test_history_is_newest_first_and_can_be_narrowed(decisions: Decisions, clock: ManualClock) -> None:
    ids = []
    for number, worker in enumerate(("mailer", "scout", "mailer")):
        made = record(clock, worker=worker, at=clock.now() + timedelta(minutes=number))
        decisions.add([made, record(clock, worker=worker, kind="hold", state="executed")])
        ids.append(made.id)
    assert [row.id for row in decisions.history()] == ids[::-1]
    assert [row.id for row in decisions.history("mailer", limit=1)] == [ids[2]]
    assert [row.id for row in decisions.history(since=clock.now() + timedelta(minutes=1))] == ids[:0:-1]
    assert len(decisions.history(holds=True)) == 6


def test_a_rejection_names_what_it_silences(decisions: Decisions, clock: ManualClock) -> None:
    made = record(clock)
    decisions.add([made])
    decisions.transition(made.id, ["pending"], "rejected", "dana")
    assert decisions.rejected_since(clock.now() - timedelta(hours=24)) == {("mailer", "f1")}
    assert decisions.rejected_since(clock.now()) == frozenset()


def test_ids_are_typeable_and_free(decisions: Decisions, clock: ManualClock) -> None:
    ids = decisions.free_ids(50)
    assert len(set(ids)) == 50
    assert all(len(id) == 8 and id.startswith("d-") and not set(id[2:]) & set("0o1il") for id in ids)


def test_cycles_come_back_newest_first(decisions: Decisions, store: Store, clock: ManualClock) -> None:
    assert decisions.cycles() == []
    first = CycleRecord("c-1", clock.now(), True, False, 3, 12, {"spent": "1.00"})
    second = replace(first, id="c-2", at=clock.now() + timedelta(minutes=15), dry_run=True)
    for cycle in (first, second):
        store.apply(lambda conn, cycle=cycle: add_cycle(conn, cycle))
    assert decisions.cycles() == [second] and decisions.cycles(5) == [second, first]
    assert decisions.cycles(until=first.at) == decisions.cycles(live=True) == [first]
