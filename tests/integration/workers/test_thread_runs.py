from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from nova.errors import BudgetExceeded, LedgerConflict, NovaError, PlatformNotConfigured, UsageProblem
from nova.ledger.limits import Limit
from nova.money import Money
from workers import BaseWorker, RunContext, RunResult
from workers.gate import LateRun
from workers.hosts.base import BudgetHit, RunEnded
from workers.hosts.local import LocalHost
from workers.instance import Backoff, Intent

from .conftest import Agents, Rig, booked, until


def usd(text: str) -> Money:
    return Money.parse(text, "USD")


@pytest.fixture
def agent(agents: Agents) -> Callable[[Callable[[RunContext], Any]], None]:
    """Deploys a function as the agent `w`."""

    def add(act: Callable[[RunContext], Any]) -> None:
        class Acting(BaseWorker):
            def run(self, ctx: RunContext) -> RunResult | None:
                result: RunResult | None = act(ctx)
                return result

        agents["w"] = Acting

    return add


def test_a_run_is_given_its_place_and_returns_success(rig: Rig, agent: Any) -> None:
    told: list[object] = []
    agent(lambda ctx: told.extend([ctx.worker, ctx.instance, ctx.index, ctx.replicas, ctx.now().tzinfo]))
    rig.sync(rig.spec(index=2, replicas=3))
    assert rig.ended("w").status == "succeeded"
    assert told == ["w", "w#2", 2, 3, UTC]


def test_raising_is_a_crash_that_is_retried_and_returning_false_is_none(rig: Rig, agent: Any) -> None:
    results: Iterator[RunResult] = iter([RunResult(ok=False, message="nothing to do")])

    def act(ctx: RunContext) -> RunResult:
        if ctx.state.setdefault("tries", 0) < 2:
            ctx.state["tries"] += 1
            raise ValueError("bad luck")
        return next(results)

    agent(act)
    rig.sync(rig.spec())
    last = rig.ended("w", 3)
    assert (last.status, last.crash, last.error) == ("failed", False, "nothing to do")
    first = rig.runs("w")[-1]
    assert (first.status, first.crash, first.error) == ("failed", True, "ValueError: bad luck")
    assert "Traceback" in rig.log("w")


def test_even_leaving_the_interpreter_is_only_a_crash(rig: Rig, agent: Any) -> None:
    def act(ctx: RunContext) -> None:
        raise SystemExit(7)

    agent(act)
    rig.sync(rig.spec())
    assert rig.ended("w").crash


def test_an_agent_that_cannot_be_loaded_is_a_crash_that_says_so(rig: Rig) -> None:
    rig.sync(rig.spec())
    assert rig.ended("w").error == "no agent w"


def test_configuration_is_validated_by_the_class(rig: Rig, agents: Agents) -> None:
    seen: list[int] = []

    class Counter(BaseWorker):
        class Config(BaseModel):
            many: int = 3

        def run(self, ctx: RunContext) -> None:
            seen.append(ctx.config.many)

    agents["w"] = Counter
    rig.sync(rig.spec(config={"many": "5"}))
    rig.ended("w")
    assert seen == [5]


def test_one_object_serves_an_instance_until_its_configuration_changes(rig: Rig, agents: Agents) -> None:
    events: list[str] = []

    class Kept(BaseWorker):
        def setup(self, ctx: RunContext) -> None:
            events.append("setup")

        def run(self, ctx: RunContext) -> None:
            events.append("run")

        def teardown(self) -> None:
            events.append("teardown")

    agents["w"] = Kept
    rig.sync(rig.spec(every_s=0.02))
    rig.ended("w", 2)
    rig.sync(rig.spec(every_s=0.02, generation=2))
    until(lambda: "teardown" in events)
    rig.sync()
    until(lambda: not rig.states(), "it is gone")
    until(lambda: events.count("teardown") == 2)
    assert events[:3] == ["setup", "run", "run"]


