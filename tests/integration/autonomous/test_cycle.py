from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from nova.autonomous.explain import explain, explained, history, status
from nova.errors import LockHeld, NotFound, UsageProblem
from nova.fleet.fleet import Fleet

HOUR = timedelta(hours=1)
WINNER = {"cost": "0.10", "revenue": "0.60"}
LOSER = {"cost": "0.50", "revenue": "0.10"}


@pytest.fixture
def five(office: Any) -> Any:
    for name in ("winner", "loser", "fine", "rookie", "quiet"):
        office.deploy(name)
    office.history("winner", **WINNER)
    office.history("loser", **LOSER)
    office.history("fine", cost="1.00", revenue="3.00")
    office.history("rookie", runs=5, cost="1.00", revenue="0")
    office.history("quiet", cost="0", revenue="0")
    return office


def test_an_empty_home_decides_nothing(office: Any) -> None:
    result = office.cycle().to_json()
    assert (result["evaluated"], result["decisions"], result["enabled"]) == (0, [], False)
    assert set(result["budget"]) == {"limit", "spent", "reserved", "committed", "remaining"}


def test_switched_off_it_only_advises(five: Any) -> None:
    assert five.outcome() == {"winner": ("scale_up", "advised"), "loser": ("kill", "advised")}
    assert five.fleet.get("winner").replicas == 1


def test_a_dry_run_changes_nothing(five: Any) -> None:
    five.enable()
    before = five.fleet.token()
    result = five.cycle(dry_run=True)
    assert {one.state for one in result.decisions} == {"advised"}
    assert five.fleet.token() == before


def test_a_replay_off_the_clock_only_advises(five: Any, now: datetime) -> None:
    five.enable()
    five.clock.set(now + timedelta(minutes=61))
    assert {state for _, state in five.outcome(now=now).values()} == {"advised"}
    five.clock.set(now + timedelta(minutes=59))
    assert "executed" in {state for _, state in five.outcome(now=now).values()}


def test_switched_on_it_acts_within_the_cap(five: Any) -> None:
    five.enable()
    first = five.outcome(include_holds=True)
    assert first["loser"] == ("kill", "executed")
    assert first["winner"] == ("scale_up", "deferred")
    assert first["fine"][0] == first["rookie"][0] == first["quiet"][0] == "hold"

    assert five.outcome() == {"winner": ("scale_up", "executed")}
    assert five.outcome() == {}

    winner = five.fleet.get("winner")
    assert winner.replicas == 2
    assert (winner.last_step.from_replicas, winner.last_step.to_replicas) == (1, 2)
    assert five.fleet.get("loser").state == "killed"
    assert five.ledger.audit.verify().ok


def test_the_result_has_the_shape_of_the_interface(five: Any) -> None:
    five.enable(max_actions_per_cycle="100%")
    result = five.cycle(include_holds=True).to_json()
    assert result["evaluated"] == 5
    by_worker = {one["worker"]: one for one in result["decisions"]}
    winner = by_worker["winner"]
    assert {
        "id", "worker", "kind", "state", "rule", "reason", "roi_percent", "roi_low", "roi_high", "confidence", "risk",
        "from_replicas", "to_replicas", "daily_cost_impact", "requires_approval", "expires_at",
    } <= winner.keys()  # fmt: skip
    assert winner["roi_percent"] == pytest.approx(500)
    assert float(winner["daily_cost_impact"]) == pytest.approx(2.40, abs=0.01)
    assert by_worker["quiet"]["roi_percent"] is None


def test_a_time_before_anything_was_recorded_is_wrong_usage(five: Any) -> None:
    with pytest.raises(UsageProblem, match="before 1970"):
        five.cycle(now=datetime(1, 1, 1, tzinfo=UTC))
    assert five.cycle(now=datetime(9999, 12, 31, tzinfo=UTC)).decisions == ()


def test_a_second_cycle_at_once_is_refused(five: Any) -> None:
    five.settings.run_dir.mkdir(parents=True, exist_ok=True)
    five.enable()
    before = five.fleet.token()
    with FileLock(five.settings.run_dir / "cycle.lock"), pytest.raises(LockHeld):
        five.cycle()
    assert (five.fleet.token(), five.ledger.decisions.cycles(), history(five)["decisions"]) == (before, [], [])


