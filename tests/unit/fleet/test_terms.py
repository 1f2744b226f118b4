"""What is said in words of a deployment's terms, what the fleet keeps of it, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova.clock import ManualClock
from nova.errors import NovaError, UsageProblem
from nova.fleet.documents import Declaration
from nova.fleet.fleet import Fleet
from nova.fleet.terms import (
    Breaker,
    HealthRules,
    ImputedCost,
    Resources,
    Schedule,
    breaker_of,
    health_of,
    imputed_of,
    parse_size,
    plain,
    resources_of,
    schedule_of,
    valid_variables,
)
from nova.money import Money

ALL_SET: dict[str, Any] = {
    "schedule": Schedule("0 9 * * mon-fri", "Europe/Vienna", 3, 30.0, ("mon-fri 09:00-17:00", "sat 10:00-12:00"), True),
    "resources": Resources(256 * 1024**2, 300.0, 256, 32),
    "health": HealthRules(120.0, 5, 4.5, 25.0, 8, 60.0),
    "imputed": ImputedCost(Money.parse("0.000412", "USD"), "hour"),
    "secrets": ("STRIPE_API_KEY",),
    "env": ("LANGUAGE", "MODE"),
}

spans = st.floats(0, 1e6)
counts = st.integers(1, 10**6)
few = st.integers(0, 99)
schedules = st.builds(
    Schedule,
    cron=st.none() | st.just("*/5 * * * *"),
    timezone=st.sampled_from(["", "UTC"]),
    at_most=few,
    jitter_s=spans,
    windows=st.lists(st.just("mon 09:00-10:00"), max_size=3).map(tuple),
    once=st.booleans(),
)
resources = st.builds(
    Resources,
    memory_bytes=st.none() | counts,
    cpu_s=st.none() | st.floats(0.1, 1e6),
    open_files=st.none() | counts,
    processes=st.none() | counts,
)
rules = st.builds(HealthRules, spans, few, st.floats(1, 99), st.floats(0, 100), few, spans)
amounts = st.integers(0, 10**12).map(lambda micros: Money(micros, "USD"))
imputed = st.builds(ImputedCost, amounts, st.sampled_from(["run", "hour"]))
breakers = st.builds(Breaker, st.sampled_from(["no_progress", "error_rate"]), counts, st.booleans())


@given(
    st.one_of(
        st.tuples(schedules, st.just(schedule_of)),
        st.tuples(resources, st.just(resources_of)),
        st.tuples(rules, st.just(health_of)),
        st.tuples(imputed, st.just(lambda document: imputed_of(document, "USD"))),
        st.tuples(breakers, st.just(breaker_of)),
    )
)
def test_what_is_kept_as_json_is_read_back_as_it_was(kept: tuple[Any, Callable[[Any], Any]]) -> None:
    value, read = kept
    assert read(json.loads(json.dumps(plain(value)))) == value


def fleet_at(path: Path) -> Fleet:
    return Fleet(path, ManualClock(datetime(2026, 3, 1, tzinfo=UTC)), "USD")


def test_a_deployment_keeps_all_its_terms(tmp_path: Path) -> None:
    asked = Declaration("mailer", "sales", "shell", **ALL_SET)
    fleet_at(tmp_path / "fleet.json").deploy(asked)
    known = fleet_at(tmp_path / "fleet.json").get("mailer")
    assert {name: getattr(known, name) for name in ALL_SET} == ALL_SET
    assert fleet_at(tmp_path / "fleet.json").deploy(asked).changes == {}


@pytest.mark.parametrize("term", sorted(ALL_SET))
def test_another_term_is_a_change_that_is_told(tmp_path: Path, term: str) -> None:
    fleet = fleet_at(tmp_path / "fleet.json")
    before = fleet.deploy(Declaration("mailer", "sales", "shell")).deployment
    done = fleet.deploy(Declaration("mailer", "sales", "shell", **{term: ALL_SET[term]}))
    assert done.changes == {term: (getattr(before, term), ALL_SET[term])}


@pytest.mark.parametrize(
    ("term", "document"),
    [
        ("schedule", {"cron": 5}),
        ("schedule", {"at_most": "three"}),
        ("schedule", {"jitter_s": -1.0}),
        ("schedule", {"windows": "mon"}),
        ("schedule", {"windows": [5]}),
        ("schedule", {"once": "yes"}),
        ("schedule", ["* * * * *"]),
        ("resources", {"memory_bytes": "256MB"}),
        ("resources", {"cpu_s": 0}),
        ("resources", {"processes": -1}),
        ("resources", {"open_files": 12.5}),
        ("health", {"velocity": "fast"}),
        ("health", {"progress_runs": True}),
        ("health", {"error_percent": None}),
        ("imputed", {"amount": 0.02, "per": "run"}),
        ("imputed", {"amount": "0.02 USD", "per": "week"}),
        ("imputed", {"amount": "0.02 USD"}),
        ("breaker", {"rule": "no_progress", "trips": "many"}),
        ("breaker", {}),
    ],
)
def test_terms_that_were_damaged_by_hand_are_refused_by_name(tmp_path: Path, term: str, document: Any) -> None:
    path = tmp_path / "fleet.json"
    fleet_at(path).deploy(Declaration("mailer", "sales", "shell"))
    kept = json.loads(path.read_text())
    (whole,) = kept["deployments"].values()
    whole[term] = document
    path.write_text(json.dumps(kept))
    with pytest.raises(NovaError, match="the fleet's document of 'mailer' makes no sense") as refusal:
        fleet_at(path).get("mailer")
    assert "fleet.json.bak" in (refusal.value.hint or "")


def test_what_a_newer_nova_adds_is_passed_over() -> None:
    assert schedule_of({"cron": None, "lunar": True}) == Schedule()
    assert resources_of({"gpu": 1}) == Resources()


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (["heartbeat=2m"], HealthRules(heartbeat_s=120.0)),
        (["velocity=5", "progress=off"], HealthRules(velocity=5.0, progress_runs=0)),
        (["velocity=2.5x"], HealthRules(velocity=2.5)),
        (["errors=25%", "error-runs=8", "probe=90"], HealthRules(error_percent=25.0, error_runs=8, probe_s=90.0)),
        ([" errors = 100 "], HealthRules(error_percent=100.0)),
        (["errors=off", "velocity=off", "heartbeat=off"], HealthRules(error_percent=0, velocity=0, heartbeat_s=0)),
        ([], HealthRules()),
    ],
)
def test_health_rules_are_read_as_people_write_them(said: list[str], meant: HealthRules) -> None:
    assert HealthRules.parse(said) == meant


@pytest.mark.parametrize(
    "said",
    [
        "heartbeat", "pulse=2m", "heartbeat=soon", "heartbeat=-1", "progress=2.5", "progress=many", "progress=-1",
        "progress=1_0", "velocity=nan", "velocity=inf", "velocity=0.5", "velocity=1", "errors=150%", "errors=-5",
        "errors=1e1", "error-runs=1.0", "velocity=", "=5", "velocity=٣",
    ],
)  # fmt: skip
def test_a_health_rule_that_makes_no_sense_is_refused(said: str) -> None:
    with pytest.raises(UsageProblem) as refusal:
        HealthRules.parse([said])
    assert refusal.value.hint


def test_a_health_rule_that_is_said_twice_is_refused() -> None:
    with pytest.raises(UsageProblem, match="twice"):
        HealthRules.parse(["velocity=3", "velocity=4"])


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("1048576", 1024**2), ("256MB", 256 * 1024**2), ("256M", 256 * 1024**2), ("256 mib", 256 * 1024**2),
        ("1.5G", 1536 * 1024**2), ("1tb", 1024**4), ("512B", 512), (" 4k ", 4096),
    ],
)  # fmt: skip
def test_a_size_is_read_in_its_units(said: str, meant: int) -> None:
    assert parse_size(said) == meant


@pytest.mark.parametrize(
    "said", ["", "MB", "0", "0.0001K", "-5MB", "5 apples", "1e3", "5ib", "٣MB", "nan", "9" * 400, "1000000T"]
)
def test_a_size_that_makes_no_sense_is_refused(said: str) -> None:
    with pytest.raises(UsageProblem, match="not a size"):
        parse_size(said)


def test_an_imputed_cost_is_an_amount_per_run_or_hour() -> None:
    assert ImputedCost.parse("0.02/run", "USD") == ImputedCost(Money.parse("0.02", "USD"), "run")
    assert ImputedCost.parse(" 0.50 USD / hour ", "USD") == ImputedCost(Money.parse("0.5", "USD"), "hour")


@pytest.mark.parametrize("said", ["0.02", "0.02/day", "/run", "-1/run", "1 EUR/run", "0.0000001/run", "1/2/run"])
def test_an_imputed_cost_that_makes_no_sense_is_refused(said: str) -> None:
    with pytest.raises(UsageProblem):
        ImputedCost.parse(said, "USD")


def test_names_of_variables_are_sorted_and_each_is_there_once() -> None:
    assert valid_variables(["B", "A", "B", "_x9"], "--env") == ("A", "B", "_x9")


@pytest.mark.parametrize("name", ["KEY=value", "9LIVES", "", "A-B", "NÄME", "A B"])
def test_what_is_no_name_of_a_variable_is_refused_and_its_value_not_repeated(name: str) -> None:
    with pytest.raises(UsageProblem) as refusal:
        valid_variables([name], "--secret")
    assert "value" not in refusal.value.message


@pytest.mark.parametrize(
    "more",
    [
        {"resources": Resources(memory_bytes=0)},
        {"resources": Resources(cpu_s=-1.0)},
        {"resources": Resources(open_files=0)},
        {"resources": Resources(processes=0)},
        {"schedule": Schedule(at_most=-1)},
        {"schedule": Schedule(jitter_s=-0.5)},
        {"schedule": Schedule(jitter_s=float("nan"))},
        {"schedule": Schedule(jitter_s=float("inf"))},
    ],
)
def test_a_declaration_with_terms_nothing_can_keep_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(UsageProblem):
        Declaration("mailer", "sales", "shell", **more).checked("USD")
