"""The demo's seller: an ordinary agent that pays for what it does and sells through Stripe."""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel, Field

from nova.money import Money
from workers import BaseWorker, RunContext


class Seller(BaseWorker):
    """Pays for a model call in each run, and sells something in every n-th."""

    class Config(BaseModel):
        """`cost` and `price` in the reporting currency."""

        cost: Decimal
        price: Decimal
        sells_every: int = Field(default=1, ge=1)

    def run(self, ctx: RunContext) -> None:
        with ctx.spending(2 * ctx.config.cost, "model call") as call:
            call.settle(ctx.config.cost)
        counter = f"runs of {ctx.index}"
        done = ctx.state.get(counter, 0) + 1
        if done % ctx.config.sells_every == 0:
            payment = ctx.platforms.stripe.payments.create(
                Money.of(ctx.config.price, "USD"), worker=ctx.worker, payment_method="pm_card_visa", confirm=True
            )
            ctx.log.info("sold for %s USD: %s", ctx.config.price, payment.id)
        ctx.state[counter] = done
