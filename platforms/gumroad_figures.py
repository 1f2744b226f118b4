"""What Gumroad's sales come to by product, in dollars: pure, from the same facts that a sync books."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from nova.money import Money
from platforms.gumroad_mapping import earns, events_of
from platforms.gumroad_money import USD
from platforms.gumroad_objects import Sale

_NONE = Money.zero(USD)


@dataclass(frozen=True, slots=True)
class ProductFigures:
    """`sold` counts what was charged."""

    product: str
    name: str
    sold: int = 0
    gross: Money = _NONE
    fees: Money = _NONE
    refunds: Money = _NONE
    disputes: Money = _NONE

    @property
    def net(self) -> Money:
        return self.gross - self.fees - self.refunds - self.disputes


def by_product(sales: Iterable[Sale]) -> list[ProductFigures]:
    """The most net first."""
    found: dict[str, ProductFigures] = {}
    for sale in sales:
        one = found.get(sale.product) or ProductFigures(sale.product, sale.product_name)
        one = replace(one, sold=one.sold + sale.quantity * earns(sale))
        for event in events_of(sale):
            one = replace(one, **{event.figure: getattr(one, event.figure) + event.amount})
        found[sale.product] = one
    return sorted(found.values(), key=lambda one: (-one.net.micros, one.product))
