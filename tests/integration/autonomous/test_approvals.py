from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from filelock import FileLock

from nova.autonomous.approvals import approvals, approve, reject
from nova.autonomous.explain import explain
from nova.errors import LockHeld, NotFound, Refused
from nova.ledger.schema import decisions

HOUR = timedelta(hours=1)


@pytest.fixture
def big(office: Any) -> Any:
    for name in ("big", "bigger"):
        office.deploy(name)
    office.history("big", cost="5.00", revenue="40.00")
    office.history("bigger", cost="6.00", revenue="48.00")
    office.enable(max_daily_budget="5000", max_actions_per_cycle="100%")
    return office


def waiting(office: Any) -> dict[str, Any]:
    return {one["worker"]: one for one in approvals(office)["approvals"]}


def test_fifty_dollars_need_a_person(big: Any) -> None:
    assert set(big.outcome().values()) == {("scale_up", "pending")}
    assert big.fleet.get("big").replicas == 1
    asked = waiting(big)
    assert set(asked) == {"big", "bigger"}
    assert all(one["expires_at"] and one["created_at"] and one["requires_approval"] for one in asked.values())
    assert sorted(event for event, _, _ in big.alerts.sent) == ["approval_waiting", "approval_waiting"]


def test_asked_once_while_it_stands(big: Any) -> None:
    big.cycle()
    first = {worker: one["id"] for worker, one in waiting(big).items()}
    big.clock.advance(600)
    assert {one.worker: one.id for one in big.cycle().decisions} == first
    assert {worker: one["id"] for worker, one in waiting(big).items()} == first
    assert len(big.alerts.sent) == 2


def test_an_approval_executes_at_once_and_only_once(big: Any) -> None:
    big.cycle()
    id = waiting(big)["big"]["id"]

    done = approve(big, id, "dana", "go on")

    assert done.state == "executed"
    assert done.body["decided_by"] == "dana"
    assert big.fleet.get("big").replicas == 2
    with pytest.raises(Refused, match="is executed"):
        approve(big, id, "dana")
    assert set(waiting(big)) == {"bigger"}


def test_what_a_person_approved_does_not_count_as_added_without_one(big: Any) -> None:
    big.cycle()
    approve(big, waiting(big)["big"]["id"], "dana")
    assert big.ledger.decisions.added_without_person(big.clock.now() - timedelta(days=1)).micros == 0


def test_a_rejection_silences_the_same_proposal_for_a_day(big: Any) -> None:
    big.cycle()
    id = waiting(big)["bigger"]["id"]
    assert reject(big, id, "dana").state == "rejected"
    with pytest.raises(Refused):
        approve(big, id, "dana")
    with pytest.raises(Refused):
        reject(big, id, "dana")

    assert set(big.outcome()) == {"big"}
    held = {one.worker: one.rule for one in big.cycle(include_holds=True).decisions}
    assert held["bigger"] == "rejected_recently"

    big.clock.advance(24 * 3600 + 1)
    assert "bigger" in big.outcome()


def test_an_unknown_id_does_not_exist(big: Any) -> None:
    with pytest.raises(NotFound):
        approve(big, "nothing", "dana")
    with pytest.raises(NotFound):
        reject(big, "nothing", "dana")


def test_silence_means_no(big: Any) -> None:
    big.cycle()
    id = waiting(big)["big"]["id"]
    big.clock.advance(24 * 3600)
    assert waiting(big) == {}
    with pytest.raises(Refused, match="expired"):
        approve(big, id, "dana")
    assert big.ledger.decisions.get(id).state == "expired"


def test_a_higher_cost_is_drift(big: Any, now: datetime) -> None:
    big.cycle()
    id = waiting(big)["big"]["id"]
    big.money("big", "cost", "60", now - HOUR)
    with pytest.raises(Refused, match="more than"):
        approve(big, id, "dana")
    assert big.fleet.get("big").replicas == 1

    big.money("big", "cost", "200", now - HOUR)
    big.cycle()  # asks anew, with the cost of now
    asked = waiting(big)["big"]
    assert asked["id"] != id
    assert big.ledger.decisions.get(id).state == "superseded"
    assert approve(big, asked["id"], "dana").state == "executed"


def test_while_it_stands_the_amount_follows_the_fleet_under_the_same_id(big: Any, now: datetime) -> None:
    big.cycle()
    first = waiting(big)["big"]
    big.clock.advance(2)
    big.money("big", "cost", "60", now - HOUR)  # seven percent more a day

    (again,) = (one for one in big.cycle().decisions if one.worker == "big")

    asked = waiting(big)["big"]
    assert again.id == asked["id"] == first["id"]
    assert (asked["created_at"], asked["expires_at"]) == (first["created_at"], first["expires_at"])
    assert float(asked["daily_cost_impact"]) == pytest.approx(1.07 * float(first["daily_cost_impact"]), rel=0.01)
    assert [row.action for row in big.ledger.audit.log()].count("decision_restated") == 1
    assert "it was asked for $120.36 a day" in explain(big, first["id"])
    assert len(big.alerts.sent) == 2
    done = approve(big, asked["id"], "dana")
    assert (done.state, done.body["daily_cost_impact"]) == ("executed", asked["daily_cost_impact"])
    assert big.ledger.audit.verify().ok


