from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from nova.clock import ManualClock
from nova.fleet.documents import Declaration
from nova.fleet.fleet import Fleet
from nova.fleet.terms import HealthRules
from nova.ledger.ledger import Ledger
from nova.ledger.limits import RunRef
from workers.breaker import Trip
from workers.enforcement import CrashPolicy
from workers.enforcer import Enforcer
from workers.hosts.base import Overspent, RunEnded

NOON = datetime(2026, 4, 10, 12, tzinfo=UTC)
RULES = HealthRules(progress_runs=5, error_runs=10, probe_s=60.0)
COSTLY = Trip("spend_velocity", "one run costs too much", {"spent": "9"})


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def ledger(home: Path, clock: ManualClock) -> Iterator[Ledger]:
    opened = Ledger.open(f"sqlite:///{home / 'ledger.db'}", currency="USD", zone=ZoneInfo("UTC"), clock=clock)
    yield opened
    opened.close()


class Bench:
    def __init__(self, home: Path, ledger: Ledger, clock: ManualClock) -> None:
        self.ledger, self.clock = ledger, clock
        self.fleet = Fleet(home / "fleet.json", clock, "USD")
        self.fleet.deploy(Declaration("w", "d", "shell", health=RULES))
        self.alerts: list[str] = []
        self.number = 0
        self.restart()

    def send(self, event: str, title: str, body: str) -> None:
        self.alerts.append(event)

    def restart(self) -> None:
        self.enforcer = Enforcer(self.fleet, self.ledger, self.clock, CrashPolicy(1000), self)
        self.breakers = self.enforcer.breakers

    def fact(self, status: str, *, replica: int = 1, told: bool = True, **more: Any) -> RunEnded:
        """As the host does it: in the ledger first, then told."""
        self.number += 1
        self.clock.advance(1)
        at = self.clock.now()
        ref = RunRef(f"r{self.number}", "w", f"w#{replica}", "d", "m")
        self.ledger.runs.started(ref, at)
        self.clock.advance(1)
        self.ledger.runs.ended(ref, self.clock.now(), status, "boom")
        fact = RunEnded("w", ref.instance, ref.run, status, False, "boom", at, self.clock.now(), **more)
        if told:
            self.tell(fact)
        return fact

    def runs(self, count: int, status: str = "failed", **more: Any) -> None:
        for _ in range(count):
            self.fact(status, **more)

    def tell(self, fact: RunEnded | Overspent) -> bool:
        snapshot = self.fleet.snapshot()
        if isinstance(fact, Overspent):
            return self.breakers.overspent(fact, snapshot)
        return self.breakers.run_ended(fact, snapshot)

    def turn(self, *there: str) -> bool:
        return self.breakers.turn(self.fleet.snapshot(), lambda one: True, there)

    def probe(self) -> str:
        """Lets the one run go that is due; the key it runs under."""
        self.clock.advance(3600)
        assert self.turn()
        return self.breakers.probes["w"].key

    @property
    def trips(self) -> int | None:
        breaker = self.fleet.get("w").breaker
        return breaker.trips if breaker is not None else None

    def rules(self) -> list[str]:
        """What was done, oldest first."""
        return [one.rule for one in self.ledger.decisions.history("w")][::-1]


@pytest.fixture
def bench(home: Path, ledger: Ledger, clock: ManualClock) -> Bench:
    return Bench(home, ledger, clock)


def test_runs_that_began_before_a_person_let_it_run_again_do_not_count(bench: Bench) -> None:
    under_way = [bench.fact("failed", told=False, replica=replica) for replica in range(1, 13)]
    bench.runs(5)
    assert bench.trips == 1
    bench.clock.advance(1)
    bench.fleet.resume("w", override=True)
    for fact in under_way:
        bench.tell(replace(fact, ended_at=bench.clock.now()))
    assert bench.trips is None
    bench.clock.set(bench.clock.now() - timedelta(days=1))
    bench.runs(5)
    assert bench.trips == 1, "a clock that was set back hides nothing"


def test_a_probe_waits_as_long_as_the_rule_would_be_broken_all_the_same(bench: Bench) -> None:
    bench.tell(Overspent("w", "w#1", "r0", replace(COSTLY, rest_s=1800.0), None))
    bench.clock.advance(1790)
    assert bench.trips == 1 and not bench.turn()
    bench.clock.advance(10)
    assert bench.turn() and bench.rules()[-1] == "breaker_probe"


@pytest.mark.parametrize("probing", [False, True])
def test_turning_its_rule_off_closes_it_and_another_rule_does_not(bench: Bench, probing: bool) -> None:
    bench.runs(5)
    if probing:
        bench.probe()
    declared = Declaration("w", "d", "shell", health=replace(RULES, velocity=0.0))
    bench.fleet.deploy(declared)
    bench.turn()
    assert bench.trips == 1
    bench.clock.advance(1)
    bench.fleet.deploy(replace(declared, health=replace(RULES, progress_runs=0)))
    assert bench.turn() and bench.fleet.get("w").state == "active" and not bench.breakers.probes
    assert bench.rules()[-1] == "breaker_closed" and not bench.turn()


