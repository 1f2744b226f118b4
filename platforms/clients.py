"""The clients of the outside world by name, as an agent has them in `ctx.platforms`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nova.errors import PlatformNotConfigured

if TYPE_CHECKING:
    from nova.config import Settings
    from nova.errors import NovaError
    from platforms.connections import Connections
    from platforms.gumroad_integration import Gumroad
    from platforms.hands import Hands
    from platforms.line import Line, Patience
    from platforms.sendgrid_integration import SendGrid
    from platforms.stripe_integration import Stripe
    from platforms.twitter_integration import Twitter
    from platforms.web_scraper import Manners, WebScraper


class Platforms:
    """Made for one run or one command, by whose hands they work: never kept for the next one.

    PlatformNotConfigured where there is no key. What is open to a platform stays in the connections of the process.
    """

    def __init__(self, settings: Settings, hands: Hands | None = None, connections: Connections | None = None) -> None:
        self._settings = settings
        self._hands = hands
        self._connections = connections

    @cached_property
    def stripe(self) -> Stripe:
        from platforms.registry import stripe_of

        return stripe_of(self._settings, self._hands, self._connections)

    @cached_property
    def gumroad(self) -> Gumroad:
        from platforms.registry import gumroad_of

        return gumroad_of(self._settings, self._hands, self._connections)

    @cached_property
    def twitter(self) -> Twitter:
        from platforms.registry import twitter_of

        return twitter_of(self._settings, self._hands, self._connections)

    @cached_property
    def sendgrid(self) -> SendGrid:
        from platforms.registry import sendgrid_of

        return sendgrid_of(self._settings, self._hands, self._connections)

    def web(self, manners: Manners | None = None) -> WebScraper:
        """Pages of any site."""
        from platforms.web_scraper import WebScraper

        return WebScraper(manners, hands=self._hands, connections=self._connections)

    def line(
        self, name: str, translate: Callable[[Exception], NovaError | None], patience: Patience | None = None
    ) -> Line:
        """The way to something that nova has no client for: paced, repeated with care, and counted under `name`."""
        from platforms.line import Line

        return Line(name, translate, self._hands, patience)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise PlatformNotConfigured(f"there is no platform {name!r} here", hint="`nova platforms list` shows them")
