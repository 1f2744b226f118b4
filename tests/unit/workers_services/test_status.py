from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from sqlalchemy import event

from nova.bootstrap import Nova
from nova.clock import ManualClock
from nova.fleet.documents import BudgetLimit, Declaration
from nova.fleet.terms import Schedule
from nova.ledger.entries import Entry
from nova.ledger.limits import Limit, RunRef
from nova.money import Money
from workers.status import status_document


def deploy(nova: Nova, name: str, **other: Any) -> None:
    nova.fleet.deploy(Declaration(name=name, department="sales", agent="shell", config={"command": "true"}, **other))


def book(nova: Nova, worker: str, kind: str, amount: str, id: str, currency: str = "USD") -> None:
    entry = Entry(id, "shop", kind, Money.parse(amount, currency), nova.clock.now(), worker)
    nova.ledger.entries.record([entry])


def row(nova: Nova, name: str) -> dict[str, Any]:
    return next(one for one in status_document(nova)["workers"] if one["name"] == name)


def test_an_empty_home_has_a_status(nova: Nova) -> None:
    document = status_document(nova)
    assert document["manager"] == {
        "running": False, "pid": None, "started_at": None, "uptime_s": None, "department": None
    }  # fmt: skip
    assert document["workers"] == [] and "managers" not in document
    assert document["totals"] == {
        "deployments": 0, "instances": 0, "running": 0, "paused": 0, "parked": 0,
        "revenue": "0.00", "cost": "0.00", "profit": "0.00", "roi_percent": None,
    }  # fmt: skip


def test_it_is_plain_json_with_every_field_of_the_interface(nova: Nova, manager: Any) -> None:
    deploy(nova, "mail", budget=(BudgetLimit("day", Money.parse("5", "USD")),))
    manager().sees("mail", "running")
    document = json.loads(json.dumps(status_document(nova)))
    assert {"at", "currency", "manager", "totals", "workers"} <= document.keys()
    assert {
        "name", "department", "agent", "runtime", "state", "replicas", "running", "runs", "succeeded", "failed",
        "interrupted", "crashes", "restarts", "success_rate", "revenue", "cost", "profit", "roi_percent", "budget",
        "cpu_percent", "memory_mb", "threads", "last_heartbeat", "last_error", "instances",
    } <= document["workers"][0].keys()  # fmt: skip
    assert document["workers"][0]["budget"] == [{"per": "day", "limit": "5.00", "spent": "0.00", "reserved": "0.00"}]


def test_money_is_lifetime_and_unknown_cost_has_no_roi(nova: Nova) -> None:
    deploy(nova, "mail")
    deploy(nova, "idle")
    book(nova, "mail", "cost", "2", "c1")
    book(nova, "mail", "revenue", "6", "r1")
    book(nova, "mail", "fee", "1", "f1")
    book(nova, "idle", "revenue", "3", "r2")
    book(nova, "mail", "revenue", "9", "r3", "EUR")
    found = row(nova, "mail")
    assert (found["revenue"], found["cost"], found["profit"], found["roi_percent"]) == ("5.00", "2.00", "3.00", 150.0)
    assert found["unconverted"] == 1
    assert row(nova, "idle")["roi_percent"] is None
    totals = status_document(nova)["totals"]
    assert (Decimal(totals["revenue"]), Decimal(totals["cost"])) == (8, 2)


def test_the_budget_shows_what_is_spent_and_reserved(nova: Nova) -> None:
    limit = BudgetLimit("day", Money.parse("5", "USD"))
    deploy(nova, "mail", budget=(limit, BudgetLimit("run", Money.parse("1", "USD"))))
    run = RunRef("r1", "mail", "mail#1", "sales", "m")
    nova.ledger.budgets.spend(run, Money.parse("1.25", "USD"))
    nova.ledger.budgets.reserve(run, Money.parse("0.50", "USD"), [Limit("worker:mail", "day", limit.limit)])
    assert row(nova, "mail")["budget"] == [
        {"per": "day", "limit": "5.00", "spent": "1.25", "reserved": "0.50"},
        {"per": "run", "limit": "1.00", "spent": None, "reserved": None},
    ]


def test_runs_are_counted_and_interrupted_ones_judge_nobody(nova: Nova) -> None:
    deploy(nova, "mail")
    for number, (status, crash) in enumerate(
        [("succeeded", False), ("succeeded", False), ("failed", True), ("interrupted", False)]
    ):
        run = RunRef(f"r{number}", "mail", "mail#1", "sales", "m")
        nova.ledger.runs.started(run, nova.clock.now())
        nova.ledger.runs.ended(run, nova.clock.now(), status, "no luck" if crash else None, crash)
    found = row(nova, "mail")
    assert (found["runs"], found["succeeded"], found["failed"], found["interrupted"], found["crashes"]) == (
        4,
        2,
        1,
        1,
        1,
    )
    assert found["success_rate"] == 66.67 and found["last_error"] == "no luck"


