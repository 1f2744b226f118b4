"""Targets and how far they have come."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from nova.errors import NotFound, UsageProblem
from nova.fleet.documents import Declaration
from nova.fleet.goals import Target
from nova.revenue.analytics.targets import period_of, remove_target, set_target, target_list

NOW = datetime(2026, 4, 10, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def test_a_target_by_hand(house: Any) -> None:
    house.clock.set(datetime(2026, 4, 15, 22, tzinfo=UTC))  # midnight in Berlin: half of April has passed
    set_target(house, "3000/month", scope="fleet", by="anna")
    house.book("revenue", "1000", NOW)
    house.book("fee", "100", NOW)
    house.book("revenue", "50", NOW - timedelta(days=15))
    (row,) = target_list(house)["targets"]
    assert (row["so_far"], row["share_percent"], row["expected_by_now"]) == ("900.00", 30.0, "1500.00")
    assert (row["ahead"], row["days_left"], row["needed_per_day"]) == ("-600.00", 15, "140.00")
    assert row["forecast"] is not None


def test_without_a_history_it_says_why_there_is_no_forecast(house: Any) -> None:
    set_target(house, "3000/month", scope="fleet", by="anna")
    (row,) = target_list(house)["targets"]
    assert row["forecast"] is None
    assert "14 whole days" in row["why_no_forecast"]


def test_what_is_certain_is_likely_and_what_is_out_of_reach_is_not(house: Any) -> None:
    for day in range(40):
        house.book("revenue", f"{20 + day % 5}", NOW - timedelta(days=day))
    for text, low, high in (("400/month", 99, 100), ("660/month", 30, 70), ("3000/month", 0, 1)):
        set_target(house, text, scope="fleet", by="anna")
        (row,) = target_list(house)["targets"]
        assert low <= row["forecast"]["probability_percent"] <= high


def test_a_scope_has_one_target_a_period_and_counts_its_own(house: Any) -> None:
    for name, department in (("mailer", "sales"), ("poster", "social")):
        house.fleet.deploy(Declaration(name, department, "shell"))
        house.book("revenue", "10" if name == "mailer" else "7", NOW - timedelta(hours=1), worker=name)
    set_target(house, "50/month", scope="worker:mailer", by="anna")
    set_target(house, "60/month", scope="worker:mailer", by="anna")
    set_target(house, "10/week", scope="department:social", by="anna")
    rows = {row["scope"]: row for row in target_list(house)["targets"]}
    assert (rows["worker:mailer"]["amount"], rows["worker:mailer"]["so_far"]) == ("60.00", "10.00")
    assert (rows["department:social"]["so_far"], rows["department:social"]["since"]) == ("7.00", "2026-04-06")
    remove_target(house, "worker:mailer", "month", by="anna")
    assert [row["scope"] for row in target_list(house)["targets"]] == ["department:social"]
    with pytest.raises(NotFound):
        remove_target(house, "worker:mailer", "month", by="anna")


@pytest.mark.parametrize("text", ["5000", "5000/hour", "0/month", "-3/day", "x/day", "5 EUR/month"])
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(UsageProblem):
        Target.parse(text, "fleet", "USD")


@pytest.mark.parametrize("scope", ["department", "team:x", "worker:../x", ""])
def test_what_is_no_scope_is_refused(scope: str) -> None:
    with pytest.raises(UsageProblem):
        Target.parse("5/day", scope, "USD")


def test_an_unknown_deployment_has_no_target(house: Any) -> None:
    with pytest.raises(NotFound):
        set_target(house, "5/day", scope="worker:nobody", by="anna")


def test_a_day_of_23_hours_passes_sooner() -> None:
    period = period_of("day", datetime(2026, 3, 29, 12, tzinfo=BERLIN), BERLIN)
    assert period.passed == Fraction(11, 23)
    assert period_of("year", datetime(2028, 7, 1, tzinfo=BERLIN), BERLIN).length == 366
    december = period_of("month", datetime(2026, 12, 31, 23, tzinfo=BERLIN), BERLIN)
    assert (december.first, december.after) == (date(2026, 12, 1), date(2027, 1, 1))
