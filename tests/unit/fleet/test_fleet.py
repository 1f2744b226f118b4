from __future__ import annotations

import json
import multiprocessing
import os
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nova.clock import ManualClock, SystemClock
from nova.errors import NotFound, NovaError, Refused, RevisionConflict, UsageProblem
from nova.fleet import transitions
from nova.fleet.documents import BudgetLimit, Declaration, Deployment, Step
from nova.fleet.file import FleetFile
from nova.fleet.fleet import Fleet, scaled_by
from nova.fleet.terms import Schedule
from nova.money import Money

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def fleet(tmp_path: Path, clock: ManualClock) -> Fleet:
    return Fleet(tmp_path / "fleet.json", clock, "USD")


def mailer(**other: Any) -> Declaration:
    return Declaration(
        **{"name": "mailer", "department": "sales", "agent": "shell", "config": {"command": "true"}, **other}
    )


def test_the_same_declaration_changes_nothing(fleet: Fleet) -> None:
    first = fleet.deploy(mailer())
    token = fleet.token()
    again = fleet.deploy(mailer())
    assert first.created and not again.created
    assert again.changes == {} and again.deployment == first.deployment
    assert fleet.token() == token


def test_another_declaration_updates_and_says_what_changed(fleet: Fleet) -> None:
    fleet.deploy(mailer())
    result = fleet.deploy(mailer(every_s=5.0))
    assert result.changes == {"every_s": (60.0, 5.0)}
    assert result.deployment.revision == 2


def test_a_repeated_declaration_does_not_undo_what_the_engine_did(fleet: Fleet) -> None:
    fleet.deploy(mailer())
    fleet.scale("mailer", 4, step=Step(START, 1, 4, "d-1"))
    fleet.configure("mailer", {"command": "true", "cwd": "/"}, {"cwd": ["/"]})
    assert fleet.deploy(mailer()).changes == {}
    assert fleet.get("mailer").replicas == 4
    assert fleet.get("mailer").config["cwd"] == "/"
    assert fleet.deploy(mailer(replicas=2)).deployment.replicas == 2


def test_a_killed_name_needs_revive_and_then_forgets_its_evidence(fleet: Fleet, clock: ManualClock) -> None:
    fleet.deploy(mailer())
    fleet.kill("mailer")
    with pytest.raises(Refused):
        fleet.deploy(mailer())
    clock.advance(60)
    revived = fleet.deploy(mailer(), revive=True).deployment
    assert (revived.state, revived.evidence_since, revived.generation) == ("active", START + timedelta(seconds=60), 2)


def test_a_killed_deployment_is_neither_scaled_nor_resumed(fleet: Fleet) -> None:
    fleet.deploy(mailer())
    fleet.kill("mailer")
    with pytest.raises(Refused):
        fleet.scale("mailer", 2)
    with pytest.raises(Refused):
        fleet.resume("mailer")
    assert fleet.pause("mailer", "operator").state == "killed"


def test_paused_wins_over_cooling_down(fleet: Fleet) -> None:
    fleet.deploy(mailer())
    fleet.cool_down("mailer", START + timedelta(minutes=5))
    assert fleet.pause("mailer", "operator").state == "paused"
    assert fleet.activate("mailer").state == "paused"
    assert fleet.cool_down("mailer", START).state == "paused"


def test_a_persons_pause_is_not_replaced_by_the_engines(fleet: Fleet) -> None:
    fleet.deploy(mailer())
    fleet.pause("mailer", "operator")
    assert fleet.pause("mailer", "roi").pause_reason == "operator"


def test_a_resume_by_a_person_lets_the_evidence_count_anew(fleet: Fleet, clock: ManualClock) -> None:
    fleet.deploy(mailer())
    fleet.pause("mailer", "roi")
    clock.advance(10)
    assert fleet.resume("mailer", override=True).evidence_since == clock.now()
    revision = fleet.get("mailer").revision
    clock.advance(10)
    assert fleet.resume("mailer", override=True).revision == revision


def test_a_stale_revision_is_refused(fleet: Fleet) -> None:
    one = fleet.deploy(mailer()).deployment
    fleet.scale("mailer", 2)
    with pytest.raises(RevisionConflict):
        fleet.kill("mailer", expected_revision=one.revision)
    assert fleet.get("mailer").state == "active"