def test_live_instances_count_as_running_waiting_ones_included(nova: Nova, manager: Any, clock: ManualClock) -> None:
    deploy(nova, "mail", replicas=4)
    manager().sees("mail", "running", "waiting", "hung")
    clock.advance(90)
    document = status_document(nova)
    found = document["workers"][0]
    assert found["running"] == document["totals"]["running"] == 3
    assert [one["state"] for one in found["instances"]] == ["running", "waiting", "hung", "starting"]
    assert (found["cpu_percent"], found["memory_mb"], found["threads"]) == (37.5, 15.0, 6)
    assert document["manager"]["running"] is True and document["manager"]["pid"] == 4711
    assert document["manager"]["uptime_s"] == 90 and document["manager"]["department"] == "all"


def test_when_the_manager_died_nothing_runs_whatever_it_saw_last(nova: Nova, manager: Any) -> None:
    deploy(nova, "mail", replicas=2)
    dead = manager()
    dead.sees("mail", "running", "running")
    dead.die()
    document = status_document(nova)
    found = document["workers"][0]
    assert document["manager"]["running"] is False and found["running"] == 0
    assert [one["state"] for one in found["instances"]] == ["stopped", "stopped"]


def test_several_managers_are_all_told(nova: Nova, manager: Any) -> None:
    deploy(nova, "mail")
    manager("sales").sees("mail", "waiting")
    manager("research")
    document = status_document(nova)
    assert [one["department"] for one in document["managers"]] == ["research", "sales"]
    assert document["workers"][0]["running"] == 1


def test_a_paused_deployment_tells_why_and_its_instances_are_stopped(nova: Nova, manager: Any) -> None:
    deploy(nova, "mail")
    deploy(nova, "gone")
    manager()
    nova.fleet.pause("mail", "budget", nova.clock.now())
    nova.fleet.kill("gone")
    found = row(nova, "mail")
    assert (found["state"], found["pause_reason"], found["state_until"]) == ("paused", "budget", "2026-03-01T12:00:00Z")
    assert [one["state"] for one in found["instances"]] == ["stopped"]
    assert row(nova, "gone")["instances"] == []
    totals = status_document(nova)["totals"]
    assert (totals["deployments"], totals["instances"], totals["paused"]) == (2, 1, 1)


def test_its_statements_grow_neither_with_deployments_nor_with_entries(nova: Nova, manager: Any) -> None:
    for number in range(30):
        deploy(nova, f"w{number}", budget=(BudgetLimit("day", Money.parse("5", "USD")),))
    manager().sees("w1", "waiting")
    statements: list[str] = []
    event.listen(nova.ledger.store._engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    status_document(nova)
    assert len([text for text in statements if text.lstrip().upper().startswith("SELECT")]) <= 7


def test_one_that_waits_says_when_it_is_due_next(nova: Nova, manager: Any, clock: ManualClock) -> None:
    deploy(nova, "often", every_s=90.0, replicas=2)
    deploy(nova, "nightly", schedule=Schedule(cron="30 2 * * *", timezone="Europe/Vienna"))
    nova.ledger.runs.started(RunRef("r1", "often", "often#1", "sales", "m"), clock.now())
    one = manager()
    one.sees("often", "waiting", "backing_off")
    one.sees("nightly", "waiting")
    often = row(nova, "often")
    assert [each["next_run_at"] for each in often["instances"]] == ["2026-03-01T12:01:30Z", None]
    assert often["next_run_at"] == "2026-03-01T12:01:30Z"
    assert row(nova, "nightly")["next_run_at"] == "2026-03-02T01:30:00Z"


def test_a_single_run_that_was_made_is_stopped_and_does_not_count_as_running(nova: Nova, manager: Any) -> None:
    deploy(nova, "import", schedule=Schedule(once=True))
    manager().sees("import", "stopped")
    found = row(nova, "import")
    assert found["running"] == 0 and [one["state"] for one in found["instances"]] == ["stopped"]
    assert found["finished"]


def test_a_single_run_is_finished_when_each_replica_has_made_it(nova: Nova) -> None:
    deploy(nova, "import", schedule=Schedule(once=True), replicas=2)
    for index in (1, 2):
        assert not row(nova, "import")["finished"]
        run = RunRef(f"r{index}", "import", f"import#{index}", "sales", "m")
        nova.ledger.runs.started(run, nova.clock.now())
        nova.ledger.runs.ended(run, nova.clock.now(), "succeeded")
    assert row(nova, "import")["finished"]
