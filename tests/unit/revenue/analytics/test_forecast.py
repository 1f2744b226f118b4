"""Forecasts: they cover, they repeat, and they refuse."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy
import pytest

from nova.errors import Refused, UsageProblem
from nova.revenue.analytics.forecast import LEAST_DAYS, forecast, outlook

NOW = datetime(2026, 4, 10, 12, tzinfo=UTC)


def weekly(days: int, seed: int) -> list[float]:
    rng = random.Random(seed)
    return [100 + (40 if day % 7 < 2 else 0) + rng.gauss(0, 10) for day in range(days)]


def test_the_bounds_hold_about_as_many_days_and_sums_as_they_say() -> None:
    inside = sums_inside = 0
    for seed in range(24):
        rng = random.Random(seed)
        series = [rng.gauss(100, 10) for _ in range(44)]
        ahead = outlook(series[:30], 14)
        bounds = [ahead.band(row, 0.9) for row in ahead.paths]
        inside += sum(low <= real <= high for (low, high), real in zip(bounds, series[30:], strict=True))
        low, high = ahead.band(ahead.paths.sum(axis=0), 0.9)
        sums_inside += low <= sum(series[30:]) <= high
    assert 0.85 <= inside / (24 * 14) <= 0.95
    assert 19 <= sums_inside <= 24


def test_a_week_is_known_once_there_are_five_of_them() -> None:
    ahead = outlook(weekly(70, 1), 7)
    assert "weekly season" in ahead.model
    assert min(ahead.mean[:2]) > 20 + max(ahead.mean[2:])
    assert "weekly" not in outlook(weekly(34, 1), 7).model


def test_the_bounds_of_a_sum_are_narrower_than_the_sum_of_the_bounds() -> None:
    ahead = outlook(weekly(84, 1), 14)
    low, high = ahead.band(ahead.paths.sum(axis=0), 0.9)
    widths = [upper - lower for lower, upper in (ahead.band(row, 0.9) for row in ahead.paths)]
    assert high - low < 0.7 * sum(widths)


def test_the_same_history_gives_the_same_figures() -> None:
    assert numpy.array_equal(outlook(weekly(40, 3), 5).paths, outlook(weekly(40, 3), 5).paths)


def test_nothing_falls_below_what_can_be() -> None:
    rng = random.Random(1)
    ahead = outlook([100.0 if rng.random() < 0.1 else 0.0 for _ in range(60)], 10, floor=0.0)
    assert min(ahead.mean) >= 0
    assert ahead.band(ahead.paths[0], 0.9)[0] == 0
    assert 2 < ahead.mean[0] < 30


@pytest.mark.parametrize("value", [0.0, 12.5])
def test_days_that_are_all_the_same_stay_so(value: float) -> None:
    ahead = outlook([value] * 30, 3)
    assert ahead.mean == (value,) * 3
    assert ahead.band(ahead.paths[2], 0.9) == (value, value)


def test_too_short_a_history_is_refused() -> None:
    with pytest.raises(Refused, match="at least 14 whole days of history; there are 13"):
        outlook([1.0] * (LEAST_DAYS - 1), 3)


def test_a_month_counts_what_it_brought_already(house: Any) -> None:
    for day in range(1, 41):
        house.book("revenue", f"{20 + day % 3}", NOW - timedelta(days=day))
    house.book("revenue", "500", NOW - timedelta(hours=1))
    found = forecast(house, days=21)
    assert found["estimate"] is True
    assert found["history_days"] == 40
    assert found["days"][0]["expected"] == "500.00"  # today has brought it already
    (april,) = found["months"]
    assert (april["month"], april["whole"], april["so_far"]) == ("2026-04", True, "189.00")
    assert float(april["low"]) <= float(april["expected"]) <= float(april["high"])
    assert 1050 < float(april["expected"]) < 1150  # 189 + 500 + 20 x about 21
    assert float(forecast(house, of="cost", days=3)["days"][2]["high"]) == 0


def test_a_strange_figure_is_refused(house: Any) -> None:
    with pytest.raises(UsageProblem):
        forecast(house, of="luck")
