from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

from nova.clock import SystemClock, iso
from nova.errors import LockHeld, Unreachable
from nova.fleet.documents import BudgetLimit, Declaration
from nova.fleet.fleet import Fleet
from nova.ledger.entries import Entry
from nova.ledger.fence import Fenced
from nova.ledger.instances import ManagerRecord
from nova.ledger.ledger import Ledger
from nova.ledger.limits import RunRef
from nova.money import Money
from workers import BaseWorker, RunContext
from workers.applied import outstanding, version_of
from workers.enforcement import CrashPolicy
from workers.housekeeping import PeriodicTask
from workers.instance import Backoff
from workers.lock import ManagerInfo, ManagerLock, managers
from workers.manager import ManagerSettings, WorkerManager

from .conftest import Agents, until


def usd(text: str) -> Money:
    return Money.parse(text, "USD")


class Alerts(list[tuple[str, str]]):
    def send(self, event: str, title: str, body: str) -> None:
        self.append((event, title))

    def events(self) -> set[str]:
        return {event for event, _ in self}


class JumpingClock(SystemClock):
    """The machine's, set otherwise by `hours`."""

    hours = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(hours=self.hours)


class Managed:
    """A manager in a thread of this process, over a real fleet and a real ledger."""

    def __init__(self, home: Path, ledger: Ledger, agents: Agents) -> None:
        self.home, self.ledger, self.agents = home, ledger, agents
        self.clock = JumpingClock()
        self.fleet = Fleet(home / "fleet.json", self.clock, "USD")
        self.alerts = Alerts()
        self.tasks: list[PeriodicTask] = []
        self.settings: dict[str, Any] = {
            "crash_policy": CrashPolicy(5, timedelta(seconds=300)),
            "backoff": Backoff(0.01, 0.01),
        }
        self._running: list[tuple[WorkerManager, threading.Thread]] = []
        self.failed: list[BaseException] = []

    def manager(self, **more: Any) -> WorkerManager:
        settings = ManagerSettings(
            self.home,
            self.home / "run",
            self.home / "logs",
            self.agents,
            usd("100"),
            **{"grace_s": 2.0, **self.settings, **more},
        )
        return WorkerManager(self.fleet, self.ledger, settings, self.clock, alerts=self.alerts, tasks=self.tasks)

    def start(self, **more: Any) -> WorkerManager:
        manager, ready = self.manager(**more), threading.Event()

        def serve() -> None:
            try:
                manager.run(ready.set)
            except BaseException as problem:
                self.failed.append(problem)
                raise

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        self._running.append((manager, thread))
        assert ready.wait(10)
        return manager

    def stop(self) -> None:
        for manager, thread in self._running:
            manager.ask_to_stop()
            thread.join(15)
            assert not thread.is_alive()
        self._running.clear()
        assert not self.failed

    def deploy(self, name: str, **more: Any) -> None:
        values: dict[str, Any] = {"department": "d", "agent": name, "every_s": 3600.0, **more}
        self.fleet.deploy(Declaration(name, **values))

    def shell(self, name: str, command: str, **more: Any) -> None:
        self.deploy(name, agent="shell", config={"command": command}, **more)

    def state(self, name: str) -> tuple[str, str | None]:
        one = self.fleet.get(name)
        return one.state, one.pause_reason

    def instances(self, name: str) -> dict[str, str]:
        return {row.instance: row.state for row in self.ledger.instances.all() if row.worker == name}

    def runs(self, name: str) -> list[Any]:
        return [run for run in self.ledger.runs.recent(name, 500) if run.ended_at is not None]

    def acts(self, name: str) -> list[tuple[str, str]]:
        return [(one.kind, one.rule) for one in self.ledger.decisions.history(name) if one.actor == "manager"]


@pytest.fixture
def managed(home: Path, ledger: Ledger, agents: Agents) -> Iterator[Managed]:
    rig = Managed(home, ledger, agents)
    yield rig
    rig.stop()


@pytest.fixture
def agent(agents: Agents) -> Callable[..., None]:
    def add(name: str, act: Callable[[RunContext], Any]) -> None:
        def run(self: BaseWorker, ctx: RunContext) -> None:
            act(ctx)

        agents[name] = type(name, (BaseWorker,), {"run": run})

    return add


