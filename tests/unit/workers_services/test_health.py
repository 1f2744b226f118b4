from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from nova.bootstrap import Nova, build
from nova.clock import ManualClock
from nova.config import load_settings
from nova.fleet.documents import BudgetLimit, Declaration
from nova.fleet.terms import Breaker
from nova.ledger.decisions import DecisionRecord
from nova.ledger.effects import MOST_ATTEMPTS
from nova.ledger.entries import Entry
from nova.ledger.instances import ManagerRecord
from nova.ledger.limits import RunRef
from nova.money import Money
from workers import health
from workers.health import health_document

Said = list[tuple[str | None, str]]


def deploy(nova: Nova, name: str = "mail", **other: Any) -> None:
    nova.fleet.deploy(Declaration(name=name, department="sales", agent="shell", config={"command": "true"}, **other))


def said(nova: Nova) -> Said:
    document = health_document(nova)
    assert document["healthy"] is not bool(document["problems"])
    assert all(problem["advice"] for problem in document["problems"])
    return [(problem["worker"], problem["problem"]) for problem in document["problems"]]


def run(nova: Nova, status: str, number: int) -> None:
    ref = RunRef(f"r{number}", "mail", "mail#1", "sales", "m")
    nova.ledger.runs.started(ref, nova.clock.now())
    nova.ledger.runs.ended(ref, nova.clock.now(), status, None)


def spend(nova: Nova, amount: str) -> None:
    nova.ledger.entries.record([Entry("c1", "bill", "cost", Money.parse(amount, "USD"), nova.clock.now(), "mail")])


def test_an_empty_home_and_a_managed_fleet_are_healthy(nova: Nova, manager: Any) -> None:
    assert said(nova) == []
    deploy(nova)
    manager().sees("mail", "running")
    assert said(nova) == []


def test_a_manager_is_missed_where_something_should_run(nova: Nova, manager: Any) -> None:
    deploy(nova)
    assert said(nova) == [(None, "no manager runs, so nothing does")]
    manager("research")
    assert said(nova) == [("mail", "no manager runs the department sales")]
    nova.fleet.pause("mail", "operator")
    assert said(nova) == []


def test_a_manager_that_hangs_is_noticed(nova: Nova, manager: Any, clock: ManualClock) -> None:
    deploy(nova)
    manager()
    clock.advance(31)
    assert "no sign of life since 2026-03-01T12:00:00Z" in said(nova)[0][1]


@pytest.mark.parametrize(
    ("state", "words"),
    [("parked", "parked after"), ("cooling_down", "cooling down until"), ("budget", "paused by its budget until")],
)
def test_what_does_not_run_and_should_is_told(state: str, words: str, nova: Nova, clock: ManualClock) -> None:
    deploy(nova)
    until = clock.now() + timedelta(hours=1)
    if state == "parked":
        nova.fleet.park("mail")
    elif state == "cooling_down":
        nova.fleet.cool_down("mail", until)
    else:
        nova.fleet.pause("mail", "budget", until)
    ((worker, problem),) = said(nova)
    assert worker == "mail" and words in problem


def test_what_a_total_stopped_is_told_with_the_way_out(nova: Nova) -> None:
    deploy(nova)
    nova.fleet.pause("mail", "budget", None)
    ((problem),) = health_document(nova)["problems"]
    assert problem["problem"] == "paused: its budget in total is used up"
    assert "nova budgets set" in problem["advice"]


def test_what_the_operator_or_roi_paused_is_no_problem(nova: Nova) -> None:
    for name, reason in (("a", "operator"), ("b", "roi")):
        deploy(nova, name)
        nova.fleet.pause(name, reason)  # type: ignore[arg-type]
    assert said(nova) == []


def test_hung_and_silent_instances_are_told(nova: Nova, manager: Any, clock: ManualClock) -> None:
    deploy(nova, timeout_s=60.0)
    seen = manager()
    seen.sees("mail", "hung", "running")
    assert said(nova) == [("mail", "hung past its timeout of 1m: mail#1")]
    clock.advance(61)
    nova.ledger.instances.managers.beat(seen.id, clock.now())
    assert ("mail", "no sign of life: mail#2") in said(nova)


def test_a_worker_that_mostly_fails_is_told_once_there_is_enough_to_say(nova: Nova, manager: Any) -> None:
    deploy(nova)
    manager()
    for number in range(3):
        run(nova, "failed", number)
    assert said(nova) == []
    run(nova, "succeeded", 3)
    assert said(nova) == [("mail", "3 of its 4 runs of the last hour failed")]


def test_money_without_a_rate_is_told(nova: Nova) -> None:
    nova.ledger.entries.record([Entry("r1", "shop", "revenue", Money.parse("9", "EUR"), nova.clock.now(), "mail")])
    assert said(nova) == [("mail", "9.00 EUR has no rate")]


def test_a_broken_budget_is_told_and_one_that_is_near_is_not_a_problem(nova: Nova, manager: Any) -> None:
    deploy(nova, budget=(BudgetLimit("day", Money.parse("5", "USD")),))
    manager()
    spend(nova, "4.50")
    assert said(nova) == []
    nova.ledger.entries.record([Entry("c2", "bill", "cost", Money.parse("1", "USD"), nova.clock.now(), "mail")])
    assert said(nova) == [("mail", "worker:mail has spent $5.50 of $5.00 per day")]


