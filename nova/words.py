"""Amounts, shares, instants and counts in words: the same in tables, reasons, errors and alerts. Pure.

For people only: JSON carries exact strings.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from nova.clock import format_duration, iso
from nova.money import Money, digits

NOTHING = "-"


def money(amount: Money | None) -> str:
    """`$1,234.50` or `1,234.50 EUR`, rounded to the currency's digits; below one unit, two that count."""
    if amount is None:
        return NOTHING
    value = amount.to_decimal()
    least = digits(amount.currency)
    places = min(6, max(least, 1 - value.adjusted())) if value and abs(value) < 1 else least
    return _signed(abs(value).quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN), amount, least)


def exact_money(amount: Money) -> str:
    """The same with every digit, where a millionth decides: what stands against a limit, and amounts that differ."""
    return _signed(abs(amount.to_decimal()), amount, digits(amount.currency))


def _signed(value: Decimal, amount: Money, least: int) -> str:
    whole, _, fraction = f"{value:,f}".partition(".")
    fraction = fraction.rstrip("0").ljust(least, "0")
    shown = f"{whole}.{fraction}" if fraction else whole
    sign = "-" if amount.micros < 0 else ""
    return f"{sign}${shown}" if amount.currency == "USD" else f"{sign}{shown} {amount.currency}"


def percent(value: float | Decimal | None) -> str:
    """Whole percent from a hundred up, one decimal below."""
    if value is None:
        return NOTHING
    shown = float(value)
    return f"{shown:,.0f}%" if abs(shown) >= 100 or shown.is_integer() else f"{shown:.1f}%"


def threshold(value: float) -> str:
    """A limit as it was set: `150%`, `99.95%`."""
    return f"{value:,.6f}".rstrip("0").rstrip(".") + "%"


def when(at: datetime | None) -> str:
    """To the second, in UTC."""
    return NOTHING if at is None else iso(at.replace(microsecond=0))


def span(length: timedelta) -> str:
    """`90s`, `6h`, `7d`; what is no whole number of hours has one decimal."""
    hours = length / timedelta(hours=1)
    if hours < 1 or hours == int(hours):
        return format_duration(length.total_seconds())
    return f"{hours:.1f}h" if hours < 48 else f"{hours / 24:.1f}d"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 entry`, `2,000 entries`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