def test_what_is_deployed_runs_and_what_is_scaled_follows(managed: Managed, agent: Any) -> None:
    agent("w", lambda ctx: None)
    managed.start()
    managed.deploy("w")
    until(lambda: managed.runs("w"), "the first run")
    managed.fleet.scale("w", 3)
    until(lambda: set(managed.instances("w")) == {"w#1", "w#2", "w#3"}, "three instances")
    managed.fleet.scale("w", 1)
    until(lambda: set(managed.instances("w")) == {"w#1"}, "one instance")
    assert managed.ledger.deployments.all()["w"].department == "d"


def test_pausing_lets_the_run_end_and_starts_no_other(managed: Managed, agent: Any) -> None:
    go = threading.Event()
    agent("w", lambda ctx: go.wait(20))
    managed.deploy("w", every_s=0.01)
    managed.start()
    until(lambda: managed.instances("w") == {"w#1": "running"})
    managed.fleet.pause("w", "operator")
    until(lambda: managed.instances("w") == {"w#1": "stopping"})
    go.set()
    until(lambda: managed.instances("w") == {})
    assert [run.status for run in managed.runs("w")] == ["succeeded"]
    managed.fleet.resume("w")
    until(lambda: len(managed.runs("w")) > 1)


@pytest.mark.parametrize("how", ["kill", "retire"])
def test_killing_and_retiring_end_runs_now(managed: Managed, how: str) -> None:
    managed.shell("sh", "sleep 300")
    managed.start()
    until(lambda: managed.instances("sh") == {"sh#1": "running"})
    getattr(managed.fleet, how)("sh")
    until(lambda: managed.instances("sh") == {})
    assert [run.status for run in managed.runs("sh")] == ["interrupted"]


def test_what_was_retired_and_is_deployed_again_is_due_at_once(managed: Managed, agent: Any) -> None:
    agent("w", lambda ctx: None)
    managed.deploy("w")
    managed.start()
    until(lambda: len(managed.runs("w")) == 1)
    managed.fleet.retire("w")
    until(lambda: managed.instances("w") == {})
    managed.deploy("w")
    until(lambda: len(managed.runs("w")) == 2)


def test_what_is_retired_and_deployed_at_once_under_its_name_is_another(managed: Managed, agent: Any) -> None:
    first = threading.Event()

    def act(ctx: RunContext) -> None:
        if not first.is_set():
            first.set()
            ctx.sleep(60)

    agent("w", act)
    managed.deploy("w")
    managed.start()
    assert first.wait(5)
    managed.fleet.retire("w")
    managed.deploy("w")
    until(lambda: len(managed.runs("w")) == 2, "the old run ended and the new one began")


def test_a_deployment_that_moves_to_another_manager_never_runs_twice_at_once(managed: Managed, agent: Any) -> None:
    go, began = threading.Event(), threading.Semaphore(0)

    def act(ctx: RunContext) -> None:
        began.release()
        go.wait(20)

    agent("w", act)
    managed.start(department="d")
    managed.start(department="e")
    managed.deploy("w")
    assert began.acquire(timeout=5)
    managed.fleet.deploy(Declaration("w", "e", "w", every_s=0.01))
    assert not began.acquire(timeout=0.8)
    go.set()
    assert began.acquire(timeout=5)
    managed.fleet.pause("w", "operator")
    until(lambda: managed.instances("w") == {})
    ends = sorted((run.started_at, run.ended_at) for run in managed.runs("w"))
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(ends))


