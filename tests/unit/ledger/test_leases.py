from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from nova.clock import ManualClock
from nova.ledger.audit import Audit
from nova.ledger.budgets import Budgets
from nova.ledger.fence import Fenced
from nova.ledger.instances import Instances, ManagerRecord, Managers, Observation
from nova.ledger.leases import Leases
from nova.ledger.limits import RunRef
from nova.ledger.runs import Runs
from nova.ledger.store import Store
from nova.money import Money


@pytest.fixture
def leases(store: Store) -> Leases:
    return Leases(store)


@pytest.fixture
def managers(store: Store, clock: ManualClock) -> Managers:
    made = Instances(store).managers
    for id in ("m1", "m2", "m3"):
        made.register(ManagerRecord(id, 42, "host", "all", clock.now(), clock.now()))
    return made


def holders(leases: Leases) -> dict[str, str | None]:
    return {name: lease.manager for name, lease in leases.all().items()}


def test_a_lease_is_one_managers_until_it_gives_it_back(leases: Leases, managers: Managers) -> None:
    assert leases.acquire("m1", ["a", "b"]) == {"a": 1, "b": 1}
    assert leases.acquire("m2", ["b", "c"]) == {"c": 1}
    assert leases.acquire("m1", ["a", "c"]) == {"a": 1}
    leases.release("m2", ["a", "c"])
    assert holders(leases) == {"a": "m1", "b": "m1", "c": None}
    assert leases.vacant("m2") == {"c"}
    assert leases.acquire("m1", ["c"]) == {"c": 2}
    assert leases.counts() == {"m1": 3}
    assert leases.acquire("m1", []) == {}


def test_one_that_stops_frees_all_but_what_does_not_end(leases: Leases, managers: Managers, clock: ManualClock) -> None:
    leases.acquire("m1", ["a", "b", "hung"])
    managers.stopped("m1", clock.now(), {"hung"})
    assert holders(leases) == {"a": None, "b": None, "hung": "m1"}
    (left,) = [one for one in leases.rivals("m2") if one.stopped]
    assert (left.id, left.holds, left.over) == ("m1", True, True)
    assert leases.free("m1") == 1
    assert [one.id for one in leases.rivals("m2")] == ["m3"]


def test_what_still_lives_is_not_freed(leases: Leases, managers: Managers) -> None:
    leases.acquire("m1", ["a"])
    assert leases.free("m1") == 0
    assert leases.free("unknown") == 0
    assert holders(leases) == {"a": "m1"}


def test_a_fenced_manager_has_its_runs_interrupted_and_keeps_its_leases_until_they_are_freed(
    leases: Leases, managers: Managers, store: Store, clock: ManualClock
) -> None:
    runs, budgets, instances = Runs(store), Budgets(store), Instances(store)
    leases.acquire("m1", ["a"])
    run = RunRef("r1", "a", "a#1", "d", "m1")
    runs.started(run, clock.now())
    budgets.reserve(run, Money.parse("2", "USD"))
    instances.observe([Observation("a#1", "a", "m1", "running", clock.now())])
    done = leases.fence("m1", "m2", "it was silent", beats=0)
    assert done is not None
    assert [one.id for one in done.runs] == ["r1"]
    assert done.charged == Money.parse("2", "USD")
    assert runs.get("r1").status == "interrupted"
    assert instances.all() == []
    assert holders(leases) == {"a": "m1"}
    assert leases.acquire("m2", ["a"]) == {}
    assert leases.free("m1") == 1
    assert leases.acquire("m2", ["a"]) == {"a": 2}
    (row,) = Audit(store).log()
    assert (row.actor, row.action, row.subject) == ("m2", "manager_fenced", "m1")


def test_a_sign_of_life_in_the_last_moment_is_no_silence(
    leases: Leases, managers: Managers, clock: ManualClock
) -> None:
    assert managers.beat("m1", clock.now()).result() is True
    assert leases.fence("m1", "m2", "it was silent", beats=0) is None
    assert managers.fenced("m1") is False
    assert leases.fence("m1", "m2", "it was silent", beats=1) is not None
    assert leases.fence("m1", "m3", "again", beats=1) is None
    assert managers.beat("m1", clock.now()).result() is False
    assert managers.fenced("m1") is True


def test_one_that_stopped_in_order_is_not_fenced(leases: Leases, managers: Managers, clock: ManualClock) -> None:
    managers.stopped("m1", clock.now())
    assert leases.fence("m1", "m2", "its process is gone") is None
    assert Audit(leases._store).log() == []


@pytest.fixture(params=[False, True], ids=["plain", "grouped"])
def guarded(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Iterator[Store]:
    """The store of the process of m1."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    opened = Store.open(url, currency="USD", zone=ZoneInfo("UTC"), clock=clock, grouped=request.param)
    Instances(opened).managers.register(ManagerRecord("m1", 42, "host", "all", clock.now(), clock.now()))
    opened.guard("m1")
    yield opened
    opened.close()


def test_a_fenced_manager_writes_nothing_but_money_that_is_gone(
    guarded: Store, store: Store, leases: Leases, clock: ManualClock
) -> None:
    runs, budgets, run = Runs(guarded), Budgets(guarded), RunRef("r1", "a", "a#1", "d", "m1")
    runs.started(run, clock.now())
    budgets.spend(run, Money.parse("1", "USD"))
    leases.fence("m1", "m2", "it was silent")
    with pytest.raises(Fenced):
        budgets.spend(run, Money.parse("1", "USD"))
    with pytest.raises(Fenced):
        runs.end(run, clock.now(), "succeeded")
    with pytest.raises(Fenced):
        guarded.post(lambda conn: None).result()
    budgets.spent(run, Money.parse("3", "USD"))
    assert Budgets(store).usage("worker:a", "day").spent == Money.parse("4", "USD")
    assert Runs(store).get("r1").status == "interrupted"


def test_what_was_submitted_before_the_fence_fell_and_not_written_is_not_written_after_it(
    guarded: Store, store: Store, leases: Leases, clock: ManualClock
) -> None:
    leases.fence("m1", "m2", "it was silent")
    run = RunRef("r1", "a", "a#1", "d", "m1")
    if guarded._group is None:
        with pytest.raises(Fenced):
            Runs(guarded).started(run, clock.now())
    else:
        Runs(guarded).started(run, clock.now())
    Budgets(guarded).spent(RunRef("r2", "a", "a#1", "d", "m1"), Money.parse("3", "USD"))
    assert Runs(store).recent("a") == []
    assert [one.id for one in Runs(store).recover(["m1"]).runs] == ["r2"]


def test_the_guard_is_the_last_managers_of_the_process(guarded: Store, leases: Leases, clock: ManualClock) -> None:
    Instances(guarded).managers.register(ManagerRecord("m2", 42, "host", "all", clock.now(), clock.now()))
    leases.fence("m1", "m2", "it was silent")
    with pytest.raises(Fenced):
        guarded.apply(lambda conn: None)
    guarded.guard("m2")
    guarded.apply(lambda conn: None)


def test_a_manager_the_ledger_does_not_know_writes_nothing(store: Store) -> None:
    store.guard("m9")
    with pytest.raises(Fenced):
        store.apply(lambda conn: None)
    assert Instances(store).managers.fenced("m9")
