"""Money: an integer number of millionths of a currency unit. No float ever holds money."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal

from nova.errors import UsageProblem

MICROS = 1_000_000
MAX_MICROS = 10**17  # a hundred billion units: sums of many stay inside 64 bits

# ISO 4217 currencies whose minor unit is not a hundredth: the unit itself, or a thousandth.
_WHOLE = frozenset(
    (
        "BIF",
        "CLP",
        "DJF",
        "GNF",
        "ISK",
        "JPY",
        "KMF",
        "KRW",
        "PYG",
        "RWF",
        "UGX",
        "UYI",
        "VND",
        "VUV",
        "XAF",
        "XOF",
        "XPF",
    )
)
_MILLS = frozenset(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"))
_DIGITS = {**dict.fromkeys(_WHOLE, 0), **dict.fromkeys(_MILLS, 3)}
_AMOUNT = re.compile(r"([+-]?)(\d{1,18})(?:\.(\d{1,6}))?(?:\s+([A-Za-z]{3}))?", re.ASCII)
_WIDE = Context(prec=60, rounding=ROUND_HALF_EVEN)


def digits(currency: str) -> int:
    """How many decimals the currency's own smallest unit has."""
    return _DIGITS.get(currency, 2)


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """An amount in millionths of `currency` (ISO 4217, upper case). Arithmetic across currencies raises ValueError."""

    micros: int
    currency: str

    @classmethod
    def parse(cls, text: str, currency: str) -> Money:
        """Reads `12.34` (in `currency`) or `12.34 EUR`, to at most six decimals; anything else is a UsageProblem."""
        match = _AMOUNT.fullmatch(text.strip())
        if match is None:
            raise UsageProblem(
                f"not an amount of money: {text!r}", hint="write it as 12.34 or 12.34 EUR, with at most six decimals"
            )
        sign, whole, fraction, code = match.groups()
        micros = int(whole) * MICROS + (int(fraction.ljust(6, "0")) if fraction else 0)
        if micros > MAX_MICROS:
            raise UsageProblem(f"the amount {text.strip()} is larger than nova keeps (100 billion)")
        return cls(-micros if sign == "-" else micros, code.upper() if code else currency)

    @classmethod
    def of(cls, amount: Money | Decimal | int | str, currency: str) -> Money:
        """Takes what an agent's author passes. A float, a seventh decimal, NaN or infinity is refused."""
        if isinstance(amount, Money):
            return amount
        if isinstance(amount, str):
            return cls.parse(amount, currency)
        if isinstance(amount, bool) or not isinstance(amount, (Decimal, int)):
            raise UsageProblem(f"money cannot be a {type(amount).__name__}", hint="pass a Decimal or a string")
        if isinstance(amount, Decimal) and not amount.is_finite():
            raise UsageProblem(f"not an amount of money: {amount}")
        exact = Decimal(amount)
        if exact.copy_abs() > MAX_MICROS // MICROS:
            raise UsageProblem(f"the amount {amount} is larger than nova keeps (100 billion)")
        scaled = _WIDE.multiply(exact, Decimal(MICROS))
        if scaled != scaled.to_integral_value() or (exact and not scaled):
            raise UsageProblem(f"{amount} has more than six decimals")
        return cls(int(scaled), currency)

    @classmethod
    def from_minor(cls, amount: int, currency: str) -> Money:
        """Takes an amount in the currency's smallest unit (cents, yen), as payment platforms send it."""
        code = currency.upper()
        return cls(amount * 10 ** (6 - digits(code)), code)

    @classmethod
    def zero(cls, currency: str) -> Money:
        return cls(0, currency)

    @classmethod
    def total(cls, amounts: Iterable[Money], currency: str) -> Money:
        result = cls(0, currency)
        for amount in amounts:
            result = result + amount
        return result

    def to_decimal(self) -> Decimal:
        return Decimal(self.micros).scaleb(-6, _WIDE)

    def __str__(self) -> str:
        """The exact amount as JSON carries it: at least the currency's own decimals, at most six."""
        sign = "-" if self.micros < 0 else ""
        whole, fraction = divmod(abs(self.micros), MICROS)
        least = digits(self.currency)
        shown = f"{fraction:06d}".rstrip("0").ljust(least, "0")
        return f"{sign}{whole}.{shown}" if shown else f"{sign}{whole}"

    def rounded(self) -> Money:
        """To the currency's own decimals, half to even: for showing and sending, never for keeping."""
        unit = 10 ** (6 - digits(self.currency))
        quotient, rest = divmod(self.micros, unit)
        up = 2 * rest > unit or (2 * rest == unit and quotient % 2 == 1)
        return Money((quotient + up) * unit, self.currency)

    def converted(self, rate: Decimal, currency: str) -> Money:
        """`rate` is units of `currency` for one unit of this one; half a millionth rounds to even."""
        product = _WIDE.multiply(Decimal(self.micros), rate)
        return Money(int(product.to_integral_value(ROUND_HALF_EVEN, _WIDE)), currency)

    def split(self, weights: Sequence[int]) -> list[Money]:
        """Shares in proportion to `weights` (not negative, not all zero) that add up exactly, by largest remainder."""
        total = sum(weights)
        if total <= 0 or min(weights) < 0:
            raise ValueError("weights must not be negative and not all zero")
        shares = [divmod(self.micros * weight, total) for weight in weights]
        left = self.micros - sum(quotient for quotient, _ in shares)
        first = set(sorted(range(len(shares)), key=lambda i: (-shares[i][1], i))[:left])
        return [Money(quotient + (i in first), self.currency) for i, (quotient, _) in enumerate(shares)]

    def _same(self, other: Money) -> int:
        if self.currency != other.currency:
            raise ValueError(f"cannot mix {self.currency} and {other.currency}")
        return other.micros

    def __add__(self, other: Money) -> Money:
        return Money(self.micros + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.micros - self._same(other), self.currency)

    def __mul__(self, times: int) -> Money:
        return Money(self.micros * times, self.currency)

    def __neg__(self) -> Money:
        return Money(-self.micros, self.currency)

    def __bool__(self) -> bool:
        return self.micros != 0

    def __lt__(self, other: Money) -> bool:
        return self.micros < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.micros <= self._same(other)

    def __gt__(self, other: Money) -> bool:
        return self.micros > self._same(other)

    def __ge__(self, other: Money) -> bool:
        return self.micros >= self._same(other)


def roi_percent(revenue: Money, cost: Money) -> float | None:
    """100 × (revenue − cost) / cost to two decimals, or None where there is no cost: unknown is not zero."""
    if cost.micros <= 0:
        return None
    ratio = _WIDE.divide(Decimal(100 * (revenue - cost).micros), Decimal(cost.micros))
    return float(round(ratio, 2))