def test_small_increases_add_up_to_a_new_question(big: Any, now: datetime) -> None:
    big.cycle()
    first = waiting(big)["big"]["id"]
    for _ in range(3):
        big.money("big", "cost", "60", now - HOUR)
        big.cycle()
    assert waiting(big)["big"]["id"] == first
    big.money("big", "cost", "60", now - HOUR)  # 29 % above what was first asked
    big.cycle()
    assert waiting(big)["big"]["id"] != first


def test_a_retirement_in_the_middle_of_an_approval_is_refused(big: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import nova.autonomous.approvals as room

    big.cycle()
    id = waiting(big)["big"]["id"]
    real = room.execute

    def late(*given: Any) -> Any:
        big.fleet.retire("big")
        return real(*given)

    monkeypatch.setattr(room, "execute", late)
    with pytest.raises(Refused, match="changed or retired meanwhile"):
        approve(big, id, "dana")
    assert big.ledger.decisions.get(id).state == "superseded"


def test_what_was_killed_or_protected_meanwhile_cannot_be_approved(big: Any) -> None:
    big.cycle()
    asked = waiting(big)
    big.fleet.kill("big")
    with pytest.raises(Refused, match="was killed"):
        approve(big, asked["big"]["id"], "dana")
    big.fleet.set_policy({"protected": "bigger"})
    with pytest.raises(Refused, match="protected"):
        approve(big, asked["bigger"]["id"], "dana")


def test_an_answer_waits_for_the_cycle_that_is_under_way(big: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import nova.autonomous.approvals as room

    big.cycle()
    id = waiting(big)["big"]["id"]
    monkeypatch.setattr(room, "_WAIT_S", 0.0)
    with FileLock(big.settings.run_dir / "cycle.lock"):
        for answer in (approve, reject):
            with pytest.raises(LockHeld):
                answer(big, id, "dana")
    assert big.ledger.decisions.get(id).state == "pending"


def test_of_two_who_approve_at_once_one_is_refused(big: Any) -> None:
    big.cycle()
    id = waiting(big)["big"]["id"]

    def answer(name: str) -> str:
        try:
            return approve(big, id, name).state
        except Refused:
            return "refused"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(answer, ("dana", "eve"))) == ["executed", "refused"]
    assert big.fleet.get("big").replicas == 2


def test_other_replicas_are_drift(big: Any) -> None:
    big.cycle()
    big.fleet.scale("big", 3)
    with pytest.raises(Refused, match="3 to 6 replicas"):
        approve(big, waiting(big)["big"]["id"], "dana")


def test_another_kind_is_drift(big: Any, now: datetime) -> None:
    big.cycle()
    big.money("big", "refund", "6000", now - HOUR)
    with pytest.raises(Refused, match="instead of scale_up"):
        approve(big, waiting(big)["big"]["id"], "dana")


def test_what_is_retired_cannot_be_approved(big: Any) -> None:
    big.cycle()
    id = waiting(big)["big"]["id"]
    big.fleet.retire("big")
    with pytest.raises(Refused, match="not there"):
        approve(big, id, "dana")
    big.cycle()
    assert big.ledger.decisions.get(id).state == "superseded"


def test_a_higher_ceiling_written_into_the_record_lifts_nothing(big: Any, now: datetime) -> None:
    big.cycle()
    id = waiting(big)["big"]["id"]
    changed = json.dumps({**big.ledger.decisions.get(id).body, "approve_up_to": "9999.00"})
    big.ledger.apply(lambda conn: conn.execute(decisions.update().where(decisions.c.id == id).values(body=changed)))
    big.money("big", "cost", "60", now - HOUR)
    with pytest.raises(Refused, match="more than"):
        approve(big, id, "dana")


def test_a_record_that_was_tampered_with_is_not_executed(big: Any) -> None:
    big.cycle()
    id = waiting(big)["big"]["id"]
    body = big.ledger.decisions.get(id).body
    changed = json.dumps({**body, "to_replicas": 9})
    big.ledger.apply(lambda conn: conn.execute(decisions.update().where(decisions.c.id == id).values(body=changed)))
    with pytest.raises(Refused, match="record was changed"):
        approve(big, id, "dana")


def test_small_steps_add_up_over_the_fleet_and_the_day(office: Any) -> None:
    for name in ("a", "b", "c"):
        office.deploy(name)
        office.history(name, cost="1.00", revenue="9.00")
    office.enable(max_daily_budget="5000", max_actions_per_cycle="100%")

    got = office.outcome()

    assert sorted(state for _, state in got.values()) == ["executed", "executed", "pending"]


def test_when_the_switch_is_off_what_waits_keeps_waiting(big: Any) -> None:
    big.cycle()
    big.fleet.set_autonomous(False)
    big.cycle()
    assert set(waiting(big)) == {"big", "bigger"}
