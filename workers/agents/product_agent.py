"""The agent `product_agent`: a product at Gumroad or Stripe, kept as declared, with its price, link and sales."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from nova.clock import iso, parse_time
from nova.errors import LedgerConflict, NotFound, PlatformRefused, Unreachable, UsageProblem
from nova.money import Money
from platforms.base import PlatformFailed
from workers.agents.product_shops import GumroadShop, Listing, Shop, Sold, StripeShop, Wanted, check_price
from workers.base_worker import BaseWorker, RunResult
from workers.context import RunContext

if TYPE_CHECKING:
    from typing import Self

_PRODUCT, _SALES, _PRICES = "product", "sales", "prices"
_KEYS = {"gumroad": "GUMROAD_ACCESS_TOKEN", "stripe": "STRIPE_API_KEY"}
_MOST_PRICES = 200  # changes that are remembered
_REMEMBERED_DAYS = 4  # more than is read again
_PROBLEMS = (PlatformFailed, PlatformRefused, Unreachable, NotFound, UsageProblem)


def _listed(value: Any) -> Any:
    if not isinstance(value, str) or "[" in value:
        return value
    return [part.strip() for part in value.split(",") if part.strip()]


class ProductConfig(BaseModel):
    """What is sold where, and for how much."""

    model_config = ConfigDict(extra="forbid")

    platform: Literal["gumroad", "stripe"] = Field(description="gumroad or stripe.")
    product: str | None = Field(None, min_length=1, description="The shop's id of a product that is there already.")
    name: str | None = Field(
        None, min_length=1, max_length=255, description="What it is called; it is found by it too."
    )
    description: str = Field("", description="What is told of it where it is made.")
    price: Decimal = Field(gt=0, description="What it costs, such as 9.90.")
    currency: str = Field("USD", pattern="^[A-Za-z]{3}$", description="Of the price.")
    candidates: Annotated[list[Decimal], BeforeValidator(_listed)] = Field(
        [], description="Prices the engine may try where it earns too little: 7.90,9.90,12.90."
    )
    every: Literal["week", "month", "year"] | None = Field(None, description="Stripe: a subscription, paid so often.")
    published: bool = Field(True, description="Whether it can be bought.")
    create: bool = Field(False, description="Make it where there is none; its files are put on it by hand.")
    after_url: str | None = Field(None, pattern="^https?://", description="Stripe: where the customer goes then.")

    @field_validator("currency")
    @classmethod
    def _upper(cls, currency: str) -> str:
        return currency.upper()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.product is None and self.name is None:
            raise ValueError("set product, its id in the shop, or name")
        if self.platform == "gumroad" and (self.every or self.after_url):
            raise ValueError("every and after_url are for stripe")
        for price in (self.price, *self.candidates):
            try:
                check_price(self.platform, Money.of(price, self.currency))
            except UsageProblem as problem:
                raise ValueError(f"{problem.message}: {problem.hint}" if problem.hint else problem.message) from None
        return self

    @property
    def money(self) -> Money:
        return Money.of(self.price, self.currency)


class ProductAgent(BaseWorker):
    """Keeps a product at Gumroad or Stripe as declared, with its price and link, and counts its sales by price."""

    Config: ClassVar[type[BaseModel]] = ProductConfig
    scalable: ClassVar[bool] = False
    secrets: ClassVar[tuple[str, ...]] = tuple(_KEYS.values())
    tunables: ClassVar[Mapping[str, tuple[Any, ...]]] = {"price": ()}
    costs: ClassVar[str] = "nothing of its own; what the platform keeps of each sale is booked by `nova revenue sync`"

    @classmethod
    def secrets_of(cls, config: ProductConfig) -> tuple[str, ...]:
        return (_KEYS[config.platform],)

    @classmethod
    def tunables_of(cls, config: ProductConfig) -> Mapping[str, Sequence[Any]]:
        return {"price": tuple(str(price) for price in config.candidates)}

    def run(self, ctx: RunContext) -> RunResult:
        config: ProductConfig = ctx.config
        try:
            shop = _shop(ctx, config)
            listing = shop.keep(_wanted(ctx, config))
            _remember(ctx, config, listing)
            _map(ctx, config, listing)
            sold = _count(ctx, shop.sold(listing, _since(ctx, listing)), listing)
        except _PROBLEMS as problem:
            return RunResult(False, f"{problem.message} ({problem.hint})" if problem.hint else problem.message)
        done = ", ".join(listing.changed) or "as declared"
        price = f"{listing.price} {listing.price.currency}"
        return RunResult(message=f"{listing.name} for {price}: {done}; {sold} sold since")


def _shop(ctx: RunContext, config: ProductConfig) -> Shop:
    return GumroadShop(ctx.platforms.gumroad) if config.platform == "gumroad" else StripeShop(ctx.platforms.stripe)


def _wanted(ctx: RunContext, config: ProductConfig) -> Wanted:
    before = ctx.state.get(_PRODUCT, {})
    same = (before.get("platform"), before.get("declared")) == (config.platform, config.product or config.name)
    return Wanted(
        worker=ctx.worker,
        id=config.product,
        known=before.get("id") if same else None,
        name=config.name,
        description=config.description,
        price=config.money,
        published=config.published,
        create=config.create,
        every=config.every,
        after_url=config.after_url,
    )


def _remember(ctx: RunContext, config: ProductConfig, listing: Listing) -> None:
    """`ctx.state["product"]` is where other agents' authors find the link."""
    now = {
        "platform": config.platform, "declared": config.product or config.name, "id": listing.id,
        "name": listing.name, "url": listing.url, "price": str(listing.price), "currency": listing.price.currency,
    }  # fmt: skip
    before = ctx.state.get(_PRODUCT)
    if before == now:
        return
    if before is None or (before["price"], before["currency"]) != (now["price"], now["currency"]):
        changed = {"at": iso(ctx.now()), "price": f"{listing.price} {listing.price.currency}"}
        ctx.state[_PRICES] = [*ctx.state.get(_PRICES, []), changed][-_MOST_PRICES:]
    ctx.state[_PRODUCT] = now