def test_money_is_reserved_settled_and_booked_once_at_the_end(rig: Rig, agent: Any) -> None:
    def act(ctx: RunContext) -> None:
        ctx.spend("0.10", "tokens")
        with ctx.spending("1.00") as spending:
            assert rig.ledger.budgets.usage("worker:w", "day").reserved == usd("1.00")
            spending.settle(usd("0.30"))
        ctx.spent("0.05")
        assert ctx.earn("2.00", "order-1")
        assert not ctx.earn("2.00", "order-1")
        with pytest.raises(LedgerConflict):
            ctx.earn("3.00", "order-1")
        with pytest.raises(UsageProblem):
            ctx.spend(0.1)  # type: ignore[arg-type]
        with pytest.raises(UsageProblem):
            ctx.spend("-1")

    agent(act)
    rig.sync(rig.spec())
    run = rig.ended("w")
    assert (run.status, run.error) == ("succeeded", None)
    assert booked(rig.ledger, "w", "cost") == usd("0.45")
    assert booked(rig.ledger, "w", "revenue") == usd("2.00")


def test_the_same_sale_earned_by_a_later_run_is_no_contradiction(rig: Rig, agent: Any) -> None:
    agent(lambda ctx: ctx.earn("2.00", "order-1") and None)
    rig.sync(rig.spec(every_s=0.02))
    assert {rig.ended("w", 3).status} == {"succeeded"}
    assert booked(rig.ledger, "w", "revenue") == usd("2.00")


def test_a_refusal_ends_the_run_even_if_it_is_caught(rig: Rig, agent: Any) -> None:
    def act(ctx: RunContext) -> None:
        ctx.spend("0.90")
        with pytest.raises(BudgetExceeded):
            ctx.spend("0.20")
        assert ctx.stopping

    agent(act)
    rig.sync(rig.spec(limits=(Limit("fleet", "day", usd("1.00")), Limit("run", "run", usd("5.00")))))
    run = rig.ended("w")
    assert (run.status, run.crash) == ("interrupted", False)
    rig.look()
    near, refused = [fact for fact in rig.facts if isinstance(fact, BudgetHit)]
    assert (near.kind, refused.kind) == ("near", "refused")
    assert refused.breaches[0].limit.scope == "fleet"


def test_money_that_is_gone_is_booked_and_told_when_it_breaks_a_limit(rig: Rig, agent: Any) -> None:
    agent(lambda ctx: ctx.spent("7.00"))
    rig.sync(rig.spec(limits=(Limit("worker:w", "day", usd("1.00")),)))
    assert rig.ended("w").status == "succeeded"
    rig.look()
    assert "broken" in {fact.kind for fact in rig.facts if isinstance(fact, BudgetHit)}
    assert booked(rig.ledger, "w", "cost") == usd("7.00")


def test_a_lowered_limit_stops_a_run_that_is_under_way(rig: Rig, agent: Any) -> None:
    def act(ctx: RunContext) -> None:
        while True:
            ctx.spend("0.000001")

    agent(act)
    rig.sync(rig.spec(limits=(Limit("worker:w", "day", usd("1000")),)))
    until(lambda: rig.ledger.budgets.usage("worker:w", "day").spent)
    rig.sync(rig.spec(limits=(Limit("worker:w", "day", usd("0")),)))
    assert rig.ended("w").status == "interrupted"


@pytest.mark.serial
def test_stopping_does_not_wait_for_threads_that_hang(rig: Rig, agent: Any) -> None:
    release = threading.Event()
    agent(lambda ctx: release.wait(60))
    rig.sync(rig.spec(timeout_s=0.1))
    until(lambda: rig.states() == {"w#1": "hung"})
    began = time.monotonic()
    rig.host.stop(10.0)
    assert time.monotonic() - began < 5
    release.set()


def test_a_hung_run_is_over_its_late_result_refused_and_no_other_starts_until_its_thread_ends(
    rig: Rig, agent: Any
) -> None:
    go, late = threading.Event(), []

    def act(ctx: RunContext) -> None:
        if late:
            return
        go.wait(30)
        for call in (lambda: ctx.spend("1"), lambda: ctx.earn("1", "x"), lambda: ctx.state.update(a=1)):
            with pytest.raises(LateRun) as refusal:
                call()
            late.append(refusal.value)

    agent(act)
    rig.sync(rig.spec(every_s=0.01, timeout_s=0.2))
    run = rig.ended("w")
    assert (run.status, run.crash) == ("failed", True)
    assert "hangs" in run.error
    assert rig.states() == {"w#1": "hung"}
    assert [fact.hung for fact in rig.facts if isinstance(fact, RunEnded)] == [True]
    go.set()
    rig.ended("w", 2)
    assert len(late) == 3
    assert booked(rig.ledger, "w", "revenue") == usd("0")
    assert rig.runs("w")[-1].error == run.error