def test_many_changes_are_one_write_and_what_is_refused_leaves_the_others_alone(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    revisions = {name: fleet.deploy(mailer(name=name)).deployment.revision for name in ("a", "b", "c", "d", "gone")}
    fleet.scale("b", 2)
    fleet.retire("gone")
    writes: list[Any] = []
    real = FleetFile.replace
    monkeypatch.setattr(FleetFile, "replace", lambda self, tables: (writes.append(1), real(self, tables))[1])

    def two(one: Deployment) -> Deployment:
        return transitions.scaled(one, 11 if one.name == "d" else 2, None)

    refused = fleet.change_each([(name, revision, two) for name, revision in revisions.items()])

    assert {name: type(problem) for name, problem in refused.items()} == {
        "b": RevisionConflict, "d": Refused, "gone": NotFound,
    }  # fmt: skip
    assert [(one.name, one.replicas, one.revision) for one in fleet.snapshot().deployments.values()] == [
        ("a", 2, 2), ("b", 2, 2), ("c", 2, 2), ("d", 1, 1),
    ]  # fmt: skip
    assert len(writes) == 1
    fleet.change_each([(name, 2, two) for name in ("a", "c")])
    assert len(writes) == 1


@pytest.mark.parametrize("name", ["a/b", "../x", "", "ä", "名前", "-x", "a b", "x" * 65, "a\n"])
def test_a_name_that_could_be_mistaken_is_refused(fleet: Fleet, name: str) -> None:
    with pytest.raises(UsageProblem):
        fleet.deploy(mailer(name=name))
    assert fleet.token() is None


def test_replicas_have_bounds(fleet: Fleet) -> None:
    fleet.deploy(mailer(max_replicas=3))
    with pytest.raises(Refused):
        fleet.scale("mailer", 4)
    with pytest.raises(UsageProblem):
        fleet.scale("mailer", 0)
    with pytest.raises(UsageProblem):
        fleet.deploy(mailer(replicas=4, max_replicas=3))


def test_an_unknown_name_is_not_found_and_a_near_one_is_suggested(fleet: Fleet) -> None:
    fleet.deploy(mailer())
    with pytest.raises(NotFound) as told:
        fleet.pause("mailre", "operator")
    assert "mailer" in (told.value.hint or "")


def test_limits_name_every_scope(fleet: Fleet) -> None:
    one = fleet.deploy(
        mailer(budget=(BudgetLimit.parse("20/day", "USD"), BudgetLimit.parse("1/run", "USD")))
    ).deployment
    fleet.set_budget("department:sales", "month", Money.parse("300", "USD"))
    fleet.set_budget("department:other", "month", Money.parse("1", "USD"))
    fleet.set_policy({"max_daily_budget": "70"})
    found = {(a.scope, a.per, str(a.amount)) for a in fleet.snapshot().limits_for(one, Money.parse("100", "USD"))}
    assert found == {
        ("worker:mailer", "day", "20.00"),
        ("run", "run", "1.00"),
        ("department:sales", "month", "300.00"),
        ("fleet", "day", "70.00"),
    }


def test_a_budget_is_removed_once(fleet: Fleet) -> None:
    fleet.set_budget("fleet", "month", Money.parse("5", "USD"))
    assert fleet.remove_budget("fleet", "month") == 1
    with pytest.raises(NotFound):
        fleet.remove_budget("fleet", "month")
    with pytest.raises(UsageProblem):
        fleet.set_budget("planet", "day", Money.parse("5", "USD"))


def test_a_name_without_its_kind_is_understood_as_a_question(fleet: Fleet) -> None:
    fleet.deploy(mailer())
    for given, meant in (("mailer", "worker:mailer"), ("sales", "department:sales"), ("planet", "it is fleet")):
        with pytest.raises(UsageProblem, match="not a scope") as refusal:
            fleet.set_budget(given, "day", Money.parse("5", "USD"))
        assert meant in (refusal.value.hint or "")


def test_the_policys_version_rises_only_with_a_change(fleet: Fleet) -> None:
    assert fleet.set_policy({"min_runs": "5"}) == 1
    assert fleet.set_policy({"min_runs": "5"}) == 1
    assert fleet.reset_policy() == 2
    assert fleet.snapshot().policy == {}


def test_a_file_that_cannot_be_parsed_names_the_copy_to_restore(fleet: Fleet) -> None:
    fleet.deploy(mailer())
    fleet.scale("mailer", 2)
    fleet.path.write_text('{"deployments": {"mailer": ')
    for attempt in (fleet.snapshot, lambda: fleet.kill("mailer"), lambda: fleet.deploy(mailer(name="other"))):
        with pytest.raises(NovaError) as told:
            attempt()
        assert f"cp {fleet.path}.bak {fleet.path}" in (told.value.hint or "")
    fleet.path.with_name("fleet.json.bak").replace(fleet.path)
    assert fleet.get("mailer").replicas == 1


def test_a_document_of_another_nova_is_refused_by_name(fleet: Fleet) -> None:
    fleet.deploy(mailer())
    content = json.loads(fleet.path.read_text())
    del content["deployments"]["mailer"]["replicas"]
    fleet.path.write_text(json.dumps(content))
    with pytest.raises(NovaError, match="mailer"):
        fleet.snapshot()


def test_a_full_disk_leaves_the_old_file(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.deploy(mailer())
    before = fleet.path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(NovaError, match="No space left"):
        patch.setattr(os, "fsync", full)
        fleet.kill("mailer")
    assert fleet.path.read_bytes() == before
    assert fleet.kill("mailer").state == "killed"


def test_files_are_for_their_owner_only(fleet: Fleet) -> None:
    fleet.deploy(mailer())
    fleet.scale("mailer", 2)
    assert {oct(path.stat().st_mode & 0o777) for path in fleet.path.parent.glob("fleet.json*")} == {"0o600"}


def _change(path: Path, number: int) -> None:
    fleet = Fleet(path, SystemClock(), "USD")
    for turn in range(5):
        fleet.deploy(mailer(name=f"w{number}-{turn}"))
        fleet.change("shared", lambda one: replace(one, replicas=one.replicas + 1))


def test_twenty_processes_lose_nothing(fleet: Fleet) -> None:
    fleet.deploy(mailer(name="shared", max_replicas=10_000))
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_change, args=(fleet.path, number)) for number in range(20)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 20
    found = fleet.snapshot().deployments
    assert len(found) == 101
    assert found["shared"].replicas == 101
    assert found["shared"].revision == 101


def _change_for_ever(path: Path) -> None:
    fleet = Fleet(path, SystemClock(), "USD")
    while True:
        fleet.change("mailer", lambda one: replace(one, every_s=one.every_s + 1))


def test_death_in_the_middle_of_a_write_leaves_a_good_file(fleet: Fleet) -> None:
    fleet.deploy(mailer())
    last = 0
    for _ in range(10):
        before = fleet.get("mailer").revision
        process = multiprocessing.get_context("fork").Process(target=_change_for_ever, args=(fleet.path,))
        process.start()
        while fleet.get("mailer").revision < before + 5:
            process.join(0.01)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        revision = fleet.scale("mailer", 2 + last % 2).revision
        assert revision > before >= last
        last = before


@pytest.mark.parametrize(
    ("replicas", "multiplier", "most", "expected"),
    [(1, 2, 10, 2), (3, 1.5, 10, 5), (10, 2, 12, 12), (4, 0.25, 10, 1), (1, 0.1, 10, 1)],
)
def test_a_multiplier_rounds_up_within_bounds(replicas: int, multiplier: float, most: int, expected: int) -> None:
    assert scaled_by(replicas, multiplier, most) == expected


def test_a_workers_budget_is_its_own_and_a_repeated_declaration_leaves_it(fleet: Fleet) -> None:
    daily = (BudgetLimit.parse("20/day", "USD"),)
    fleet.deploy(mailer(budget=daily))
    fleet.set_budget("worker:mailer", "day", Money.parse("35", "USD"))
    fleet.set_budget("worker:mailer", "month", Money.parse("300", "USD"))
    assert fleet.deploy(mailer(budget=daily)).changes == {}
    assert {(one.per, str(one.limit)) for one in fleet.get("mailer").budget} == {("day", "35.00"), ("month", "300.00")}
    assert fleet.remove_budget("worker:mailer") == 2
    assert fleet.get("mailer").budget == ()
    with pytest.raises(NotFound):
        fleet.set_budget("worker:nobody", "day", Money.parse("1", "USD"))


def test_the_fleets_day_is_the_policys(fleet: Fleet) -> None:
    fleet.set_budget("fleet", "day", Money.parse("70", "USD"))
    default = Money.parse("100", "USD")
    assert fleet.snapshot().policy == {"max_daily_budget": "70.00"}
    assert [(one.scope, one.per, str(one.limit)) for one in fleet.snapshot().all_budgets(default)] == [
        ("fleet", "day", "70.00")
    ]
    assert fleet.remove_budget("fleet", "day") == 1
    assert fleet.snapshot().daily_limit(default) == default


@pytest.mark.parametrize("limit", [Money.parse("-1", "USD"), Money.parse("1", "EUR")])
def test_a_budget_that_makes_no_sense_is_refused(fleet: Fleet, limit: Money) -> None:
    with pytest.raises(UsageProblem):
        fleet.set_budget("department:sales", "day", limit)
    with pytest.raises(UsageProblem):
        fleet.deploy(mailer(budget=(BudgetLimit("day", limit),)))


def test_a_stronger_reason_to_pause_replaces_a_weaker_one(fleet: Fleet) -> None:
    fleet.deploy(mailer())
    until = START + timedelta(hours=12)
    assert fleet.pause("mailer", "budget", until).state_until == until
    assert fleet.pause("mailer", "roi").state_until is None
    assert fleet.pause("mailer", "budget", until).pause_reason == "roi"
    assert fleet.pause("mailer", "operator").pause_reason == "operator"


def test_what_is_parked_stays_so_until_it_is_resumed(fleet: Fleet) -> None:
    fleet.deploy(mailer())
    fleet.park("mailer")
    assert fleet.pause("mailer", "operator").state == "parked"
    assert fleet.cool_down("mailer", START).state == "parked"
    assert fleet.resume("mailer").state == "active"


def test_a_person_who_scales_leaves_the_engine_no_step_to_judge(fleet: Fleet) -> None:
    fleet.deploy(mailer())
    fleet.scale("mailer", 2, step=Step(START, 1, 2, "d-1"))
    assert fleet.scale("mailer", 2).last_step is not None
    assert fleet.scale("mailer", 3).last_step is None


@pytest.mark.parametrize("state", ["park", "activate"])
def test_what_changes_nothing_writes_nothing(fleet: Fleet, state: str) -> None:
    fleet.deploy(mailer())
    fleet.park("mailer")
    token = fleet.token()
    getattr(fleet, state)("mailer")
    fleet.set_policy({})
    assert fleet.token() == token


def test_names_that_differ_only_in_case_are_refused(fleet: Fleet) -> None:
    fleet.deploy(mailer())
    with pytest.raises(UsageProblem, match="case"):
        fleet.deploy(mailer(name="Mailer"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"agent": " "},
        {"runtime": "ray"},
        {"every_s": 0},
        {"every_s": float("nan")},
        {"timeout_s": -1},
        {"max_replicas": 0},
        {"config": {"ratio": float("nan")}},
        {"config": {"when": START}},
        {"budget": (BudgetLimit.parse("1/day", "USD"), BudgetLimit.parse("2/day", "USD"))},
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(fleet: Fleet, wrong: dict[str, object]) -> None:
    with pytest.raises(UsageProblem):
        fleet.deploy(mailer(**wrong))
    assert fleet.token() is None


def test_a_policy_is_checked_as_it_would_be(fleet: Fleet) -> None:
    fleet.set_policy({"min_roi": "150"})
    seen = []

    def check(values: dict[str, str]) -> None:
        seen.append(values)
        raise UsageProblem("no")

    with pytest.raises(UsageProblem):
        fleet.set_policy({"kill_roi": "200"}, check)
    assert seen == [{"min_roi": "150", "kill_roi": "200"}]
    assert fleet.snapshot().policy == {"min_roi": "150"}


def test_every_document_has_a_revision(fleet: Fleet) -> None:
    fleet.deploy(mailer())
    for amount in ("1", "2"):
        fleet.set_budget("department:sales", "day", Money.parse(amount, "USD"))
        fleet.set_policy({"min_runs": amount})
    tables = json.loads(fleet.path.read_text())
    revisions = {key: one["revision"] for name in ("budgets", "settings") for key, one in tables[name].items()}
    assert revisions == {"department:sales/day": 2, "policy": 2}


def test_another_schedule_counts_from_when_it_was_declared_and_nothing_else_moves_that(
    fleet: Fleet, clock: ManualClock
) -> None:
    assert fleet.deploy(mailer()).deployment.scheduled_at == START
    clock.advance(60)
    assert fleet.deploy(mailer(timeout_s=9.0)).deployment.scheduled_at == START
    assert fleet.deploy(mailer(schedule=Schedule(cron="@daily"))).deployment.scheduled_at == clock.now()


def test_a_single_run_is_wanted_again_where_anything_else_is_declared_or_it_is_revived(
    fleet: Fleet, clock: ManualClock
) -> None:
    once = Schedule(once=True)
    fleet.deploy(mailer(schedule=once))
    clock.advance(60)
    assert fleet.deploy(mailer(schedule=once)).deployment.scheduled_at == START
    assert fleet.deploy(mailer(schedule=once, timeout_s=9.0)).deployment.scheduled_at == START + timedelta(seconds=60)
    fleet.kill("mailer")
    clock.advance(60)
    again = fleet.deploy(mailer(schedule=once, timeout_s=9.0), revive=True).deployment
    assert again.scheduled_at == START + timedelta(seconds=120)
