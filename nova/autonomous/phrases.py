"""Amounts, spans of time and counts as the engine's reasons word them. Pure."""

from __future__ import annotations

from datetime import timedelta

from nova.clock import format_duration
from nova.money import MICROS, Money


def money(amount: Money) -> str:
    """Rounded to the currency's own digits, unless it is less than one unit."""
    shown = amount if 0 < abs(amount.micros) < MICROS else amount.rounded()
    return f"{shown} {shown.currency}"


def span(length: timedelta) -> str:
    """`90s`, `6h`, `7d`; what is no whole number of hours has one decimal."""
    hours = length / timedelta(hours=1)
    if hours < 1 or hours == int(hours):
        return format_duration(length.total_seconds())
    return f"{hours:.1f}h" if hours < 48 else f"{hours / 24:.1f}d"


def count(number: int, noun: str) -> str:
    """`1 run`, `2,000 runs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
