from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nova.errors import BudgetExceeded
from nova.fleet.terms import Breaker, HealthRules
from nova.ledger.ledger import Ledger
from workers import BaseWorker, RunContext, RunResult

from .conftest import Agents, booked, until
from .test_manager import Managed, usd

SOON = HealthRules(progress_runs=4, error_runs=6, probe_s=0.2)
Act = Callable[[RunContext], Any]


@pytest.fixture
def managed(home: Path, ledger: Ledger, agents: Agents) -> Iterator[Managed]:
    rig = Managed(home, ledger, agents)
    yield rig
    rig.stop()


@pytest.fixture
def agent(agents: Agents) -> Callable[[str, Act], None]:
    def add(name: str, act: Act) -> None:
        agents[name] = type(name, (BaseWorker,), {"run": lambda self, ctx: act(ctx)})

    return add


def steps(managed: Managed, name: str = "w") -> list[str]:
    """Oldest first."""
    return [rule for _, rule in managed.acts(name)][::-1]


def is_probing(managed: Managed) -> bool:
    breaker = managed.fleet.get("w").breaker
    return breaker is not None and breaker.probing


def failing(ctx: RunContext) -> RunResult:
    return RunResult(ok=False, message="nothing sold")


def test_runs_that_get_nowhere_open_the_breaker_and_a_probe_that_works_closes_it(managed: Managed, agent: Any) -> None:
    well = threading.Event()
    agent("w", lambda ctx: None if well.is_set() else failing(ctx))
    managed.deploy("w", every_s=0.01, replicas=2, health=SOON)
    managed.start()
    until(lambda: managed.state("w") == ("paused", "breaker"), "the breaker to open")
    until(lambda: steps(managed).count("breaker_reopened") == 2, "two probes that fail")
    assert managed.fleet.get("w").breaker.trips >= 3  # type: ignore[union-attr]
    assert {"breaker_opened", "breaker_reopened"} <= managed.alerts.events()
    well.set()
    until(lambda: managed.state("w") == ("active", None), "the breaker to close")
    assert managed.fleet.get("w").breaker is None
    until(lambda: steps(managed)[-1] == "breaker_closed", "its record")
    until(lambda: set(managed.instances("w")) == {"w#1", "w#2"}, "both replicas")


def test_a_probe_is_exactly_one_run_of_one_instance(managed: Managed, agent: Any) -> None:
    """Also where it crashes, which is otherwise tried again at once."""
    probes = []

    def act(ctx: RunContext) -> None:
        if is_probing(managed):
            probes.append(ctx.instance)
        raise ValueError("no luck")

    agent("w", act)
    managed.deploy("w", every_s=0.01, replicas=2, health=SOON)
    managed.start()
    until(lambda: steps(managed).count("breaker_reopened") >= 2, "two probes that fail")
    managed.stop()
    assert len(probes) == steps(managed).count("breaker_probe")
    assert set(probes) == {"w#1"}


def test_a_probe_whose_manager_ended_is_given_up_and_no_second_one_follows_at_once(
    managed: Managed, agent: Any
) -> None:
    hold, go = threading.Event(), threading.Event()

    def act(ctx: RunContext) -> Any:
        if is_probing(managed):
            hold.set()
            go.wait(20)
        return failing(ctx)

    agent("w", act)
    managed.deploy("w", every_s=0.01, health=HealthRules(progress_runs=4, probe_s=0.5))
    managed.start(grace_s=0.3)
    assert hold.wait(15), "a probe under way"
    managed.stop()
    go.set()
    one = managed.fleet.get("w")
    assert (one.state, one.breaker and one.breaker.probing) == ("paused", False)
    assert one.breaker is not None and one.breaker.trips == 1, "what was cut short is no further trip"
    assert steps(managed)[-1] == "breaker_reopened"


def test_what_another_manager_left_half_open_is_opened_again(managed: Managed, agent: Any) -> None:
    agent("w", lambda ctx: None)
    managed.deploy("w", every_s=3600.0, health=HealthRules(probe_s=0.3))
    managed.fleet.trip("w", Breaker("no_progress"), managed.clock.now())
    assert managed.fleet.probe("w") and not managed.fleet.probe("w"), "one of two managers has it"
    managed.start()
    until(lambda: "breaker_closed" in steps(managed), "its own probe")
    assert steps(managed) == ["breaker_reopened", "breaker_probe", "breaker_closed"]


def test_a_person_who_resumes_closes_the_breaker_in_the_middle_of_a_probe(managed: Managed, agent: Any) -> None:
    probing, go = threading.Event(), threading.Event()

    def act(ctx: RunContext) -> Any:
        if is_probing(managed):
            probing.set()
            go.wait(20)
        return failing(ctx)

    agent("w", act)
    managed.deploy("w", every_s=0.01, health=HealthRules(progress_runs=4, probe_s=0.1))
    managed.start()
    assert probing.wait(15)
    managed.fleet.resume("w", managed.clock.now(), override=True)
    go.set()
    until(lambda: steps(managed).count("breaker_opened") == 2, "it counts afresh, and opens once more")
    assert "breaker_reopened" not in steps(managed)[:3]


