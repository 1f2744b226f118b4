"""Amounts as Stripe writes them: whole numbers of the smallest unit, which for three currencies is its own."""

from __future__ import annotations

import re

from nova.errors import UsageProblem
from nova.money import MAX_MICROS, Money, digits
from platforms.base import BadAnswer

# Where Stripe's smallest unit is not the one of ISO 4217.
_OWN_DIGITS = {"ISK": 2, "UGX": 2, "MGA": 0}
_CODE = re.compile("[A-Za-z]{3}", re.ASCII)


def from_stripe(amount: int, currency: str) -> Money:
    """Raises BadAnswer for what is no whole number, no currency, or more than nova keeps."""
    if type(amount) is not int or not isinstance(currency, str) or not _CODE.fullmatch(currency):
        raise BadAnswer("stripe answered with something that is no amount of money", hint="try again later")
    code = currency.upper()
    micros = amount * _unit(code)
    if abs(micros) > MAX_MICROS:
        raise BadAnswer("stripe answered with a larger amount than nova keeps (100 billion)")
    return Money(micros, code)


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
