"""What tokens cost: a declared price list, or the published one of the model, and the most a request can cost."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from functools import cache
from typing import Protocol

from nova.errors import UsageProblem
from nova.money import Money

_MILLION = 1_000_000
_MICRO = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Tokens:
    """`cached` are those of `input` that the vendor had seen before."""

    input: int = 0
    output: int = 0
    cached: int = 0


class Prices(Protocol):
    def cost(self, tokens: Tokens) -> Money:
        """Rounded up to the millionth."""
        ...


@dataclass(frozen=True, slots=True)
class Declared:
    """Prices for a million tokens each."""

    input: Decimal
    output: Decimal
    cached: Decimal
    currency: str

    def cost(self, tokens: Tokens) -> Money:
        fresh = tokens.input - tokens.cached
        total = self.input * fresh + self.cached * tokens.cached + self.output * tokens.output
        return _money(total / _MILLION, self.currency)


@dataclass(frozen=True, slots=True)
class Published:
    """By the price list of genai-prices, as it was when that package was made: nothing is fetched."""

    model: str
    base_url: str

    def cost(self, tokens: Tokens) -> Money:
        from genai_prices import Usage, calc_price

        usage = Usage(input_tokens=tokens.input, output_tokens=tokens.output, cache_read_tokens=tokens.cached or None)
        return _money(calc_price(usage, self.model, provider_api_url=self.base_url).total_price, "USD")


@cache
def published(model: str, base_url: str) -> Published:
    """Raises UsageProblem for a model of this server whose price is not known."""
    prices = Published(model, base_url)
    try:
        prices.cost(Tokens(_MILLION, _MILLION))
    except LookupError:
        raise UsageProblem(
            f"no price is known for the model {model} at {base_url}",
            hint="set price_in and price_out, for a million tokens each; 0 for a server of your own",
        ) from None
    return prices


def _money(amount: Decimal, currency: str) -> Money:
    return Money.of(amount.quantize(_MICRO, ROUND_CEILING), currency)
