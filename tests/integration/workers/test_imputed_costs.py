"""Real runs that cost by their declaration, in threads, processes and commands."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from nova.fleet.terms import ImputedCost
from nova.ledger.limits import Limit
from nova.money import Money
from workers import BaseWorker, RunContext, instance
from workers.hosts import imputing, local
from workers.hosts.base import BudgetHit

from .conftest import Rig, booked, until


def usd(amount: str) -> Money:
    return Money.parse(amount, "USD")


def costing(imputed: str, limit: str) -> dict[str, Any]:
    return {"imputed": ImputedCost.parse(imputed, "USD"), "limits": (Limit("fleet", "total", usd(limit)),)}


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance, "GRACE_S", 0.5)
    monkeypatch.setattr(local, "IMPUTE_S", 0.05)
    monkeypatch.setattr(imputing, "_SPAN_S", 0.3)
    monkeypatch.setattr(imputing, "_AHEAD_S", 0.15)


def ended_while_looked_at(rig: Rig, worker: str) -> Any:

    def look() -> Any:
        rig.look()
        return rig.runs(worker)

    return until(look, f"the end of {worker}")[0]


@pytest.mark.parametrize("runtime", ["command", "process"])
def test_a_budget_ends_a_run_that_costs_by_the_hour_in_its_middle(rig: Rig, runtime: str) -> None:
    terms = costing("3600/hour", "1.00")  # a second of it
    if runtime == "command":
        rig.sync(rig.shell("sleep 60", **terms))
        worker = "sh"
    else:
        rig.sync(
            rig.process(
                """
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                time.sleep(0.05)
        """,
                **terms,
            )
        )
        worker = "w"
    began = time.monotonic()
    run = ended_while_looked_at(rig, worker)
    assert run.status == "interrupted" and "fleet has spent" in run.error and not run.crash
    assert time.monotonic() - began < 12
    until(
        lambda: any(
            isinstance(fact, BudgetHit) and fact.kind == "refused" for fact in rig.look().facts + tuple(rig.facts)
        )
    )
    assert usd("0.60") < booked(rig.ledger, worker, "cost")
    assert rig.ledger.verify().first_bad is None


def test_a_thread_that_costs_by_the_hour_is_asked_to_stop(rig: Rig) -> None:
    stopped = threading.Event()

    class Waits(BaseWorker):
        def run(self, ctx: RunContext) -> None:
            ctx.sleep(60)
            stopped.set()

    rig.services.agents["w"] = Waits  # type: ignore[index]
    rig.sync(rig.spec(**costing("3600/hour", "1.00")))
    run = ended_while_looked_at(rig, "w")
    assert stopped.is_set() and run.status == "interrupted" and not run.crash
    assert usd("0.60") < booked(rig.ledger, "w", "cost") <= usd("1.00")


def test_a_process_that_goes_on_although_it_was_refused_is_ended(rig: Rig) -> None:
    rig.sync(
        rig.process(
            """
        from nova.errors import BudgetExceeded
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            try:
                ctx.spend("0.40")
            except BudgetExceeded:
                print("never mind", flush=True)
                time.sleep(60)
    """,
            limits=(Limit("fleet", "total", usd("1.00")),),
        )
    )
    run = until(lambda: rig.look() and rig.runs("w"), "the end of the run", 20)[0]
    assert run.status == "interrupted" and "0.40 more was asked" in run.error
    assert booked(rig.ledger, "w", "cost") == usd("0.80")


def test_runs_that_cost_an_amount_each_are_as_many_as_can_be_afforded(rig: Rig) -> None:
    rig.sync(rig.shell("true", every_s=0.02, **costing("0.30/run", "1.00")))
    until(lambda: rig.look() and any(run.status == "interrupted" for run in rig.runs()), "a refusal")
    rig.sync()
    until(lambda: rig.states() == {})
    assert [run.status for run in rig.runs()].count("succeeded") == 3
    assert booked(rig.ledger, "sh", "cost") == usd("0.90")