def spending(managed: Managed, agent: Any, act: Act, runs: int = 12) -> threading.Event:
    """Runs that cost 0.10 until the event is set, and do `act` from then on."""
    wild = threading.Event()

    def each(ctx: RunContext) -> Any:
        return act(ctx) if wild.is_set() else ctx.spend("0.10")

    agent("w", each)
    managed.deploy("w", every_s=0.01, health=HealthRules(probe_s=60.0))
    managed.start()
    until(lambda: len(managed.runs("w")) >= runs, "what is normal")
    return wild


def test_a_run_that_asks_for_far_more_than_normal_is_refused_and_stopped(managed: Managed, agent: Any) -> None:
    def act(ctx: RunContext) -> None:
        for _ in range(100):
            try:
                ctx.spend("0.10")
            except BudgetExceeded:
                continue

    wild = spending(managed, agent, act)
    wild.set()
    until(lambda: managed.state("w") == ("paused", "breaker"), "the breaker to open")
    until(lambda: managed.instances("w") == {})
    managed.stop()
    last = managed.runs("w")[0]
    assert last.status == "interrupted" and not last.crash
    assert "more than 3 times the $0.10 of its last" in last.error
    assert booked(managed.ledger, "w", "cost") == usd("0.10") * (len(managed.runs("w")) - 1) + usd("0.30")


def test_money_that_is_gone_asks_a_run_to_stop_and_refuses_it_more(managed: Managed, agent: Any) -> None:
    stopping, refused = threading.Event(), threading.Event()

    def act(ctx: RunContext) -> None:
        with ctx.spending("2.00") as call:  # a ceiling is no price
            call.settle("0.50")
        if ctx.sleep(60):
            stopping.set()
        try:
            ctx.spending("0.01")
        except BudgetExceeded:
            refused.set()

    wild = spending(managed, agent, act)
    wild.set()
    until(lambda: steps(managed) == ["breaker_opened"], "the breaker to open")
    assert stopping.wait(5) and refused.wait(5)
    (decision,) = [one for one in managed.ledger.decisions.history("w") if one.rule == "breaker_opened"]
    assert decision.body["evidence"]["spent"] == "0.50" and decision.body["evidence"]["normal"] == "0.10"


def test_a_restarted_manager_knows_what_was_normal_and_how_often_it_failed(managed: Managed, agent: Any) -> None:
    """It needs no more than the rule says, those before it counted: further runs wait."""
    count, go = [], threading.Event()

    def act(ctx: RunContext) -> Any:
        count.append(1)
        if len(count) > 60:
            go.wait(20)
        return failing(ctx)

    agent("w", act)
    managed.deploy("w", every_s=0.01, health=HealthRules(progress_runs=60, error_percent=0.0))
    managed.start()
    until(lambda: len(managed.runs("w")) >= 10)
    managed.stop()
    before = len(count)
    assert before < 60 and managed.state("w") == ("active", None)
    managed.start()
    until(lambda: managed.state("w") == ("paused", "breaker"), "the breaker to open")
    go.set()


def test_a_command_that_overspends_is_killed_at_once(managed: Managed) -> None:
    tick = """test -e wild && { echo '{"nova":"spent","amount":"9"}'; exec sleep 300; }"""
    managed.shell("sh", f"""{tick}; echo '{{"nova":"spend","amount":"0.10"}}'""", every_s=0.01)
    managed.start()
    until(lambda: len(managed.runs("sh")) >= 12, "what is normal", 30)
    (managed.home / "wild").touch()
    until(lambda: managed.state("sh") == ("paused", "breaker"), "the breaker to open", 20)
    until(lambda: managed.instances("sh") == {}, "its death", 20)
    assert managed.runs("sh")[0].status == "interrupted"


def test_a_run_without_a_sign_of_life_is_ended(managed: Managed, agent: Any) -> None:
    go = threading.Event()
    agent("w", lambda ctx: go.wait(20))
    managed.deploy("w", health=HealthRules(heartbeat_s=0.2))
    managed.shell("sh", "exec sleep 300", health=HealthRules(heartbeat_s=0.2))
    managed.start()
    for name in ("w", "sh"):
        run = until(lambda name=name: (ended := managed.runs(name)) and ended[-1], f"the end of {name}")
        assert run.status == "failed" and run.crash and run.error.startswith("gave no sign of life for 0.2 s")
    until(lambda: managed.instances("w") == {"w#1": "hung"})
    go.set()


def test_signs_of_life_keep_a_run(managed: Managed, agent: Any) -> None:
    def act(ctx: RunContext) -> None:
        ctx.sleep(1.2)
        for _ in range(12):
            ctx.beat()
            threading.Event().wait(0.1)

    agent("w", act)
    managed.deploy("w", health=HealthRules(heartbeat_s=1.0))
    beats = """for i in 1 2 3 4 5 6 7 8; do echo '{"nova":"beat"}'; sleep 0.2; done"""
    managed.shell("sh", beats, health=HealthRules(heartbeat_s=1.0))
    managed.start()
    for name in ("w", "sh"):
        run = until(lambda name=name: (ended := managed.runs(name)) and ended[-1], f"the end of {name}")
        assert run.status == "succeeded", run.error
