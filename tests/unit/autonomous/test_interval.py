from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from nova.autonomous.interval import Bounds, Takings, difference, net_bounds, outlier_hides_more, takings_bounds

amounts = st.floats(0.01, 10_000).map(lambda x: round(x, 2))
many = st.lists(amounts, max_size=12)
confidences = st.sampled_from([0.6, 0.8, 0.9, 0.95, 0.975])


@pytest.mark.parametrize("count", [1, 3, 20, 400])
@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.95])
def test_for_equal_sales_it_is_the_exact_poisson_interval(count: int, confidence: float) -> None:
    bounds = takings_bounds(Takings.of([5.0] * count), 0.0, confidence)

    assert bounds.low == pytest.approx(5 * stats.chi2.ppf(1 - confidence, 2 * count) / 2, rel=1e-9)
    assert bounds.high == pytest.approx(5 * stats.chi2.ppf(confidence, 2 * count + 2) / 2, rel=1e-9)


def test_for_unequal_sales_it_is_the_formula_of_fay_and_feuer() -> None:
    sales = [3.0, 4.0, 4.0, 9.0, 2.5]
    y, v, w = sum(sales), sum(x * x for x in sales), 9.0

    bounds = takings_bounds(Takings.of(sales), 0.0, 0.9)

    assert bounds.low == pytest.approx(v / (2 * y) * stats.chi2.ppf(0.1, 2 * y * y / v), rel=1e-9)
    upper = (v + w * w) / (2 * (y + w)) * stats.chi2.ppf(0.9, 2 * (y + w) ** 2 / (v + w * w))
    assert bounds.high == pytest.approx(upper, rel=1e-9)


def test_without_a_sale_the_upper_bound_is_that_of_one_sale_size() -> None:
    bounds = takings_bounds(Takings(), 20.0, 0.9)

    assert bounds == Bounds(0.0, 0.0, pytest.approx(20 * -math.log(0.1)))


def test_nothing_known_at_all_gives_no_width() -> None:
    assert takings_bounds(Takings(), 0.0, 0.9) == Bounds(0, 0, 0)


def test_an_outlier_does_not_hide_what_the_other_sales_prove() -> None:
    steady = Takings.of([1.0] * 10_000)
    lucky = Takings.of([1.0] * 10_000 + [10_000.0])

    assert takings_bounds(lucky, 0, 0.9).low >= takings_bounds(steady, 0, 0.9).low
    assert outlier_hides_more(lucky, 0.9)
    assert not outlier_hides_more(steady, 0.9)


def test_fees_shrink_the_bounds_with_the_sales() -> None:
    sales = Takings.of([10.0] * 10)
    plain, charged = net_bounds(sales, Takings(), 0, 10, 0.9), net_bounds(sales, Takings(), 10.0, 10, 0.9)

    assert charged.mid == pytest.approx(90)
    assert charged.low == pytest.approx(plain.low * 0.9)
    assert charged.high == pytest.approx(plain.high * 0.9)


def test_returns_above_the_sales_give_a_negative_estimate_inside_its_bounds() -> None:
    bounds = net_bounds(Takings.of([10.0]), Takings.of([10.0, 30.0]), 2.0, 10, 0.9)

    assert bounds.mid == pytest.approx(-32)
    assert bounds.low < -32 < bounds.high


def test_the_difference_of_two_rates_is_mover() -> None:
    result = difference(Bounds(8, 10, 14), Bounds(3, 4, 6))

    assert result == Bounds(6 - math.hypot(2, 2), 6, 6 + math.hypot(4, 1))


@pytest.mark.parametrize(("rate", "spread"), [(3, 0.3), (12, 1.0), (60, 1.5)])
def test_each_bound_holds_as_often_as_it_says(rate: float, spread: float) -> None:
    """2,000 repeated worlds of few and unequal sales; 0.9 each side, less three standard errors."""
    random = np.random.default_rng(7)
    true = rate * math.exp(spread * spread / 2)
    worlds = [random.lognormal(0, spread, random.poisson(rate)).tolist() for _ in range(2000)]
    bounds = [takings_bounds(Takings.of(world), math.exp(1.5 * spread * spread), 0.9) for world in worlds]

    slack = 3 * math.sqrt(0.09 / len(worlds)) + (0.03 if spread > 1 else 0)
    assert np.mean([b.low <= true for b in bounds]) >= 0.9 - slack
    assert np.mean([b.high >= true for b in bounds]) >= 0.9 - slack


@given(many, amounts, st.floats(0, 1000), confidences)
def test_a_further_sale_never_lowers_a_bound(sales: list[float], sale: float, size: float, confidence: float) -> None:
    before = takings_bounds(Takings.of(sales), size, confidence)
    after = takings_bounds(Takings.of([*sales, sale]), size, confidence)

    assert after.low >= before.low * (1 - 1e-9)
    assert after.high >= before.high * (1 - 1e-9)


@given(many, st.floats(1, 50), st.floats(0, 1000), confidences)
def test_larger_sales_never_lower_a_bound(sales: list[float], times: float, size: float, confidence: float) -> None:
    before = takings_bounds(Takings.of(sales), size, confidence)
    after = takings_bounds(Takings.of([x * times for x in sales]), size, confidence)

    assert after.low >= before.low * (1 - 1e-9)
    assert after.high >= before.high * (1 - 1e-9)


@settings(max_examples=200)
@given(many, many, st.floats(0, 100), amounts, amounts, confidences)
def test_net_bounds_rise_with_sales_and_fall_with_returns(
    sales: list[float], returns: list[float], fees: float, one: float, size: float, confidence: float
) -> None:
    assume(returns or sales)
    base = net_bounds(Takings.of(sales), Takings.of(returns), fees, size, confidence)
    sold = net_bounds(Takings.of([*sales, one]), Takings.of(returns), fees, size, confidence)
    returned = net_bounds(Takings.of(sales), Takings.of([*returns, one]), fees, size, confidence)

    tiny = 1e-6 * (1 + abs(base.low) + abs(base.high))
    assert sold.low >= base.low - tiny
    assert sold.high >= base.high - tiny
    assert returned.low <= base.low + tiny
    assert returned.high <= base.high + tiny
    assert base.low <= base.mid + tiny <= base.high + 2 * tiny
