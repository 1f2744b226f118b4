from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from nova.clock import ManualClock
from nova.ledger.deployments import Deployments, DeploymentSeen
from nova.ledger.instances import Instances, ManagerRecord, Managers, Observation
from nova.ledger.store import Store


@pytest.fixture
def instances(store: Store) -> Instances:
    return Instances(store)


@pytest.fixture
def managers(instances: Instances) -> Managers:
    return instances.managers


def seen(clock: ManualClock, instance: str, **changes: object) -> Observation:
    made = Observation(instance, instance.split("#")[0], "m1", "waiting", clock.now())
    return replace(made, **changes)  # type: ignore[arg-type]


def test_an_observation_replaces_the_one_before(instances: Instances, clock: ManualClock) -> None:
    instances.observe([seen(clock, "a#1"), seen(clock, "a#2")])
    clock.advance(1)
    running = seen(
        clock, "a#1", state="running", run="r1", run_started_at=clock.now(), heartbeat_at=clock.now(),
        cpu_percent=1.5, memory_bytes=10**10, threads=3, manager="m2",
    )  # fmt: skip
    instances.observe([running])
    assert instances.all() == [running, seen(clock, "a#2", updated_at=clock.now() - timedelta(seconds=1))]


def test_what_is_gone_is_forgotten(instances: Instances, clock: ManualClock) -> None:
    instances.observe([seen(clock, name) for name in ("a#1", "a#2", "b#1", "b#2", "c#1")])
    instances.observe([seen(clock, "c#2", manager="m2")])
    instances.observe([])
    instances.forget(worker="a")
    instances.forget(instances=["b#2", "c#2"], manager="m1")
    instances.forget(manager="m2")
    assert [row.instance for row in instances.all()] == ["b#1", "c#1"]


def manager(clock: ManualClock, id: str) -> ManagerRecord:
    return ManagerRecord(id, 42, "host", "all", clock.now(), clock.now())


def test_a_manager_lives_while_it_beats(managers: Managers, clock: ManualClock) -> None:
    managers.register(manager(clock, "m1"))
    clock.advance(30)
    managers.register(manager(clock, "m2"))
    assert [row.id for row in managers.alive(clock.now(), 10)] == ["m2"]
    managers.beat("m1", clock.now(), cpu_percent=2.0, memory_bytes=100, threads=8)
    assert [row.id for row in managers.alive(clock.now(), 10)] == ["m2", "m1"]
    managers.stopped("m2", clock.now())
    assert [row.id for row in managers.alive(clock.now(), 10)] == ["m1"]
    first = managers.all()[1]
    assert (first.cpu_percent, first.memory_bytes, first.threads, first.stopped_at) == (2.0, 100, 8, None)


def test_a_clock_set_back_does_not_kill_a_manager(managers: Managers, clock: ManualClock) -> None:
    managers.register(manager(clock, "m1"))
    assert [row.id for row in managers.alive(clock.now() - timedelta(hours=1), 10)] == ["m1"]


def test_a_deployment_keeps_its_first_time_and_its_last_department(store: Store, clock: ManualClock) -> None:
    deployments = Deployments(store)
    first = clock.now()
    deployments.note("mailer", "sales", "shell")
    clock.advance(60)
    deployments.note("mailer", "growth", "python")
    assert deployments.all() == {"mailer": DeploymentSeen("mailer", "growth", "python", first, clock.now())}