def test_a_kill_is_carried_out_and_confirmed_while_the_ledger_cannot_be_written(
    managed: Managed, agent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = threading.Event()

    def act(ctx: RunContext) -> None:
        began.set()
        ctx.sleep(60)

    agent("w", act)
    managed.deploy("w")
    managed.start()
    assert began.wait(5)

    def fail(*_: Any, **__: Any) -> None:
        raise Unreachable("no space is left")

    for name in ("apply", "submit"):
        monkeypatch.setattr(managed.ledger.store, name, fail)
    managed.deploy("other", agent="w")  # is to be noted in the ledger
    managed.fleet.kill("w")
    version = version_of(managed.fleet.token())
    until(lambda: not list(outstanding(managed.home / "run", "w", version)))
    monkeypatch.undo()


def test_scaling_down_asks_the_surplus_to_end(managed: Managed, agent: Any) -> None:
    agent("w", lambda ctx: ctx.sleep(60))
    managed.deploy("w", replicas=2)
    managed.start()
    until(lambda: set(managed.instances("w").values()) == {"running"})
    managed.fleet.scale("w", 1)
    until(lambda: managed.instances("w") == {"w#1": "running"})
    assert [(run.instance, run.status) for run in managed.runs("w")] == [("w#2", "succeeded")]


def test_five_crashes_cool_down_and_five_more_park_with_an_alert(managed: Managed) -> None:
    managed.settings["crash_policy"] = CrashPolicy(5, timedelta(seconds=0.3))
    managed.shell("bad", "echo no luck >&2; exit 3")
    managed.start()
    until(lambda: managed.state("bad")[0] == "parked", "parked")
    until(lambda: managed.instances("bad") == {})
    told = [("pause", "crash_parked"), ("resume", "cooldown_over"), ("pause", "crash_cooldown")]
    until(lambda: managed.acts("bad") == told, "both are recorded")
    until(lambda: managed.alerts.events() == {"cooling_down", "parked"}, "both are told")
    assert 10 <= len(managed.runs("bad")) <= 20  # some more began before the manager knew of the last crash
    totals = managed.ledger.runs.totals()["bad"]
    assert totals.crashed >= 10
    assert (totals.last_error or "").endswith("no luck")


def test_a_cooldown_outlives_the_manager(managed: Managed) -> None:
    managed.shell("bad", "exit 3")
    managed.fleet.cool_down("bad", managed.clock.now() + timedelta(seconds=200))
    managed.start()
    managed.stop()
    assert managed.runs("bad") == [] and managed.state("bad") == ("cooling_down", None)
    managed.clock.hours = 0.1
    managed.start()
    until(lambda: managed.runs("bad"))


def test_a_clock_that_was_set_back_does_not_lengthen_a_cooldown(managed: Managed, agent: Any) -> None:
    agent("w", lambda ctx: None)
    managed.deploy("w")
    managed.fleet.cool_down("w", datetime.now(UTC) + timedelta(seconds=3600 + 200))
    managed.start()
    until(lambda: managed.runs("w"))


def test_a_clock_that_jumps_back_an_hour_in_the_middle_of_runs_neither_stalls_nor_floods(
    managed: Managed, agent: Any
) -> None:
    go, began = threading.Event(), threading.Event()

    def long(ctx: RunContext) -> None:
        ctx.spend("0.03")
        began.set()
        go.wait(20)
        ctx.spend("0.03")

    agent("long", long)
    agent("often", lambda ctx: None)
    managed.deploy("long", budget=(BudgetLimit("day", usd("0.10")),))
    managed.deploy("often", every_s=0.1)
    managed.start()
    assert began.wait(5)
    managed.clock.hours = -1.0
    go.set()
    until(lambda: managed.runs("long"))
    count, since = len(managed.runs("often")), time.monotonic()
    until(lambda: len(managed.runs("often")) >= count + 5)
    assert time.monotonic() - since > 0.3
    managed.stop()
    managed.start()  # and remembers a start in what is now the future
    until(lambda: len(managed.runs("often")) >= count + 8)
    assert managed.ledger.budgets.usage("worker:long", "month").spent == usd("0.06")
    assert managed.ledger.verify().ok


def test_without_auto_restart_a_crash_parks_at_once(managed: Managed) -> None:
    managed.settings["crash_policy"] = CrashPolicy(auto_restart=False)
    managed.shell("bad", "exit 3")
    managed.start()
    until(lambda: managed.state("bad")[0] == "parked")
    until(lambda: managed.runs("bad"))
    assert len(managed.runs("bad")) <= 2  # the second may have begun before the manager knew of the first


def test_a_refused_spending_pauses_the_deployment_until_its_window_turns(managed: Managed, agent: Any) -> None:
    agent("hog", lambda ctx: ctx.spend("0.02"))
    managed.deploy("hog", every_s=0.02, budget=(BudgetLimit("day", usd("0.05")),))
    managed.start()
    until(lambda: managed.state("hog") == ("paused", "budget"))
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    assert managed.fleet.get("hog").state_until == tomorrow
    until(lambda: managed.acts("hog") == [("pause", "budget")])
    assert managed.ledger.budgets.usage("worker:hog", "day").spent == usd("0.04")
    until(lambda: "budget_refused" in managed.alerts.events())
    assert managed.ledger.runs.totals()["hog"].crashed == 0


def test_a_budget_pause_ends_when_its_window_has_turned(managed: Managed, agent: Any) -> None:
    agent("w", lambda ctx: None)
    managed.deploy("w")
    managed.fleet.pause("w", "budget", datetime.now(UTC) + timedelta(seconds=0.5))
    managed.start()
    until(lambda: managed.state("w") == ("active", None))
    assert managed.fleet.get("w").evidence_since is None
    until(lambda: managed.runs("w"))
    assert managed.acts("w") == [("resume", "budget_window")]


def test_a_budget_of_the_run_ends_only_the_run(managed: Managed, agent: Any) -> None:
    agent("w", lambda ctx: [ctx.spend("0.02") for _ in range(5)])
    managed.deploy("w", every_s=0.02, budget=(BudgetLimit("run", usd("0.05")),))
    managed.start()
    until(lambda: len(managed.runs("w")) >= 3)
    assert {run.status for run in managed.runs("w")} == {"interrupted"}
    assert managed.state("w") == ("active", None)


def test_an_imported_bill_pauses_who_spent_in_the_broken_window_and_a_person_may_override(
    managed: Managed, agent: Any
) -> None:
    for name in ("payer", "idler"):
        agent(name, lambda ctx: None)
        managed.deploy(name)
    bill = Entry("b1", "bills", "cost", usd("150"), datetime.now(UTC), "payer")
    managed.ledger.entries.record([bill])
    managed.start()
    until(lambda: managed.state("payer") == ("paused", "budget"))
    assert managed.state("idler") == ("active", None)
    managed.fleet.resume("payer", override=True)
    managed.stop()
    managed.start()
    until(lambda: managed.instances("payer") == {"payer#1": "waiting"})
    assert managed.state("payer") == ("active", None)


def test_a_second_manager_is_refused_but_another_department_is_not(managed: Managed, agent: Any) -> None:
    agent("w", lambda ctx: None)
    managed.start(department="sales")
    with pytest.raises(LockHeld):
        managed.manager(department="sales").run()
    managed.start(department="d")
    managed.deploy("w")
    until(lambda: managed.runs("w"))


def test_a_deployment_is_run_by_one_manager_at_a_time_and_handed_over_at_once_by_one_that_stops(
    managed: Managed, agent: Any
) -> None:
    agent("w", lambda ctx: None)
    managed.deploy("w", every_s=0.05)
    everything = managed.start()
    until(lambda: managed.runs("w"))
    standby = managed.start(department="d")
    until(lambda: len(managed.runs("w")) > 3)
    assert managed.ledger.instances.all()[0].manager == everything.id
    assert managed.ledger.leases.all()["w"].manager == everything.id
    everything.ask_to_stop()
    until(lambda: managed.ledger.leases.all()["w"].manager == standby.id, seconds=4)
    until(lambda: managed.instances("w") and managed.ledger.instances.all()[0].manager == standby.id)
    assert managed.ledger.leases.all()["w"].token == 2
    ends = sorted((run.started_at, run.ended_at) for run in managed.runs("w"))
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(ends))


