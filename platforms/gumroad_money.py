"""Amounts as Gumroad writes them: cents everywhere except of the yen, and texts such as `€1,234.50 a month`.

What it settles is in US dollars: `price` and `gumroad_fee` of a sale are cents of a dollar, whatever currency the
product is listed in. Only what a customer saw, and what is asked for in a refund, is in the listed currency.
"""

from __future__ import annotations

import re
from decimal import Decimal

from nova.errors import UsageProblem
from nova.money import MAX_MICROS, Money
from platforms.base import BadAnswer

USD = "USD"
_OWN_UNIT = frozenset(("JPY",))  # Gumroad counts every other currency in hundredths, the won too
_SYMBOLS = {
    "$": USD, "£": "GBP", "€": "EUR", "¥": "JPY", "₹": "INR", "A$": "AUD", "CAD$": "CAD", "HK$": "HKD", "SGD$": "SGD",
    "NT$": "TWD", "NZ$": "NZD", "R$": "BRL", "ZAR": "ZAR", "CHF": "CHF", "₪": "ILS", "₱": "PHP", "₩": "KRW",
    "zł": "PLN", "Kč": "CZK",
}  # fmt: skip
_NUMBER = re.compile(r"(?<![\d.,])(?:\d{1,3}(?:,\d{3}){1,2}|\d{1,9})(?:\.\d{1,2})?(?![\d,])", re.ASCII)


def currency_of(code: object, symbol: object = None) -> str:
    """Upper case; by the symbol where no code is told, and dollars where neither says."""
    if isinstance(code, str) and re.fullmatch("[A-Za-z]{3}", code, re.ASCII):
        return code.upper()
    return _SYMBOLS.get(symbol.strip(), USD) if isinstance(symbol, str) else USD


def from_cents(amount: int, currency: str) -> Money:
    """Raises BadAnswer for what is no whole number, or more than nova keeps."""
    if type(amount) is not int or abs(micros := amount * _unit(currency)) > MAX_MICROS:
        raise BadAnswer("gumroad answered with something that is no amount of money", hint="try again later")
    return Money(micros, currency)


def to_cents(money: Money) -> int:
    """Raises UsageProblem for what is not a positive whole number of the smallest unit."""
    if money.micros % _unit(money.currency) or money.micros <= 0:
        raise UsageProblem(
            f"gumroad cannot take {money} {money.currency}",
            hint="an amount is positive and a whole number of the smallest unit",
        )
    return money.micros // _unit(money.currency)


def nearly(one: Money, other: Money) -> bool:
    """But for what is lost where Gumroad counts in dollars and tells in the listed currency."""
    lost = 0 if one.currency == USD else _unit(one.currency)
    return one.currency == other.currency and abs(one.micros - other.micros) <= lost


def from_text(text: object, currency: str) -> Money | None:
    """The first number of a text as Gumroad shows it to people; None where there is none."""
    found = _NUMBER.search(text) if isinstance(text, str) else None
    if found is None:
        return None
    amount = Decimal(found[0].replace(",", ""))
    return Money.of(amount / 100 if "¢" in str(text) else amount, currency)


def refundable_of(text: object, currency: str) -> Money | None:
    """`amount_refundable_in_currency`: Gumroad counts the won in hundredths and writes them as whole ones."""
    found = from_text(text, currency)
    return Money(found.micros // 100, currency) if found is not None and currency == "KRW" else found


def _unit(currency: str) -> int:
    return 1_000_000 if currency in _OWN_UNIT else 10_000
