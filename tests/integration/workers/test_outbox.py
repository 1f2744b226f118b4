from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nova.errors import LedgerConflict, UsageProblem
from nova.ledger.effects import EffectHeld
from nova.ledger.limits import Limit
from nova.money import Money
from workers import BaseWorker, RunContext, RunResult
from workers.gate import LateRun
from workers.outbox import EffectsFailed

from .conftest import Agents, Rig, until


class Receiver:
    """What the outside world sees: the keys in the order they came, and at most one effect a key."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.effects: dict[str, Any] = {}

    def send(self, payload: Any, *, idempotency_key: str) -> str:
        self.calls.append(idempotency_key)
        self.effects.setdefault(idempotency_key, payload)
        return f"m-{len(self.effects)}"


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


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


def states(rig: Rig) -> dict[str, str]:
    return {effect.key: effect.state for effect in rig.ledger.outbox.of("w")}


def test_each_effect_is_done_once_over_many_runs(rig: Rig, agent: Any, receiver: Receiver) -> None:
    def act(ctx: RunContext) -> None:
        for key in ("a", "b", "c"):
            ctx.outbox.put("mail", key, {"to": key})
        for effect in ctx.outbox.due("mail"):
            with effect:
                effect.result = receiver.send(effect.payload, idempotency_key=effect.idempotency_key)

    agent(act)
    rig.sync(rig.spec(every_s=0.01))
    assert rig.ended("w", 3).status == "succeeded"
    assert list(receiver.effects.values()) == [{"to": "a"}, {"to": "b"}, {"to": "c"}]
    assert len(receiver.calls) == 3
    assert [effect.result for effect in rig.ledger.outbox.of("w", ["done"])] == ["m-3", "m-2", "m-1"]


def test_a_failure_keeps_its_effect_and_stops_no_other_and_the_run_failed_without_a_crash(
    rig: Rig, agent: Any, receiver: Receiver
) -> None:
    def act(ctx: RunContext) -> None:
        for key in ("bad", "good"):
            ctx.outbox.put("mail", key)
        for effect in ctx.outbox.due():
            with effect:
                if effect.key == "bad":
                    raise ValueError("no such address")
                receiver.send(effect.payload, idempotency_key=effect.idempotency_key)

    agent(act)
    rig.sync(rig.spec())
    run = rig.ended("w")
    assert (run.status, run.crash) == ("failed", False)
    assert run.error == "1 of 2 effects failed, first mail 'bad': ValueError: no such address"
    assert states(rig) == {"bad": "pending", "good": "done"}
    assert "mail 'bad' failed, attempt 1 of 10, next attempt in 30s" in rig.log("w")
    assert "Traceback" in rig.log("w")


def test_once_returns_what_was_recorded_when_it_was_done(rig: Rig, agent: Any, receiver: Receiver) -> None:
    results = []

    def act(ctx: RunContext) -> None:
        key = "order-17"

        def charge(effect: Any) -> Any:
            return {"id": receiver.send(effect.payload, idempotency_key=effect.idempotency_key), "by": (1, 2)}

        results.append(ctx.outbox.once("charge", key, {"amount": "5.00"}, charge))
        with pytest.raises(LedgerConflict):
            ctx.outbox.once("charge", key, {"amount": "6.00"}, charge)

    agent(act)
    rig.sync(rig.spec(every_s=0.01))
    assert rig.ended("w", 2).status == "succeeded"
    assert results[:2] == [{"id": "m-1", "by": [1, 2]}] * 2
    assert len(receiver.calls) == 1


def test_what_the_action_raises_is_raised_and_its_next_run_tries_again(
    rig: Rig, agent: Any, receiver: Receiver
) -> None:
    tries: Iterator[int] = iter(range(100))

    def charge(effect: Any) -> str:
        answer = receiver.send(effect.payload, idempotency_key=effect.idempotency_key)
        if next(tries) == 0:
            raise ConnectionError("no answer came")
        return answer

    agent(lambda ctx: ctx.outbox.once("charge", "a", 1, charge) and None)
    rig.sync(rig.spec(every_s=0.01))
    until(lambda: any(run.status == "succeeded" for run in rig.runs("w")), "the second try")
    first = rig.runs("w")[-1]
    assert (first.status, first.crash, first.error) == ("failed", True, "ConnectionError: no answer came")
    assert len(receiver.calls) == 2
    assert len(receiver.effects) == 1


def test_two_replicas_are_never_at_the_same_effect(rig: Rig, agent: Any) -> None:
    lock, at, seen, overlaps = threading.Lock(), set[str](), list[str](), list[str]()

    def act(ctx: RunContext) -> None:
        for number in range(40):
            ctx.outbox.put("mail", f"{number}")
        for effect in ctx.outbox.due():
            with effect:
                with lock:
                    overlaps.extend(at & {effect.key})
                    at.add(effect.key)
                    seen.append(effect.key)
                threading.Event().wait(0.002)
                with lock:
                    at.discard(effect.key)

    agent(act)
    rig.sync(*(rig.spec(index=index, replicas=4) for index in range(1, 5)))
    rig.ended("w", 4)
    assert overlaps == []
    assert sorted(seen) == sorted({str(number) for number in range(40)})


def test_what_another_run_is_at_is_told_by_name(rig: Rig, agent: Any) -> None:
    inside, told, leave = threading.Event(), threading.Event(), threading.Event()

    def slow(_: object) -> None:
        inside.set()
        leave.wait(20)

    def act(ctx: RunContext) -> None:
        if ctx.index == 1:
            ctx.outbox.once("charge", "a", 1, slow)
            return
        assert inside.wait(20)
        try:
            ctx.outbox.once("charge", "a", 1, slow)
        except EffectHeld:
            told.set()
            raise

    agent(act)
    rig.sync(rig.spec(index=1), rig.spec(index=2))
    assert told.wait(20)
    run = rig.ended("w")
    assert (run.instance, run.status, run.crash) == ("w#2", "failed", False)
    leave.set()
    rig.ended("w", 2)


def test_an_effect_of_a_run_that_timed_out_is_tried_again_under_the_same_key(
    rig: Rig, agent: Any, receiver: Receiver
) -> None:
    began, release, late = threading.Event(), threading.Event(), list[BaseException]()

    def act(ctx: RunContext) -> None:
        ctx.outbox.put("mail", "a")
        try:
            for effect in ctx.outbox.due():
                with effect:
                    receiver.send(effect.payload, idempotency_key=effect.idempotency_key)
                    if effect.attempts == 1:
                        began.set()
                        release.wait(20)
        except LateRun as problem:
            late.append(problem)
            raise

    agent(act)
    rig.sync(rig.spec(index=1))
    assert began.wait(20)
    rig.leap(60)
    rig.ended("w")
    rig.sync(rig.spec(index=1), rig.spec(index=2))
    until(lambda: states(rig) == {"a": "done"}, "the other replica has done it")
    release.set()
    until(lambda: late, "the hung run is told that it is late")
    assert len(receiver.calls) == 2
    assert len(receiver.effects) == 1


def test_a_refused_spending_inside_an_effect_ends_the_run_and_is_no_failure_of_the_effect(rig: Rig, agent: Any) -> None:
    def act(ctx: RunContext) -> None:
        for key in ("a", "b"):
            ctx.outbox.put("mail", key)
        for effect in ctx.outbox.due():
            with effect:
                ctx.spend("1.00")

    agent(act)
    rig.sync(rig.spec(limits=(Limit("worker:w", "day", Money.parse("1.50", "USD")),)))
    run = rig.ended("w")
    assert run.status == "interrupted"
    assert states(rig) == {"a": "done", "b": "pending"}
    (waits,) = rig.ledger.outbox.of("w", ["pending"])
    assert (waits.attempts, waits.run, waits.error) == (0, None, None)


def test_effects_that_are_not_begun_are_free_and_are_done_in_their_turn_only(rig: Rig, agent: Any) -> None:
    problems = []

    def act(ctx: RunContext) -> None:
        for key in ("a", "b"):
            ctx.outbox.put("mail", key)
        everything = list(ctx.outbox.due())
        try:
            with everything[0]:
                pass
        except UsageProblem as problem:
            problems.append(problem.message)
        for effect in ctx.outbox.due():
            with effect:
                break

    agent(act)
    rig.sync(rig.spec())
    assert rig.ended("w").status == "succeeded"
    assert problems == ["mail 'a' is not this loop's any more"]
    assert states(rig) == {"a": "done", "b": "pending"}


def test_a_run_that_is_asked_to_end_begins_no_further_effect(rig: Rig, agent: Any) -> None:
    began = threading.Event()

    def act(ctx: RunContext) -> None:
        for key in ("a", "b"):
            ctx.outbox.put("mail", key)
        for effect in ctx.outbox.due():
            with effect:
                began.set()
                ctx.sleep(20)

    agent(act)
    rig.sync(rig.spec())
    assert began.wait(20)
    rig.host.stop(5.0)
    assert rig.ended("w").status == "succeeded"
    assert states(rig) == {"a": "done", "b": "pending"}


def test_a_result_that_is_no_json_is_told_after_the_effect_was_marked(rig: Rig, agent: Any) -> None:
    agent(lambda ctx: ctx.outbox.once("charge", "a", 1, lambda effect: object()))
    rig.sync(rig.spec())
    assert "the result of charge 'a' cannot be kept as JSON" in rig.ended("w").error
    assert states(rig) == {"a": "done"}


def test_effects_failed_can_be_caught_by_who_looks_for_it(rig: Rig, agent: Any) -> None:
    def act(ctx: RunContext) -> RunResult:
        ctx.outbox.put("mail", "a")
        try:
            for effect in ctx.outbox.due():
                with effect:
                    raise ValueError("no luck")
        except EffectsFailed:
            return RunResult(ok=True)
        return RunResult(ok=False)

    agent(act)
    rig.sync(rig.spec())
    assert rig.ended("w").status == "succeeded"