def _map(ctx: RunContext, config: ProductConfig, listing: Listing) -> None:
    """So that its sales are this worker's, where no link, coupon or tag says more."""
    try:
        ctx.map(config.platform, "product", listing.id)
    except LedgerConflict as problem:
        ctx.log.warning("%s", problem.message)


def _since(ctx: RunContext, listing: Listing) -> datetime | None:
    counted = ctx.state.get(_SALES, {})
    last = counted.get("last") if counted.get("product") == listing.id else None
    return None if last is None else parse_time(last)


def _count(ctx: RunContext, sold: Iterable[Sold], listing: Listing) -> int:
    """Adds what is new to the sums by price, in one write: a run that dies before it has counted nothing.

    Remembered are the ids since a day before what is read again.
    """
    before = ctx.state.get(_SALES, {})
    if before.get("product") != listing.id:
        before = {"product": listing.id, "last": None, "ids": {}, "by_price": {}}
    ids, sums = dict(before["ids"]), {price: dict(sum) for price, sum in before["by_price"].items()}
    fresh = {one.id: one for one in sold if one.id not in ids}
    for one in fresh.values():
        price = f"{one.each} {one.each.currency}"
        so_far = sums.setdefault(price, {"units": 0, "revenue": str(Money.zero(one.each.currency))})
        so_far["units"] += one.units
        so_far["revenue"] = str(Money.parse(so_far["revenue"], one.each.currency) + one.total)
        ids[one.id] = iso(one.at)
    last = max((parse_time(at) for at in ids.values()), default=None)
    if fresh or ctx.state.get(_SALES) != before:
        kept = {id: at for id, at in ids.items() if last is None or (last - parse_time(at)).days < _REMEMBERED_DAYS}
        told = None if last is None else iso(last.astimezone(UTC))
        ctx.state[_SALES] = {"product": listing.id, "last": told, "ids": kept, "by_price": sums}
    return sum(one.units for one in fresh.values())
