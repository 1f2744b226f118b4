from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova.errors import UsageProblem
from nova.money import MAX_MICROS, Money, roi_percent

MICROS = st.integers(-MAX_MICROS, MAX_MICROS)
CURRENCIES = st.sampled_from(["USD", "EUR", "JPY", "KWD"])
AMOUNTS = st.builds(Money, MICROS, CURRENCIES)
WEIGHTS = st.lists(st.integers(0, 10**9), min_size=1, max_size=20).filter(any)
RATES = st.decimals("0.000001", "1000000", places=6, allow_nan=False, allow_infinity=False)


def usd(text: str) -> Money:
    return Money.parse(text, "USD")


@given(AMOUNTS)
def test_what_is_written_reads_back(amount: Money) -> None:
    assert Money.parse(str(amount), amount.currency) == amount
    assert Money.parse(f" {amount} {amount.currency.lower()} ", "CHF") == amount
    assert Money.of(amount.to_decimal(), amount.currency) == amount


@given(AMOUNTS)
def test_it_is_written_with_its_currencys_decimals_and_at_most_six(amount: Money) -> None:
    decimals = len(str(amount).partition(".")[2])
    assert {"USD": 2, "EUR": 2, "JPY": 0, "KWD": 3}[amount.currency] <= decimals <= 6


@given(MICROS, WEIGHTS)
def test_shares_add_up_and_are_within_a_millionth_of_fair(micros: int, weights: list[int]) -> None:
    shares = Money(micros, "USD").split(weights)
    assert Money.total(shares, "USD").micros == micros
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share.micros * sum(weights) - micros * weight) < sum(weights)
        assert weight or not share


@given(MICROS, RATES)
def test_a_conversion_is_within_half_a_millionth(micros: int, rate: Decimal) -> None:
    converted = Money(micros, "EUR").converted(rate, "USD")
    scaled = int(rate * 10**6)
    assert abs(2 * (converted.micros * 10**6 - micros * scaled)) <= 10**6
    assert Money(-micros, "EUR").converted(rate, "USD") == -converted


@given(MICROS, MICROS, MICROS)
def test_sums_do_not_depend_on_their_order(a: int, b: int, c: int) -> None:
    x, y, z = (Money(micros, "USD") for micros in (a, b, c))
    assert (x + y) + z == z + (y + x)
    assert x + y - y == x
    assert (x <= y) == (x - y <= Money.zero("USD"))
    assert x * 3 == x + x + x


@given(AMOUNTS)
def test_rounding_goes_to_the_nearest_unit(amount: Money) -> None:
    unit = 10 ** (6 - {"USD": 2, "EUR": 2, "JPY": 0, "KWD": 3}[amount.currency])
    rounded = amount.rounded()
    assert rounded.micros % unit == 0
    assert 2 * abs(rounded.micros - amount.micros) <= unit
    assert rounded.rounded() == rounded


@pytest.mark.parametrize(
    ("text", "rounded"), [("0.125", "0.12"), ("0.135", "0.14"), ("-0.125", "-0.12"), ("2.999", "3.00")]
)
def test_a_half_rounds_to_even(text: str, rounded: str) -> None:
    assert str(usd(text).rounded()) == rounded


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "1.",
        ".5",
        "1,50",
        "1e3",
        "nan",
        "Infinity",
        "1.2345678",
        "--1",
        "1 2",
        "1 DOLLARS",
        "$5",
        "١٢",
        "1" * 19,
        "0x10",
        "1_000",
    ],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(UsageProblem):
        usd(text)


@pytest.mark.parametrize(
    "amount",
    [
        1.5,
        True,
        None,
        Decimal("NaN"),
        Decimal("Infinity"),
        Decimal("0.0000001"),
        Decimal("1e30"),
        Decimal("1e9999999"),
        Decimal("-1e9999999"),
        Decimal("1e-9999999"),
        Decimal("100000000000.000001"),
    ],
)
def test_an_author_cannot_pass_what_is_not_exact(amount: object) -> None:
    with pytest.raises(UsageProblem):
        Money.of(amount, "USD")  # type: ignore[arg-type]


def test_an_author_may_pass_decimals_whole_numbers_text_and_money() -> None:
    assert [str(Money.of(one, "USD")) for one in (Decimal("1.5"), 2, "0.000412", Money(1, "EUR"))] == [
        "1.50",
        "2.00",
        "0.000412",
        "0.000001",
    ]


@pytest.mark.parametrize(
    ("minor", "currency", "text"), [(1234, "usd", "12.34"), (500, "JPY", "500"), (1, "KWD", "0.001")]
)
def test_platforms_send_the_smallest_unit(minor: int, currency: str, text: str) -> None:
    amount = Money.from_minor(minor, currency)
    assert (str(amount), amount.currency) == (text, currency.upper())


def test_currencies_do_not_mix() -> None:
    euro = Money.parse("1", "EUR")
    for mixed in (lambda: usd("1") + euro, lambda: usd("1") - euro, lambda: usd("1") < euro):
        with pytest.raises(ValueError, match="cannot mix"):
            mixed()


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1]])
def test_shares_need_weights(weights: list[int]) -> None:
    with pytest.raises(ValueError, match=r"weights|empty"):
        usd("1").split(weights)


@pytest.mark.parametrize(
    ("revenue", "cost", "roi"), [("6", "1", 500), ("0", "5", -100), ("0.10", "0.30", -66.67), ("5", "0", None)]
)
def test_roi_is_a_percentage_of_the_cost_and_unknown_without_one(revenue: str, cost: str, roi: float | None) -> None:
    assert roi_percent(usd(revenue), usd(cost)) == roi
