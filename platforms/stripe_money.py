"""Amounts as Stripe writes them: whole numbers of the smallest unit, which for three currencies is its own."""

from __future__ import annotations

from nova.errors import UsageProblem
from nova.money import Money, digits

# Where Stripe's smallest unit is not the one of ISO 4217.
_OWN_DIGITS = {"ISK": 2, "UGX": 2, "MGA": 0}


def from_stripe(amount: int, currency: str) -> Money:
    code = currency.upper()
    return Money(amount * _unit(code), code)


def to_stripe(money: Money) -> int:
    """Raises UsageProblem for what is not a positive whole number of the smallest unit."""
    unit = _unit(money.currency)
    if money.micros % unit or money.micros <= 0:
        raise UsageProblem(
            f"stripe cannot take {money} {money.currency}",
            hint="a payment is positive and a whole number of the smallest unit",
        )
    return money.micros // unit


def _unit(code: str) -> int:
    unit: int = 10 ** (6 - _OWN_DIGITS.get(code, digits(code)))
    return unit
