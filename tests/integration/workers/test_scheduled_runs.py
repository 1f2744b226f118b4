from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nova.clock import SystemClock
from nova.fleet.terms import Schedule
from nova.ledger.ledger import Ledger
from tests.integration.workers.conftest import Agents, Rig, until
from workers.base_worker import BaseWorker
from workers.context import RunContext
from workers.hosts.base import Spec

ONCE = Schedule(once=True)


class ClockThatIsSet(SystemClock):
    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead


@pytest.fixture
def wall(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> ClockThatIsSet:
    monkeypatch.setattr("workers.hosts.local.WATCH_S", 0.02)
    clock = ClockThatIsSet()
    rig.host._clock = rig.host._agendas._clock = clock
    return clock


class Quick(BaseWorker):
    def run(self, ctx: RunContext) -> None:
        if ctx.state.get("crashes", 0) > 0:
            ctx.state["crashes"] -= 1
            raise RuntimeError("no luck")


def once(rig: Rig, **more: Any) -> Spec:
    return rig.spec("q", **{"schedule": ONCE, "since": datetime(2026, 1, 1, tzinfo=UTC), **more})


@pytest.fixture(autouse=True)
def quick(agents: Agents) -> None:
    agents["q"] = Quick


def test_a_run_by_cron_begins_at_its_time_and_the_ledger_knows_which(rig: Rig) -> None:
    rig.sync(rig.spec("q", schedule=Schedule(cron="* * * * * *"), since=datetime.now(UTC)))
    run = rig.ended("q", count=2)
    late = run.started_at - run.started_at.replace(microsecond=0)
    assert late < timedelta(seconds=0.5)
    slots = rig.ledger.runs.last_starts()
    assert slots["q#1"].microsecond == 0 and slots["q#1"] >= run.started_at.replace(microsecond=0)


def test_a_clock_that_is_set_forward_makes_what_came_due_run(rig: Rig, wall: ClockThatIsSet) -> None:
    rig.sync(rig.spec("q", schedule=Schedule(cron="@daily"), since=datetime.now(UTC)))
    assert until(lambda: rig.states() == {"q#1": "waiting"})
    assert rig.runs("q") == []
    wall.ahead = timedelta(days=1)
    rig.ended("q")


def test_a_single_run_that_succeeded_is_not_repeated_until_it_is_declared_anew(rig: Rig) -> None:
    rig.sync(once(rig))
    rig.ended("q")
    until(lambda: rig.states() == {"q#1": "stopped"})
    rig.sync(once(rig), rig.spec("other", agent="q"))
    rig.ended("other")
    assert len(rig.runs("q")) == 1 and rig.states()["q#1"] == "stopped"
    rig.sync(once(rig, since=datetime.now(UTC)))
    rig.ended("q", count=2)


def test_a_single_run_that_crashes_is_tried_again_until_it_succeeds(rig: Rig) -> None:
    rig.ledger.state.set("q", "crashes", 2)
    rig.sync(once(rig))
    assert rig.ended("q", count=3).status == "succeeded"
    until(lambda: rig.states() == {"q#1": "stopped"})


def test_a_single_run_is_remembered_by_the_manager_after(rig: Rig, ledger: Ledger, home: Path) -> None:
    rig.sync(once(rig))
    rig.ended("q")
    rig.host.stop(1.0)
    after = Rig(rig.services, ledger.runs.last_starts())
    try:
        after.sync(once(rig), rig.spec("other", agent="q"))
        after.ended("other")
        assert len(rig.runs("q")) == 1 and after.states()["q#1"] == "stopped"
    finally:
        after.host.stop(1.0)


def test_a_single_run_that_was_interrupted_is_made_again(rig: Rig, ledger: Ledger) -> None:
    from nova.ledger.limits import RunRef

    run, began = RunRef("r1", "q", "q#1", "d", "m"), datetime.now(UTC)
    ledger.runs.started(run, began)
    ledger.runs.end(run, began, "interrupted")
    rig.sync(once(rig))
    rig.ended("q", count=2)