def test_a_streak_opens_it_once_and_each_step_is_recorded_and_alerts(bench: Bench) -> None:
    bench.runs(4)
    assert bench.trips is None
    bench.runs(3)
    assert bench.trips == 1
    decision = bench.ledger.decisions.history("w")[0]
    assert (decision.kind, decision.actor, decision.body["evidence"]["runs"]) == ("pause", "manager", 5)
    failed = bench.fact("failed", told=False, probe=bench.probe())
    assert bench.tell(failed) and not bench.tell(failed), "the same told again"
    assert bench.trips == 2
    assert bench.tell(bench.fact("succeeded", told=False, probe=bench.probe()))
    assert bench.trips is None and bench.fleet.get("w").state == "active"
    steps = ["breaker_opened", "breaker_probe", "breaker_reopened", "breaker_probe", "breaker_closed"]
    assert bench.rules() == steps
    assert bench.alerts == [step for step in steps if step != "breaker_probe"]


def test_after_it_closed_nothing_before_counts_even_after_a_restart(bench: Bench) -> None:
    bench.runs(5)
    bench.fact("succeeded", probe=bench.probe())
    bench.restart()
    bench.runs(4)
    assert bench.trips is None
    bench.runs(1)
    assert bench.trips == 1


def test_runs_under_the_manager_before_count_and_each_counts_once(bench: Bench) -> None:
    bench.runs(4)
    bench.restart()
    fact = bench.fact("failed", told=False)
    assert bench.tell(fact) and bench.trips == 1
    assert not bench.tell(fact)


def test_a_success_under_another_manager_ends_the_streak(bench: Bench) -> None:
    """The lease went there and came back; this manager was not told."""
    bench.runs(4)
    bench.fact("succeeded", told=False)
    bench.runs(4)
    assert bench.trips is None


def test_sales_that_arrive_by_a_sync_and_state_that_changed_are_progress(bench: Bench) -> None:
    bench.runs(4)
    bench.ledger.state.set("w", "page", 7)
    bench.runs(4)
    assert bench.trips is None
    bench.ledger.state.set("w", "page", 7)
    bench.runs(1)
    assert bench.trips == 1, "the same value again is no change"


def test_interrupted_runs_neither_count_nor_end_a_streak(bench: Bench) -> None:
    for _ in range(4):
        bench.runs(1)
        bench.runs(3, "interrupted")
    assert bench.trips is None
    bench.runs(1)
    assert bench.trips == 1


def test_what_others_have_stopped_is_left_to_them(bench: Bench) -> None:
    for reason in ("operator", "roi", "budget"):
        bench.fleet.pause("w", reason)  # type: ignore[arg-type]
        bench.runs(6)
        assert not bench.tell(Overspent("w", "w#1", "r1", COSTLY))
        assert (bench.trips, bench.rules()) == (None, [])


def test_two_runs_that_overspend_at_once_open_it_once(bench: Bench) -> None:
    assert bench.tell(Overspent("w", "w#1", "r1", COSTLY))
    assert not bench.tell(Overspent("w", "w#2", "r2", COSTLY))
    assert bench.trips == 1
    key = bench.probe()
    assert not bench.tell(Overspent("w", "w#2", "r2", COSTLY)), "one of before"
    assert bench.tell(Overspent("w", "w#1", "r3", COSTLY, key))
    assert bench.trips == 2
    assert not bench.tell(bench.fact("succeeded", told=False, probe=key)), "its end says nothing more"


def test_a_probe_that_was_interrupted_is_no_answer(bench: Bench) -> None:
    bench.runs(5)
    bench.fact("interrupted", probe=bench.probe())
    assert bench.trips == 1 and bench.fleet.get("w").state == "paused"
    assert not bench.turn(), "and the next one waits"


def test_a_probe_whose_manager_died_is_given_up_and_a_late_word_of_it_is_refused(bench: Bench) -> None:
    bench.runs(5)
    key = bench.probe()
    before, bench.breakers = bench.breakers, bench.breakers
    bench.restart()
    assert bench.turn() and bench.trips == 1
    bench.breakers = before
    assert not bench.tell(bench.fact("succeeded", told=False, probe=key))
    assert bench.fleet.get("w").state == "paused"


def test_progress_is_enough_for_a_probe_of_what_got_nowhere(bench: Bench) -> None:
    bench.runs(5)
    bench.fact("failed", probe=bench.probe(), progressed=True)
    assert bench.trips is None


def test_a_probe_takes_the_first_instance_that_is_free_or_waits(bench: Bench) -> None:
    bench.fleet.scale("w", 2)
    bench.runs(5)
    bench.clock.advance(3600)
    assert not bench.turn("w#1", "w#2")
    assert bench.turn("w#1")
    assert bench.breakers.probes["w"].instance == "w#2"


def test_a_person_who_resumes_in_the_middle_of_a_probe_has_the_last_word(bench: Bench) -> None:
    bench.runs(5)
    key = bench.probe()
    bench.fleet.resume("w", bench.clock.now(), override=True)
    bench.turn()
    assert not bench.breakers.probes
    assert not bench.tell(bench.fact("failed", told=False, probe=key))
    assert bench.fleet.get("w").state == "active"


def test_another_managers_deployments_are_left_alone(bench: Bench) -> None:
    bench.runs(5)
    bench.clock.advance(3600)
    assert not bench.breakers.turn(bench.fleet.snapshot(), lambda one: False, ())


def test_a_clock_that_was_set_back_changes_nothing_about_the_streak(bench: Bench) -> None:
    bench.runs(3)
    bench.clock.set(NOON + timedelta(seconds=1))
    bench.runs(2)
    assert bench.trips == 1