def test_one_that_was_fenced_stays_behind_the_fence_until_it_begins_anew(managed: Managed, agent: Any) -> None:
    agent("w", lambda ctx: ctx.sleep(60))
    managed.deploy("w")
    manager = managed.start()
    until(lambda: managed.instances("w") == {"w#1": "running"})
    managed.ledger.leases.fence(manager.id, "m-2", "it gave no sign of life")
    managed.stop()
    with pytest.raises(Fenced):
        managed.ledger.audit.append("manager", "late", "w", {})
    assert [run.error for run in managed.runs("w")] == ["its manager died"]
    manager.stay()


def test_what_a_dead_manager_left_is_put_in_order_before_anything_starts(managed: Managed, agent: Any) -> None:
    ledger, now = managed.ledger, datetime.now(UTC)
    ledger.instances.managers.register(ManagerRecord("m-dead", 4_000_000, "elsewhere", "all", now, now))
    lock = ManagerLock(managed.home / "run")
    lock.acquire()
    lock.write(ManagerInfo(4_000_000, "m-dead", iso(now), ""))
    os.close(lock._lock._fd)
    run = RunRef("r1", "w", "w#1", "d", "m-dead")
    ledger.runs.started(run, now)
    ledger.budgets.reserve(run, usd("2.00"))
    agent("w", lambda ctx: None)
    managed.deploy("w")
    managed.start()
    assert ledger.runs.get("r1").status == "interrupted"
    assert ledger.budgets.usage("worker:w", "day").spent == usd("2.00")
    assert "manager_restarted" in managed.alerts.events()
    assert managed.instances("w").keys() <= {"w#1"}


