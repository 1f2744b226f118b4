"""What a vendor charges for one call, so that it is asked for before the call and booked to the worker after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nova.money import Money

if TYPE_CHECKING:
    from nova.config import Settings

# As the vendors publish them for who pays by use; NOVA_PLATFORM_PRICES says otherwise. By platform/operation: the name
# is the `what` of a line's calls. Where there is none, a call costs nothing by itself (Stripe and Gumroad take fees,
# which the sync books; SendGrid sells plans).
PUBLISHED: Mapping[str, str] = {
    # https://docs.x.com/x-api/getting-started/pricing: writes by the request, reads by what is returned
    "twitter/post": "0.015 USD",
    "twitter/post_with_link": "0.20 USD",
    "twitter/delete": "0.010 USD",
    "twitter/like": "0.015 USD",
    "twitter/unlike": "0.010 USD",
    "twitter/retweet": "0.015 USD",
    "twitter/unretweet": "0.010 USD",
    "twitter/media_metadata": "0.005 USD",
    "twitter/read": "0.005 USD",
    "twitter/owned_read": "0.001 USD",
    "twitter/user": "0.010 USD",
}


def price_of(settings: Settings, platform: str, what: str) -> Money | None:
    """Of one unit of the operation; None: it costs nothing."""
    return prices_of(settings, platform).get(what)


def prices_of(settings: Settings, platform: str) -> dict[str, Money]:
    """By operation, for a `Line`. What is set for a whole one, such as `twitter=0`, replaces its published ones."""
    own = settings.nova_platform_prices
    currency = settings.nova_currency
    known = {name: Money.parse(text, currency) for name, text in PUBLISHED.items()}
    if platform in own:
        known = dict.fromkeys(known, own[platform])
    found = {**known, **own}
    return {
        name.removeprefix(f"{platform}/"): Money(price.micros, price.currency or currency)
        for name, price in found.items()
        if name.startswith(f"{platform}/") and price.micros
    }