def test_late_money_that_is_gone_already_is_booked_all_the_same(rig: Rig, agent: Any) -> None:
    go, told = threading.Event(), threading.Event()

    def act(ctx: RunContext) -> None:
        go.wait(30)
        with pytest.raises(LateRun):
            ctx.spent("3.00")
        told.set()

    agent(act)
    rig.sync(rig.spec(timeout_s=0.1))
    rig.ended("w")
    rig.sync()
    go.set()
    assert told.wait(10)
    until(lambda: booked(rig.ledger, "w", "cost") == usd("3.00"))


def test_a_run_that_is_killed_before_it_has_a_thread_does_not_begin(
    rig: Rig, agent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, held = threading.Event(), list[Callable[[], object]]()
    agent(lambda ctx: began.set())
    give = rig.host._pool.submit
    monkeypatch.setattr(rig.host._pool, "submit", held.append)
    rig.sync(rig.spec())
    until(lambda: held, "it waits for a thread")
    rig.host.kill("w#1")
    rig.sync()
    until(lambda: len(held) > 1, "its end waits too")
    for job in held[:1]:
        give(job)
    assert rig.ended("w").status == "interrupted" and not began.is_set()
    until(lambda: rig.states() == {})


def test_a_killed_thread_is_recorded_at_once_and_reported_until_it_is_gone(rig: Rig, agent: Any) -> None:
    go = threading.Event()
    agent(lambda ctx: go.wait(30) and None)
    rig.sync(rig.spec())
    until(lambda: rig.states() == {"w#1": "running"})
    rig.host.kill("w#1")
    rig.sync()
    assert rig.ended("w").status == "interrupted"
    assert rig.states() == {"w#1": "stopping"}
    go.set()
    until(lambda: rig.states() == {})


def test_draining_lets_the_run_end_and_being_asked_returns_early_from_sleep(rig: Rig, agent: Any) -> None:
    agent(lambda ctx: ctx.sleep(30) and None)
    rig.sync(rig.spec())
    until(lambda: rig.states() == {"w#1": "running"})
    rig.sync()
    until(lambda: rig.states() == {"w#1": "stopping"})
    rig.sync(rig.spec(intent=Intent.END))
    assert rig.ended("w").status == "succeeded"


def test_the_last_recorded_start_says_when_a_run_is_due(rig: Rig, agent: Any) -> None:
    agent(lambda ctx: None)
    now = datetime.now(UTC)
    host = LocalHost(
        rig.services, starts={"w#1": now - timedelta(seconds=10), "w#2": now - timedelta(hours=9)}, wake=lambda: None
    )
    want = {spec.instance: spec for spec in (rig.spec(index=1), rig.spec(index=2), rig.spec(index=3))}
    host.sync(want, time.monotonic() + 30)
    until(lambda: {run.instance for run in rig.runs("w")} == {"w#2", "w#3"})
    assert host.sync(want, time.monotonic() + 30).states["w#1"].state == "waiting"
    host.stop(1)


def test_a_run_whose_thread_begins_after_the_lease_ran_out_does_nothing_and_is_due_at_once(
    rig: Rig, agent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    jobs: list[Any] = []
    agent(lambda ctx: begun.append(ctx.run_id))
    with monkeypatch.context() as held_up:
        held_up.setattr(rig.host._pool, "submit", jobs.append)
        rig.want = {"w#1": rig.spec()}
        rig.host.sync(rig.want, time.monotonic() + 0.05)
        until(lambda: jobs)
    lapsed = time.monotonic() + 0.1
    until(lambda: time.monotonic() > lapsed)
    jobs[0]()
    assert rig.ended("w").status == "interrupted"
    assert begun == []
    rig.look()
    until(lambda: begun)


def test_a_manager_that_stood_still_before_it_could_declare_what_runs_begins_nothing(rig: Rig, agent: Any) -> None:
    agent(lambda ctx: None)
    rig.want = {"w#1": rig.spec()}
    still = threading.Event()

    def hold() -> None:
        with rig.host._condition:
            still.set()
            threading.Event().wait(0.1)

    holder = threading.Thread(target=hold)
    holder.start()
    assert still.wait(5)
    rig.host.sync(rig.want, time.monotonic() + 0.05)
    holder.join()
    with rig.host._condition:
        rig.host._turn(time.monotonic())
    assert rig.host.report().states["w#1"].run is None
    assert rig.runs("w") == []
    rig.look()
    rig.ended("w")


def test_without_a_lease_no_new_run_starts(rig: Rig, agent: Any) -> None:
    agent(lambda ctx: None)
    rig.want = {"w#1": rig.spec(every_s=0.01)}
    rig.host.sync(rig.want, time.monotonic() + 0.1)
    rig.ended("w", 2)
    lapsed = time.monotonic() + 0.3
    until(lambda: time.monotonic() > lapsed)
    count = len(rig.runs("w"))
    lapsed = time.monotonic() + 0.2
    until(lambda: time.monotonic() > lapsed)
    assert len(rig.runs("w")) == count
    rig.look()
    until(lambda: len(rig.runs("w")) > count)


@pytest.mark.serial
def test_a_crash_without_backoff_is_retried_within_a_tenth_of_a_second(rig: Rig, agent: Any) -> None:
    starts: list[float] = []

    def act(ctx: RunContext) -> None:
        starts.append(time.monotonic())
        if len(starts) < 3:
            raise ValueError

    agent(act)
    host = LocalHost(rig.services, starts={}, wake=lambda: None, backoff=Backoff(base_s=0))
    host.sync({"w#1": rig.spec()}, time.monotonic() + 30)
    until(lambda: len(starts) == 3)
    assert starts[2] - starts[1] < 0.1
    host.stop(1)


def test_stopping_asks_waits_and_records_what_does_not_end(rig: Rig, agents: Agents) -> None:
    held, release = threading.Event(), threading.Event()

    class Good(BaseWorker):
        def run(self, ctx: RunContext) -> None:
            ctx.sleep(60)

    class Deaf(BaseWorker):
        def run(self, ctx: RunContext) -> None:
            held.set()
            release.wait(60)

    agents |= {"good": Good, "deaf": Deaf}
    rig.sync(rig.spec("good"), rig.spec("deaf"), rig.shell("trap '' TERM; while :; do sleep 1; done"))
    assert held.wait(10)
    until(lambda: set(rig.states().values()) == {"running"})
    began = time.monotonic()
    rig.host.stop(2.0)
    assert time.monotonic() - began < 3
    ends = {worker: rig.ended(worker).status for worker in ("good", "deaf", "sh")}
    assert ends == {"good": "succeeded", "deaf": "interrupted", "sh": "interrupted"}
    release.set()


@pytest.mark.serial
def test_waiting_instances_cost_no_threads(rig: Rig, agent: Any) -> None:
    rig.host._pool._idle_s = 0.5
    agent(lambda ctx: None)
    before = threading.active_count()
    rig.sync(*(rig.spec(index=index) for index in range(1, 201)))
    until(lambda: len(rig.runs("w")) >= 100 and set(rig.states().values()) == {"waiting"}, seconds=30)
    until(lambda: threading.active_count() <= before + 1, "idle threads are reaped", 30)


def test_a_ledger_out_of_reach_is_no_crash_of_the_agent(rig: Rig, agent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> None:
        raise NovaError("no space is left for the ledger")

    for name in ("spend", "spent"):
        monkeypatch.setattr(rig.ledger.budgets, name, full_disk)
    for act in (lambda ctx: ctx.spend("1"), lambda ctx: ctx.spent("1")):
        agent(act)
        rig.sync(rig.spec(every_s=0.01))
        run = rig.ended("w")
        assert (run.status, run.crash, run.error) == ("interrupted", False, "no space is left for the ledger")


def test_platforms_without_a_key_say_so(rig: Rig, agent: Any) -> None:
    def act(ctx: RunContext) -> None:
        with pytest.raises(PlatformNotConfigured):
            _ = ctx.platforms.stripe

    agent(act)
    rig.sync(rig.spec())
    assert rig.ended("w").status == "succeeded"


def test_cpu_of_a_thread_is_seen_while_it_runs(rig: Rig, agent: Any) -> None:
    def act(ctx: RunContext) -> None:
        while not ctx.stopping:
            sum(range(10_000))

    agent(act)
    rig.sync(rig.spec())
    until(lambda: (seen := rig.host.report().states.get("w#1")) and seen.cpu_s > 0.05)
    rig.sync(rig.spec(intent=Intent.END))
    assert rig.ended("w").status == "succeeded"