def test_stale_revenue_holds_and_is_told_once(five: Any, now: datetime) -> None:
    five.enable()
    five.money("loser", "revenue", "0.01", now - HOUR, source="stripe")
    for _ in range(2):
        assert five.outcome(include_holds=True)["loser"] == ("hold", "advised")
    assert [event for event, _, _ in five.alerts.sent] == ["revenue_stale"]


@pytest.mark.parametrize("options", [{"dry_run": True}, {"now": "later"}, {"now": "earlier"}])
def test_a_dry_run_or_a_replay_silences_no_alert_and_is_not_the_last_cycle(
    five: Any, now: datetime, options: dict[str, Any]
) -> None:
    if "now" in options:
        options = {"now": now + (30 * 24 * HOUR if options["now"] == "later" else -2 * HOUR)}
    five.enable()
    five.money("loser", "revenue", "0.01", now - 3 * HOUR, source="stripe")
    five.cycle(**options)
    assert five.alerts.sent == []

    five.clock.advance(60)
    cycles = [five.cycle().cycle for _ in range(2)]

    assert [event for event, _, _ in five.alerts.sent] == ["revenue_stale"]
    assert status(five)["last_cycle"]["cycle"] in cycles


def test_stale_revenue_is_told_with_the_switch_off_too(five: Any, now: datetime) -> None:
    five.money("loser", "revenue", "0.01", now - HOUR, source="stripe")
    five.cycle()
    assert [(event, body[:17]) for event, _, body in five.alerts.sent] == [("revenue_stale", "1 deployment held")]


def test_a_dry_run_or_a_replay_rewrites_no_other_record(five: Any, now: datetime) -> None:
    five.enable()
    five.cycle()
    before = history(five)["decisions"]
    five.cycle(dry_run=True)
    five.cycle(now=now - 2 * HOUR)
    after = {one["id"]: one for one in history(five)["decisions"]}
    assert [after[one["id"]] for one in before] == before


def test_advice_keeps_its_id_from_cycle_to_cycle(five: Any) -> None:
    first = {one.worker: one.id for one in five.cycle().decisions}
    five.clock.advance(900)
    second = {one.worker: one.id for one in five.cycle().decisions}
    assert first == second
    assert len(history(five)["decisions"]) == 2


def test_the_explanation_names_threshold_worker_and_evidence(five: Any) -> None:
    five.enable(max_actions_per_cycle="100%")
    decision = next(one for one in five.cycle().decisions if one.worker == "winner")

    words = explain(five, decision.id)
    assert "300" in words
    assert "winner" in words
    assert "168 sales" in words
    assert explained(five, decision.id)["evidence"]["window"]["cost"] == "16.80"
    with pytest.raises(NotFound):
        explain(five, "nothing")


def test_status_counts_what_waits(five: Any) -> None:
    five.enable(require_approval_above="1", max_actions_per_cycle="100%")
    five.cycle()
    shown = status(five)
    assert (shown["enabled"], shown["pending"], shown["last_cycle"]["evaluated"]) == (True, 1, 5)
    assert shown["policy"]["require_approval_above"] == "1.00"


def test_history_filters_by_worker(five: Any) -> None:
    five.enable(max_actions_per_cycle="100%")
    five.cycle()
    assert {one["worker"] for one in history(five, worker="loser")["decisions"]} == {"loser"}