def test_the_fleets_own_day_is_a_budget_too(nova: Nova, manager: Any) -> None:
    deploy(nova)
    manager()
    spend(nova, "100.01")
    assert said(nova) == [(None, "fleet has spent $100.01 of $100.00 per day")]


def test_a_sync_that_is_stale_failed_or_never_came_is_told(
    nova: Nova, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    nova.ledger.cursors.succeeded("stripe", None, clock.now())
    clock.advance(3600)
    assert said(nova) == [], "without a key nobody expects a sync"
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_1")
    keyed = build(load_settings(), clock=clock)
    try:
        assert said(keyed) == [(None, "stripe was last synced at 2026-03-01T12:00:00Z")]
        nova.ledger.cursors.failed("stripe", "no route")
        assert said(keyed) == [(None, "the last sync of stripe failed: no route")]
    finally:
        keyed.close()


def test_a_platform_with_a_key_that_was_never_synced_is_told(
    monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_1")
    keyed = build(load_settings(), clock=clock)
    try:
        assert said(keyed) == [(None, "stripe was never synced")]
    finally:
        keyed.close()


def test_a_disk_that_is_nearly_full_is_told(nova: Nova, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_LEAST_FREE", 10**18)
    assert "are free for" in said(nova)[0][1]


def open_breaker(nova: Nova, until: datetime | None) -> None:
    nova.fleet.trip("mail", Breaker("no_progress", 2), until)
    at = nova.clock.now()
    for number, (rule, reason) in enumerate(
        (("breaker_opened", "no progress: 20 runs in a row"), ("breaker_reopened", "its probe failed: boom"))
    ):
        nova.ledger.decisions.add(
            [DecisionRecord(f"d-{number}", at, "mail", "pause", "executed", rule, reason, "manager", rule)]
        )


@pytest.mark.parametrize(
    ("minutes", "follows"),
    [
        (90, "one run probes at 2026-03-01T13:30:00Z (in 90m)"),
        (0, "its probe is due, and waits for what still runs: mail#1"),
        (None, "it waits for a person"),
    ],
)
def test_an_open_breaker_is_explained(minutes: int | None, follows: str, nova: Nova, manager: Any) -> None:
    deploy(nova)
    manager().sees("mail", "hung")
    open_breaker(nova, None if minutes is None else nova.clock.now() + timedelta(minutes=minutes))
    told = [problem for _, problem in said(nova) if "breaker" in problem]
    opened = "its breaker has been open since 2026-03-01T12:00:00Z"
    assert told == [f"{opened}: no progress: 20 runs in a row; its probe failed: boom; {follows}"]


def test_a_probe_is_told_that_waits_for_its_time_and_that_is_under_way(nova: Nova, manager: Any) -> None:
    deploy(nova)
    living = manager()
    nova.fleet.trip("mail", Breaker("error_rate"), nova.clock.now())
    nova.fleet.probe("mail")
    opened = "its breaker has been open since 2026-03-01T12:00:00Z: error rate"
    assert said(nova) == [("mail", f"{opened}; one run probes when it is next due")]
    living.sees("mail", "running")
    assert said(nova) == [("mail", f"{opened}; one run probes now")]


def test_who_spends_too_fast_is_told_how_to_allow_it(nova: Nova, manager: Any) -> None:
    deploy(nova)
    manager()
    nova.fleet.trip("mail", Breaker("spend_velocity"), None)
    (problem,) = health.health_document(nova)["problems"]
    assert str(problem["advice"]).endswith("where it may cost so much, deploy it again with --health velocity=10")


def test_a_secret_without_a_value_is_told_until_a_run_finds_it(nova: Nova, manager: Any) -> None:
    deploy(nova, secrets=("SHOP_TOKEN", "SHOP_USER"))
    manager()
    for number, error in enumerate(("no value is set for SHOP_TOKEN, SHOP_USER, which this", None)):
        at, status = nova.clock.now() + timedelta(seconds=number), "failed" if error else "succeeded"
        ref = RunRef(f"r{number}", "mail", "mail#1", "sales", "m")
        nova.ledger.runs.started(ref, at)
        nova.ledger.runs.ended(ref, at, status, error)
        assert said(nova) == ([("mail", "no value is set for SHOP_TOKEN, SHOP_USER")] if error else [])


def test_a_lease_of_a_manager_that_is_gone_is_told(nova: Nova, manager: Any, clock: ManualClock) -> None:
    deploy(nova)
    living = manager()
    nova.ledger.instances.managers.register(ManagerRecord("m-gone", 1, "there", "all", clock.now(), clock.now()))
    nova.ledger.leases.acquire("m-gone", ["mail"])
    assert said(nova) == []
    clock.advance(31)
    nova.ledger.instances.managers.beat(living.id, clock.now())
    assert said(nova) == [("mail", "it is still leased to the manager m-gone, which gives no sign of life")]


def test_an_effect_that_was_given_up_is_a_problem_until_it_is_tried_again(nova: Nova, manager: Any) -> None:
    deploy(nova)
    manager().sees("mail", "running")
    outbox = nova.ledger.outbox
    for _ in range(MOST_ATTEMPTS):
        assert said(nova) == []
        outbox.begin("mail", "r1", "letter", "order-17", None)
        outbox.failed("mail", "r1", "letter", "order-17", "no such address")
    assert said(nova) == [("mail", "one effect was given up after ten attempts")]
    outbox.retry("mail", "order-17", by="kim")
    assert said(nova) == []