@pytest.mark.parametrize(
    ("fails", "error"),
    [
        ("workers.lock.replace_text", OSError(28, "No space left on device")),
        ("nova.ledger.instances.Managers.register", Unreachable("no space is left for the ledger")),
    ],
)
def test_one_that_starts_itself_again_waits_until_it_can(
    managed: Managed, agent: Any, monkeypatch: pytest.MonkeyPatch, fails: str, error: Exception
) -> None:
    monkeypatch.setattr("workers.manager._BEGIN_AGAIN_S", 0.01)
    agent("w", lambda ctx: None)
    managed.deploy("w")
    before = ManagerLock(managed.home / "run")
    before.acquire()
    for name, value in before.hand_over(ManagerInfo(os.getpid(), "m-before", iso(managed.clock.now()), "")).items():
        monkeypatch.setenv(name, value)
    full, refused = threading.Event(), threading.Event()
    full.set()
    write = resolve_name(fails)

    def on_a_full_disk(*args: Any) -> None:
        if full.is_set():
            refused.set()
            raise error
        write(*args)

    monkeypatch.setattr(fails, on_a_full_disk)
    threading.Thread(target=lambda: refused.wait(10) and full.clear(), daemon=True).start()
    managed.start()
    assert refused.is_set()
    until(lambda: managed.runs("w"))


def test_stopping_leaves_nothing_running_and_says_so(managed: Managed, agent: Any) -> None:
    agent("w", lambda ctx: ctx.sleep(60))
    managed.deploy("w")
    manager = managed.start()
    until(lambda: managed.instances("w") == {"w#1": "running"})
    assert [alive for _, alive in managers(managed.home / "run")] == [True]
    managed.stop()
    assert [run.status for run in managed.runs("w")] == ["succeeded"]
    assert managed.instances("w") == {}
    record = next(one for one in managed.ledger.instances.managers.all() if one.id == manager.id)
    assert record.stopped_at is not None
    assert list(managers(managed.home / "run")) == []
    managed.start()
    assert "manager_restarted" not in managed.alerts.events()


def test_a_damaged_fleet_file_stops_nothing_that_runs(
    managed: Managed, agent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.heartbeat.RUN_LEASE_S", 0.6)
    monkeypatch.setattr("workers.heartbeat.BEAT_S", 0.2)
    agent("w", lambda ctx: None)
    managed.deploy("w", every_s=0.05)
    managed.start()
    until(lambda: managed.runs("w"))
    good = managed.fleet.path.read_bytes()
    managed.fleet.path.write_text("{ not json")
    damaged_at = datetime.now(UTC)
    after = timedelta(seconds=1.0)  # longer than the lease
    until(lambda: managed.runs("w")[0].started_at > damaged_at + after, "it runs on after the lease")
    managed.fleet.path.write_bytes(good)
    managed.fleet.pause("w", "operator")
    until(lambda: managed.instances("w") == {})


def test_chores_that_fail_hold_up_nothing(managed: Managed, agent: Any) -> None:
    calls = threading.Semaphore(0)

    def fail() -> None:
        calls.release()
        raise ValueError("no network")

    managed.tasks = [PeriodicTask("sync", 0.05, fail, first_s=0.0)]
    agent("w", lambda ctx: None)
    managed.deploy("w")
    managed.start()
    assert all(calls.acquire(timeout=5) for _ in range(3))
    until(lambda: managed.runs("w"))


@pytest.mark.serial
def test_a_change_of_the_fleet_is_a_running_thread_within_a_second(managed: Managed, agent: Any) -> None:
    started = threading.Event()
    agent("w", lambda ctx: started.set())
    managed.start()
    managed.deploy("w")
    assert started.wait(1.0)
