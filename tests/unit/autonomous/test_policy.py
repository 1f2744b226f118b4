from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest

from nova.autonomous.policy import KEYS, ActionCap, Policy, parse_pairs
from nova.errors import ConfigInvalid, UsageProblem


def test_the_initial_policy_comes_from_the_settings(settings: Any) -> None:
    policy = Policy.from_settings(settings(scale_roi_threshold=400.0))

    assert policy.scale_roi == 400
    assert str(policy.max_daily_budget) == "100.00"
    assert policy.window == timedelta(days=7)


def test_contradicting_settings_are_an_invalid_configuration(settings: Any) -> None:
    with pytest.raises(ConfigInvalid, match="MIN_ROI_THRESHOLD"):
        Policy.from_settings(settings(min_roi_threshold=500.0))


def test_the_defaults_are_those_of_the_interface(given: Any) -> None:
    assert given.policy().to_json() == {
        "min_roi": 150,
        "scale_roi": 300,
        "kill_roi": 0,
        "require_approval_above": "50.00",
        "max_daily_budget": "100.00",
        "min_runs": 20,
        "min_success_rate": 80,
        "confidence": 0.9,
        "window": 604800,
        "attribution_lag": 0,
        "attribution_model": "direct",
        "attribution_window": 2592000,
        "warmup": 3600,
        "cooldown": 900,
        "scale_factor": 2,
        "max_actions_per_cycle": "20%",
        "approval_expiry": 86400,
        "approval_headroom": 2,
        "rejection_silence": 86400,
        "probe_interval": 86400,
        "probe_window": 21600,
        "sync_interval": 900,
        "protected": [],
        "reinvest_share": 0,
        "reinvest_period": "day",
    }


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("min_roi", "200", 200),
        ("min_roi", "200%", 200),
        ("confidence", "95%", 0.95),
        ("window", "14d", timedelta(days=14)),
        ("warmup", "0", timedelta(0)),
        ("max_actions_per_cycle", "3", ActionCap(count=3)),
        ("max_actions_per_cycle", "100%", ActionCap(percent=100)),
        ("protected", "a, b,a", frozenset({"a", "b"})),
        ("protected", "", frozenset()),
        ("protected", "[]", frozenset()),
        ("scale_factor", "1.5", 1.5),
        ("min_runs", "5", 5),
    ],
)
def test_what_an_operator_writes_is_read(given: Any, key: str, text: str, value: object) -> None:
    assert getattr(given.policy(**{key: text}), key) == value


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("min_roi", "lots"),
        ("min_roi", "nan"),
        ("min_roi", "-101"),
        ("min_roi", "inf"),
        ("confidence", "1"),
        ("confidence", "0.4"),
        ("window", "0"),
        ("window", "7"),  # seconds, where days were meant
        ("window", "soon"),
        ("max_actions_per_cycle", "0"),
        ("max_actions_per_cycle", "120%"),
        ("max_daily_budget", "-1"),
        ("max_daily_budget", "5 EUR"),
        ("min_runs", "1.5"),
        ("min_runs", "-1"),
        ("scale_factor", "1"),
    ],
)
def test_a_wrong_value_is_refused_with_key_value_and_what_is_valid(given: Any, key: str, text: str) -> None:
    with pytest.raises(UsageProblem) as refused:
        given.policy(**{key: text})
    assert key in refused.value.message
    assert repr(text) in refused.value.message
    assert "it is " in refused.value.message


def test_an_unknown_key_is_refused_with_the_known_ones(given: Any) -> None:
    with pytest.raises(UsageProblem) as refused:
        given.policy(min_rio="3")
    assert "min_rio" in refused.value.message
    assert "min_roi" in (refused.value.hint or "")


def test_thresholds_out_of_order_are_refused(given: Any) -> None:
    with pytest.raises(UsageProblem, match=r"kill_roi 200, min_roi 150 and scale_roi 300"):
        given.policy(kill_roi="200")


def test_every_field_of_the_policy_can_be_set() -> None:
    assert set(KEYS) == {field.name for field in fields(Policy)} - {"version"}


def test_pairs_are_split_at_the_first_equals_sign() -> None:
    assert parse_pairs(["min_roi=1", "protected = a"]) == {"min_roi": "1", "protected": "a"}
    with pytest.raises(UsageProblem, match="not a setting"):
        parse_pairs(["min_roi"])
    with pytest.raises(UsageProblem, match="min_roi is given twice"):
        parse_pairs(["min_roi=1", "min_roi=2"])


def test_what_is_written_reads_back_the_same(given: Any) -> None:
    policy = given.policy(window="36h", protected="b,a", max_actions_per_cycle="7", confidence="0.95")
    assert given.policy(**policy.as_text()) == policy
    assert tuple(policy.as_text()) == KEYS


@pytest.mark.parametrize(("cap", "evaluated", "limit"), [("20%", 4, 1), ("20%", 10, 2), ("20%", 14, 2), ("3", 100, 3)])
def test_the_cap_is_a_share_of_the_fleet_and_at_least_one(given: Any, cap: str, evaluated: int, limit: int) -> None:
    assert given.policy(max_actions_per_cycle=cap).max_actions_per_cycle.limit(evaluated) == limit
