"""How a bill is split over days and among those who share it: pure, and to the last millionth."""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from datetime import date

from nova.money import Money, digits


def share_of_day(bill: Money, per: str, day: date) -> Money:
    """What of a bill per day, month or year falls on a day: the days of a month, or a year, add up to it exactly.

    In whole cents, or whatever the currency's smallest unit is, where the bill gives every day one at least.
    """
    if per == "day":
        return bill
    if per == "month":
        number, days = day.day - 1, calendar.monthrange(day.year, day.month)[1]
    else:
        number, days = day.timetuple().tm_yday - 1, 366 if calendar.isleap(day.year) else 365
    unit = 10 ** (6 - digits(bill.currency))
    if bill.micros % unit or bill.micros < days * unit:
        unit = 1
    whole = bill.micros // unit
    return Money((whole * (number + 1) // days - whole * number // days) * unit, bill.currency)


def shares_among(amount: Money, weights: Mapping[str, int]) -> dict[str | None, Money]:
    """Who bears how much of `amount`: in proportion to the weights, evenly where none has any, by largest remainder.

    The order they come in does not matter. Negative weights count as none. Under None: nobody is there to bear it.
    """
    if not weights:
        return {None: amount}
    names = sorted(weights)
    given = [max(0, weights[name]) for name in names]
    return dict(zip(names, amount.split(given if any(given) else [1] * len(names)), strict=True))
