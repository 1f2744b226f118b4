from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from nova.cli import render
from nova.money import Money

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("micros", "currency", "shown"),
    [
        (12_340_000, "USD", "$12.34"),
        (1_234_567_890_000, "USD", "$1,234,567.89"),
        (-5_000_000, "USD", "-$5.00"),
        (0, "USD", "$0.00"),
        (412, "USD", "$0.00041"),
        (1, "USD", "$0.000001"),
        (56_700, "USD", "$0.057"),
        (-56_700, "USD", "-$0.057"),
        (500_000, "USD", "$0.50"),
        (50_000, "USD", "$0.05"),
        (12_340_000, "EUR", "12.34 EUR"),
        (1_200_000_000, "JPY", "1,200 JPY"),
        (1_234_567, "KWD", "1.235 KWD"),
    ],
)
def test_money_is_rounded_to_its_currency_but_small_amounts_keep_their_meaning(
    micros: int, currency: str, shown: str
) -> None:
    assert render.money(Money(micros, currency)) == shown


def test_what_is_unknown_is_no_zero() -> None:
    assert render.money(None) == render.percent(None) == render.duration(None) == render.age(None, NOW) == "-"


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0%"), (100, "100%"), (1234.4, "1,234%"), (99.94, "99.9%"), (-33.333, "-33.3%")]
)
def test_a_percentage_has_the_digits_that_matter(value: float, shown: str) -> None:
    assert render.percent(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (0.4, "0.4s"), (12, "12s"), (60, "1m"), (190, "3m 10s"), (3600, "1h"), (3605, "1h"), (90_061, "1d 1h")],
)
def test_a_duration_shows_its_two_largest_units(seconds: float, shown: str) -> None:
    assert render.duration(seconds) == shown


@pytest.mark.parametrize(
    ("ago", "shown"),
    [(0.2, "now"), (3, "3s ago"), (59, "59s ago"), (3700, "1h ago"), (200_000, "2d ago"), (-300, "in 5m")],
)
def test_an_age_has_one_unit(ago: float, shown: str) -> None:
    assert render.age(NOW - timedelta(seconds=ago), NOW) == shown


def test_an_error_is_shortened_to_its_last_line() -> None:
    assert render.short("Traceback\n  File\nValueError: no luck\n\n", 40) == "ValueError: no luck"
    assert render.short("x" * 50, 10) == "xxxxxxx..."
    assert render.short(None, 10) == ""


def test_counts_know_their_plural() -> None:
    assert render.count(1, "entry", "entries") == "1 entry"
    assert render.count(2000, "entry", "entries") == "2,000 entries"
    assert render.count(0, "run") == "0 runs"


@pytest.mark.parametrize(
    ("spent", "reserved", "shown"),
    [
        ("0", "0", ".........."),
        ("0.3", "0.2", "###++....."),
        ("0.001", "0.001", "#+........"),
        ("0.99", "0.5", "##########"),
        ("7", "0", "##########"),
        ("0", "1", "++++++++++"),
        ("-0.2", "0", ".........."),
    ],
)
def test_a_bar_shows_what_is_spent_and_what_is_reserved(spent: str, reserved: str, shown: str) -> None:
    assert render.bar(Decimal(spent), Decimal(reserved), width=10) == shown