def test_a_deployment_changed_meanwhile_is_left_alone(five: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    five.enable(max_actions_per_cycle="100%")
    other = Fleet(five.settings.fleet_path, five.clock, "USD")
    look = "nova.autonomous.cycle.look"
    from nova.autonomous.cycle import look as real

    def looked(*given: Any) -> Any:
        found = real(*given)
        other.pause("loser", "operator")
        return found

    monkeypatch.setattr(look, looked)
    got = five.outcome()
    assert got["loser"] == ("kill", "superseded")
    assert got["winner"] == ("scale_up", "executed")
    assert five.fleet.get("loser").state == "paused"


class PowerCut(BaseException):
    pass


@pytest.mark.parametrize("reached", [False, True])
def test_a_cycle_cut_short_is_finished_or_decided_anew(
    five: Any, monkeypatch: pytest.MonkeyPatch, reached: bool
) -> None:
    five.enable(max_actions_per_cycle="100%")
    real = Fleet.change_each

    def cut(self: Fleet, changes: Any) -> Any:
        if reached:
            real(self, changes)
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(Fleet, "change_each", cut)
        with pytest.raises(PowerCut):
            five.cycle()

    five.cycle()

    states = [one["state"] for one in history(five, worker="loser")["decisions"]]
    assert sorted(states) == (["executed"] if reached else ["executed", "superseded"])
    assert five.fleet.get("loser").state == "killed"
    assert five.fleet.get("winner").replicas == 2
    assert five.ledger.audit.verify().ok


def test_what_is_retired_meanwhile_is_left_alone(five: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    five.enable(max_actions_per_cycle="100%")
    real = Fleet.change_each
    monkeypatch.setattr(Fleet, "change_each", lambda self, changes: (self.retire("loser"), real(self, changes))[1])
    assert five.outcome() == {"loser": ("kill", "superseded"), "winner": ("scale_up", "executed")}


def test_the_day_budget_stops_growth(five: Any) -> None:
    five.enable(max_daily_budget="10")
    held = {one.worker: one for one in five.cycle(include_holds=True).decisions}
    assert held["winner"].rule == "no_budget"


def test_paused_by_roi_it_probes_and_is_paused_again(office: Any, now: datetime) -> None:
    office.deploy("poor", replicas=4)
    office.history("poor", cost="1", revenue="1.60", runs=24 * 22)
    office.enable()
    assert office.outcome() == {"poor": ("pause", "executed")}
    assert office.fleet.get("poor").pause_reason == "roi"
    assert office.outcome() == {}

    office.clock.advance(24 * 3600)
    assert office.outcome() == {"poor": ("resume", "executed")}
    probing = office.fleet.get("poor")
    assert (probing.state, probing.replicas, probing.evidence_since) == ("active", 1, None)

    office.clock.advance(5 * 3600)
    assert office.cycle(include_holds=True).decisions[0].rule == "probing"

    office.clock.advance(25 * 3600)
    office.history("poor", cost="1", revenue="1.60", runs=30, end=now + timedelta(hours=54))
    assert office.outcome() == {"poor": ("pause", "executed")}


def test_an_agents_tunables_are_tried_before_it_is_paused(office: Any, home: Path) -> None:
    (home / "agents").mkdir()
    (home / "agents" / "toned.py").write_text(
        "from workers import BaseWorker\n"
        "class Toned(BaseWorker):\n"
        "    tunables = {'tone': ('plain', 'warm')}\n"
        "    def run(self, ctx):\n        return None\n"
    )
    office.deploy("poor", agent="python", config={"target": "toned.py:Toned", "tone": "plain"})
    office.history("poor", cost="1", revenue="1.60", runs=24 * 22)
    office.enable()

    assert office.outcome() == {"poor": ("optimize", "executed")}
    changed = office.fleet.get("poor")
    assert changed.config["tone"] == "warm"
    assert changed.tried == {"tone": ["plain", "warm"]}
    assert office.outcome() == {}  # three windows of fresh evidence are needed again


def test_replicas_that_do_not_pay_are_taken_back(office: Any, now: datetime) -> None:
    office.deploy("eager")
    office.history("eager", cost="0.10", revenue="0.60")
    office.enable()
    assert office.outcome() == {"eager": ("scale_up", "executed")}
    office.clock.advance(3 * 24 * 3600)
    office.history("eager", cost="0.20", revenue="0.60", runs=72, end=now + timedelta(days=3))
    assert office.outcome() == {"eager": ("scale_down", "executed")}
    assert office.fleet.get("eager").replicas == 1


def test_the_history_of_a_name_that_never_was_is_not_found(five: Any) -> None:
    assert history(five, "winner") == {"decisions": []}
    five.cycle()
    told = history(five, "loser")["decisions"]
    five.fleet.retire("loser")
    assert told and history(five, "loser")["decisions"] == told
    with pytest.raises(NotFound, match="no deployment is called 'winer'"):
        history(five, "winer")
