from __future__ import annotations

import signal
import subprocess
import threading
from typing import Any

import pytest

from nova.bootstrap import Nova
from nova.clock import ManualClock
from nova.errors import NotFound, NovaError, Refused, UsageProblem
from nova.fleet.fleet import DeployResult
from nova.fleet.terms import Breaker, Resources, Schedule
from nova.ledger.entries import Entry
from nova.ledger.limits import RunRef
from nova.money import Money
from workers.deployments import (
    declare,
    kill,
    masked,
    pause,
    pause_all,
    remove_budget,
    resume,
    resume_all,
    retire,
    scale,
    set_budget,
    set_tiers,
)
from workers.lock import ForegroundLock, ManagerInfo

WORKER = """
from pydantic import BaseModel
from workers import BaseWorker
class Mine(BaseWorker):
    class Config(BaseModel):
        times: int = 1
"""


def deploy(nova: Nova, **other: Any) -> DeployResult:
    given: dict[str, Any] = {
        "department": "sales",
        "agent": "shell",
        "config": {"command": "true"},
        "by": "dana",
        **other,
    }
    return declare(nova, **given)


def audited(nova: Nova) -> list[tuple[str, str, str]]:
    return [(row.actor, row.action, row.subject) for row in nova.ledger.audit.log()]


def test_what_is_left_out_has_its_default(nova: Nova) -> None:
    one = deploy(nova).deployment
    assert (one.name, one.agent, one.runtime, one.state) == ("shell", "shell", "thread", "active")
    assert (one.replicas, one.max_replicas, one.every_s, one.timeout_s, one.budget) == (1, 10, 60.0, 300.0, ())


def test_the_same_declaration_changes_nothing_and_leaves_no_trace(nova: Nova) -> None:
    asked = {"name": "mail", "every": "5m", "budget": ["20/day"], "config": {"command": "true", "env": {"A": "1"}}}
    first = deploy(nova, **asked)
    again = deploy(nova, **asked)
    assert first.created and not again.created and again.changes == {}
    assert again.deployment == first.deployment
    assert audited(nova) == [("dana", "deployed", "mail")]


def test_another_declaration_says_what_it_changed(nova: Nova) -> None:
    deploy(nova, name="mail", config={"command": "true", "env": {"API_TOKEN": "old"}})
    deploy(nova, name="mail", every="5m", budget=["20/day"], config={"command": "true", "env": {"API_TOKEN": "new"}})
    changes = nova.ledger.audit.log()[-1].detail["changes"]
    assert changes["every_s"] == [60.0, 300.0]
    assert changes["budget"] == [[], ["20.00/day"]]
    assert changes["config"] == {"env": [{"API_TOKEN": "***"}, {"API_TOKEN": "***"}]}


def test_the_ledger_knows_what_was_deployed(nova: Nova) -> None:
    deploy(nova, name="mail")
    seen = nova.ledger.deployments.all()["mail"]
    assert (seen.department, seen.agent) == ("sales", "shell")


def test_settings_are_kept_as_the_agent_types_them(nova: Nova) -> None:
    folder = nova.settings.nova_home / "agents"
    folder.mkdir()
    (folder / "mine.py").write_text(WORKER)
    assert deploy(nova, agent="mine", config={"times": "3"}).deployment.config == {"times": 3}
    assert deploy(nova, agent="mine", config={"times": 3}).changes == {}
    kept = deploy(nova, agent="python", config={"target": "mine:Mine", "times": "2"}).deployment.config
    assert kept == {"target": "mine:Mine", "times": 2}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"config": {}}, "command: is missing"),
        ({"config": {"command": "true", "colour": "red"}}, "no setting colour"),
        ({"every": "often"}, "not a duration"),
        ({"budget": ["lots"]}, "not a budget"),
        ({"name": "a/b"}, "not a valid name"),
        ({"department": "größe"}, "not a valid department"),
        ({"replicas": 0}, "replicas"),
        (
            {"agent": "workers.base_worker:BaseWorker", "config": {}, "resources": Resources(open_files=32)},
            "cannot be limited",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(
    asked: dict[str, Any], words: str, nova: Nova
) -> None:
    with pytest.raises(UsageProblem, match=words):
        deploy(nova, **asked)
    assert nova.fleet.snapshot().deployments == {}
    assert audited(nova) == []


def test_an_unknown_agent_is_not_found(nova: Nova) -> None:
    with pytest.raises(NotFound):
        deploy(nova, agent="nothing")


@pytest.mark.parametrize("agent", ["scraper", "scraper_agent"])
def test_an_agent_that_is_not_scalable_has_one_replica(agent: str, nova: Nova) -> None:
    config = {"url": "https://example.com", "fields": {"text": "p"}}
    one = deploy(nova, agent=agent, name="quotes", config=config).deployment
    assert (one.agent, one.max_replicas) == ("scraper_agent", 1)
    with pytest.raises(Refused, match="one replica only"):
        scale(nova, "quotes", replicas=2, by="dana")
    with pytest.raises(Refused, match="one replica only"):
        deploy(nova, agent=agent, name="more", config=config, replicas=2)


@pytest.mark.parametrize(("multiplier", "replicas"), [(2, 6), (1.1, 4), (0.5, 2), (0.01, 1), (99, 10), (1, 3)])
def test_a_multiplier_is_rounded_up_within_the_bounds(multiplier: float, replicas: int, nova: Nova) -> None:
    deploy(nova, name="mail", replicas=3)
    assert scale(nova, "mail", multiplier=multiplier, by="dana").replicas == replicas


def test_scaling_is_recorded_once_and_refused_past_the_most(nova: Nova) -> None:
    deploy(nova, name="mail")
    for _ in range(2):
        scale(nova, "mail", replicas=4, by="dana")
    assert audited(nova)[1:] == [("dana", "scaled", "mail")]
    with pytest.raises(Refused):
        scale(nova, "mail", replicas=11, by="dana")
    for bad in (-1.0, 0.0, float("nan")):
        with pytest.raises(UsageProblem):
            scale(nova, "mail", multiplier=bad, by="dana")


def test_pausing_and_resuming_repeat_without_effect(nova: Nova) -> None:
    deploy(nova, name="mail")
    for _ in range(2):
        assert pause(nova, "mail", by="dana").pause_reason == "operator"
    for _ in range(2):
        assert resume(nova, "mail", by="dana").state == "active"
    assert [action for _, action, _ in audited(nova)] == ["deployed", "paused", "resumed"]


@pytest.mark.parametrize(("reason", "overridden"), [("roi", True), ("budget", True), ("operator", False)])
def test_resuming_what_roi_or_a_budget_paused_is_an_override(
    reason: Any, overridden: bool, nova: Nova, clock: ManualClock
) -> None:
    deploy(nova, name="mail")
    nova.fleet.pause("mail", reason)
    clock.advance(60)
    assert (resume(nova, "mail", by="dana").evidence_since == clock.now()) is overridden


def test_resuming_what_a_breaker_paused_closes_it_and_resuming_all_does_not(nova: Nova, clock: ManualClock) -> None:
    deploy(nova, name="mail")
    nova.fleet.trip("mail", Breaker("no_progress"), clock.now())
    assert resume_all(nova, by="dana") == []
    clock.advance(60)
    after = resume(nova, "mail", by="dana")
    assert (after.state, after.breaker, after.evidence_since) == ("active", None, clock.now())


def test_what_a_total_stopped_is_not_resumed_before_it_has_room(nova: Nova, clock: ManualClock) -> None:
    deploy(nova, name="mail", budget=["5/total"])
    nova.ledger.entries.record([Entry("b", "bill", "cost", Money.parse("4.90", "USD"), clock.now(), "mail")])
    nova.fleet.pause("mail", "budget", None, needs=Money.parse("0.20", "USD"))
    with pytest.raises(Refused, match=r"budget of worker:mail is used up: \$5\.00 in total") as refusal:
        resume(nova, "mail", by="dana")
    assert "nova budgets set worker:mail AMOUNT/total" in (refusal.value.hint or "")
    set_budget(nova, "worker:mail", "total", Money.parse("6", "USD"), by="dana")
    assert resume(nova, "mail", by="dana").state == "active"


@pytest.mark.parametrize(
    ("said", "asked", "found"),
    [
        ("0.02/run", None, "0.02 USD/run"),
        ("0.02/run", "0.50/hour", "0.50 USD/hour"),
        ("0.02/run", "0/run", "None"),
        (None, None, "None"),
    ],
)
def test_an_agent_says_what_it_costs_unless_the_declaration_does(
    nova: Nova, said: str | None, asked: str | None, found: str
) -> None:
    (nova.settings.nova_home / "agents").mkdir()
    (nova.settings.nova_home / "agents" / "mine.py").write_text(WORKER + f"    imputed_cost = {said!r}\n")
    one = deploy(nova, agent="mine", config={}, imputed=asked).deployment
    assert str(one.imputed) == found


def test_an_agent_that_says_nonsense_of_its_cost_is_refused_by_name(nova: Nova) -> None:
    (nova.settings.nova_home / "agents").mkdir()
    (nova.settings.nova_home / "agents" / "mine.py").write_text(WORKER + "    imputed_cost = '0.02/day'\n")
    with pytest.raises(UsageProblem, match=r"Mine\.imputed_cost: not an imputed cost: '0\.02/day'"):
        deploy(nova, agent="mine", config={})


def test_tiers_are_set_in_order_and_back_to_the_usual_one(nova: Nova) -> None:
    assert set_tiers(nova, ["95", "50 %", "80", "50"], by="dana") == (50, 80, 95) == nova.fleet.snapshot().tiers
    assert set_tiers(nova, ["reset"], by="dana") == (80,)
    assert [action for _, action, _ in audited(nova)] == ["tiers_set", "tiers_set"]


@pytest.mark.parametrize("given", [["0"], ["101"], ["80.5"], ["-5"], ["reset", "80"], ["²"], []])
def test_what_is_no_tier_is_refused(nova: Nova, given: list[str]) -> None:
    with pytest.raises(UsageProblem):
        set_tiers(nova, given, by="dana")
    assert nova.fleet.snapshot().tiers == (80,)


def test_what_is_parked_or_cools_down_can_be_resumed_and_keeps_its_evidence(nova: Nova, clock: ManualClock) -> None:
    for name in ("a", "b"):
        deploy(nova, name=name)
    nova.fleet.park("a")
    nova.fleet.cool_down("b", clock.now())
    for name in ("a", "b"):
        one = resume(nova, name, by="dana")
        assert (one.state, one.evidence_since) == ("active", None)


def test_all_are_paused_and_come_back_but_for_the_parked_and_the_killed(nova: Nova) -> None:
    for name in ("a", "b", "c", "d", "e"):
        deploy(nova, name=name)
    nova.fleet.pause("b", "budget")
    nova.fleet.park("c")
    nova.fleet.kill("d")
    nova.fleet.pause("e", "operator")
    assert [one.name for one in pause_all(nova, "dana")] == ["a", "b"]
    states = {name: one.state for name, one in nova.fleet.snapshot().deployments.items()}
    assert states == {"a": "paused", "b": "paused", "c": "parked", "d": "killed", "e": "paused"}
    assert [one.name for one in resume_all(nova, "dana")] == ["a", "b", "c", "e"]


def test_what_was_killed_is_neither_paused_nor_resumed_but_revived(nova: Nova) -> None:
    deploy(nova, name="mail")
    assert kill(nova, "mail", by="dana").state == "killed"
    for act in (pause, resume):
        with pytest.raises(Refused):
            act(nova, "mail", by="dana")
    with pytest.raises(Refused):
        deploy(nova, name="mail")
    assert deploy(nova, name="mail", revive=True).deployment.state == "active"
    assert "state" in nova.ledger.audit.log()[-1].detail["changes"]


def test_killing_returns_when_every_manager_has_said_that_nothing_of_it_is_left(nova: Nova, manager: Any) -> None:
    deploy(nova, name="mail")
    seen, other = manager(), manager("sales")
    seen.applies()
    other.applies()
    done: list[str] = []
    thread = threading.Thread(target=lambda: done.append(kill(nova, "mail", by="dana").state))
    thread.start()
    thread.join(0.2)
    assert done == []
    assert nova.fleet.get("mail").state == "killed"
    seen.applies("mail#1", "other#1")
    thread.join(0.2)
    assert done == []
    seen.applies("other#1")
    thread.join(0.2)
    assert done == []
    other.applies()
    thread.join(10)
    assert done == ["killed"]


def test_a_death_that_is_not_confirmed_is_said(nova: Nova, manager: Any) -> None:
    deploy(nova, name="mail")
    seen = manager()
    with pytest.raises(NovaError, match="process id 4711 has not carried it out"):
        kill(nova, "mail", by="dana", timeout_s=0.1)
    assert nova.fleet.get("mail").state == "killed"
    seen.applies("mail#1")
    with pytest.raises(NovaError, match="mail#1 is still there"):
        kill(nova, "mail", by="dana", timeout_s=0.1)


def test_what_another_manager_wrote_before_it_died_confirms_nothing(nova: Nova, manager: Any) -> None:
    deploy(nova, name="mail")
    seen = manager()
    seen.id = "m-before"
    seen.applies()
    with pytest.raises(NovaError, match="has not carried it out"):
        kill(nova, "mail", by="dana", timeout_s=0.1)


def frozen(nova: Nova, seen: Any, worker: str) -> None:
    """A manager that stands still in the middle of a run, and from which another one takes over."""
    nova.ledger.leases.acquire(seen.id, [worker])
    nova.ledger.runs.started(RunRef("r1", worker, f"{worker}#1", "sales", seen.id), nova.clock.now())
    nova.ledger.leases.fence(seen.id, "m-2", "it gave no sign of life")


@pytest.mark.parametrize("more", [{}, {"runtime": "process", "agent": "mine.py:Mine", "config": {}}])
def test_of_a_frozen_manager_only_threads_are_in_doubt(nova: Nova, manager: Any, more: Any) -> None:
    agents = nova.settings.nova_home / "agents"
    agents.mkdir()
    (agents / "mine.py").write_text(WORKER)
    deploy(nova, name="mail", **more)
    seen = manager()
    frozen(nova, seen, "mail")
    with pytest.raises(NovaError, match="has not carried it out"):
        kill(nova, "mail", by="dana", timeout_s=0.1)  # what it ran is not ended yet
    nova.ledger.leases.free(seen.id)
    assert kill(nova, "mail", by="dana", timeout_s=30).state == "killed"


def test_a_thread_in_a_frozen_manager_is_said_soon_and_how_it_is_ended(
    nova: Nova, manager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.ending._WAKING_S", 0.1)
    agents = nova.settings.nova_home / "agents"
    agents.mkdir()
    (agents / "mine.py").write_text(WORKER)
    for name in ("mail", "idle"):
        deploy(nova, name=name, agent="mine.py:Mine", config={})
    seen = manager()
    frozen(nova, seen, "mail")
    nova.ledger.leases.free(seen.id)
    assert kill(nova, "idle", by="dana").state == "killed"
    with pytest.raises(NovaError, match="can book nothing any more") as refused:
        kill(nova, "mail", by="dana")
    assert refused.value.hint is not None and "kill -9 4711" in refused.value.hint
    seen.die()
    assert kill(nova, "mail", by="dana").state == "killed"


def test_a_run_in_a_terminal_is_waited_for_too(nova: Nova) -> None:
    deploy(nova, name="mail")
    lock = ForegroundLock(nova.settings.run_dir, "mail")
    assert lock.acquire(ManagerInfo(4712, "f-1", "", "sales"))
    with pytest.raises(NovaError, match="its run in the terminal, process id 4712, has not ended"):
        kill(nova, "mail", by="dana", timeout_s=0.1)
    lock.release()
    assert kill(nova, "mail", by="dana").state == "killed"


def test_killing_ends_what_its_commands_left_behind(nova: Nova, manager: Any) -> None:
    deploy(nova, name="mail")
    dead = manager()
    dead.die()
    left, other = (
        subprocess.Popen(["sleep", "1000"], env={"NOVA_MANAGER": dead.id, "NOVA_WORKER": name})
        for name in ("mail", "other")
    )
    with left, other:
        kill(nova, "mail", by="dana")
        assert left.wait(10) == -signal.SIGKILL
        assert other.poll() is None
        other.kill()


def test_what_a_dead_manager_saw_does_not_hold_a_kill_up(nova: Nova, manager: Any) -> None:
    deploy(nova, name="mail")
    dead = manager()
    dead.sees("mail", "running")
    dead.die()
    assert kill(nova, "mail", by="dana").state == "killed"


def test_retiring_takes_it_out_and_keeps_its_history(nova: Nova) -> None:
    deploy(nova, name="mail")
    retire(nova, "mail", by="dana")
    assert nova.fleet.snapshot().deployments == {}
    assert "mail" in nova.ledger.deployments.all()
    assert audited(nova)[-1] == ("dana", "retired", "mail")
    with pytest.raises(NotFound):
        retire(nova, "mail", by="dana")


def test_budgets_are_set_once_and_removed_on_the_record(nova: Nova) -> None:
    deploy(nova, name="mail", budget=["5/day"])
    for _ in range(2):
        set_budget(nova, "worker:mail", "day", Money.parse("10", "USD"), by="dana")
    assert [str(limit.limit) for limit in nova.fleet.get("mail").budget] == ["10.00"]
    set_budget(nova, "department:sales", "month", Money.parse("100", "USD"), by="dana")
    assert remove_budget(nova, "department:sales", by="dana") == 1
    assert [action for _, action, _ in audited(nova)] == ["deployed", "budget_set", "budget_set", "budget_removed"]
    with pytest.raises(NotFound):
        remove_budget(nova, "department:sales", by="dana")


def test_secrets_are_masked_by_name_and_by_look() -> None:
    shown = masked(
        {"api_key": "x", "Password": "x", "stripe_token": "x", "OPENAI_KEY": "x", "key": "text", "keywords": ["a"],
         "env": {"AWS_SECRET_ACCESS_KEY": "x", "LANG": "C"}, "command": "curl https://me:hunter2@example.com"}
    )  # fmt: skip
    assert shown == {
        "api_key": "***", "Password": "***", "stripe_token": "***", "OPENAI_KEY": "***", "key": "text",
        "keywords": ["a"], "env": {"AWS_SECRET_ACCESS_KEY": "***", "LANG": "C"}, "command": "curl https://***@example.com",
    }  # fmt: skip


def test_a_schedule_is_read_when_it_is_declared(nova: Nova) -> None:
    with pytest.raises(UsageProblem, match="not a cron expression"):
        deploy(nova, schedule=Schedule(cron="every day"))
    with pytest.raises(UsageProblem, match="--every and --cron"):
        deploy(nova, schedule=Schedule(cron="@daily"), every="5m")
    assert nova.fleet.snapshot().deployments == {}
    assert deploy(nova, schedule=Schedule(cron="0 9 * * mon-fri")).deployment.schedule.cron == "0 9 * * mon-fri"
