"""The platforms nova knows, whether each has its key, and a harmless call that shows the key works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nova.errors import NotFound, NovaError
from platforms.base import PlatformNotConfigured, Unreachable, problem_of, shown
from platforms.line import Line, Patience
from platforms.prices import prices_of

if TYPE_CHECKING:
    from nova.config import Settings
    from platforms.connections import Connections
    from platforms.events import RevenuePlatform
    from platforms.gumroad_integration import Gumroad
    from platforms.hands import Hands
    from platforms.sendgrid_integration import SendGrid
    from platforms.stripe_integration import Stripe
    from platforms.twitter_integration import Twitter

_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Known:
    """A platform by name. `key` is the variable it cannot do without; `probe` is read with it to check it."""

    name: str
    does: str
    key: str
    base: str
    default_base: str
    probe: str
    revenue: bool = False


PLATFORMS = {
    known.name: known
    for known in (
        Known(
            "stripe",
            "payments",
            "STRIPE_API_KEY",
            "STRIPE_API_BASE",
            "https://api.stripe.com",
            "/v1/balance",
            revenue=True,
        ),
        Known(
            "gumroad",
            "sales of products",
            "GUMROAD_ACCESS_TOKEN",
            "GUMROAD_API_BASE",
            "https://api.gumroad.com",
            "/v2/user",
            revenue=True,
        ),
        Known("sendgrid", "email", "SENDGRID_API_KEY", "SENDGRID_API_BASE", "https://api.sendgrid.com", "/v3/scopes"),
        Known(
            "twitter",
            "posts on X",
            "TWITTER_BEARER_TOKEN",
            "TWITTER_API_BASE",
            "https://api.twitter.com",
            "/2/usage/tweets",
        ),
        Known("github", "repositories", "GITHUB_TOKEN", "GITHUB_API_BASE", "https://api.github.com", "/rate_limit"),
    )
}


@dataclass(frozen=True, slots=True)
class PlatformState:
    name: str
    does: str
    configured: bool
    key: str
    base: str


def known_platforms(settings: Settings) -> tuple[PlatformState, ...]:
    return tuple(
        PlatformState(known.name, known.does, _configured(settings, known), known.key, shown(base_of(settings, known)))
        for known in PLATFORMS.values()
    )


def check(settings: Settings, name: str, hands: Hands | None = None) -> str:
    """What the platform answered. Raises NotFound, PlatformNotConfigured, PlatformRefused or Unreachable."""
    known = PLATFORMS.get(name)
    if known is None:
        raise NotFound(f"there is no platform {name!r}", hint=f"nova knows {', '.join(PLATFORMS)}")
    if name in _CLIENTS:
        client = _CLIENTS[name](settings, hands)
        try:
            return str(client.check())
        finally:
            client.close()
    return _probe(known, base_of(settings, known), _required_key(settings, known), hands)


def stripe_of(settings: Settings, hands: Hands | None = None, connections: Connections | None = None) -> Stripe:
    """Raises PlatformNotConfigured when it has no key."""
    from platforms.stripe_integration import Stripe

    known = PLATFORMS["stripe"]
    return Stripe(_required_key(settings, known), base_of(settings, known), hands=hands, connections=connections)


def gumroad_of(settings: Settings, hands: Hands | None = None, connections: Connections | None = None) -> Gumroad:
    """Raises PlatformNotConfigured when it has no token."""
    from platforms.gumroad_integration import Gumroad

    known = PLATFORMS["gumroad"]
    return Gumroad(_required_key(settings, known), base_of(settings, known), hands=hands, connections=connections)


def twitter_of(settings: Settings, hands: Hands | None = None, connections: Connections | None = None) -> Twitter:
    """Raises PlatformNotConfigured when it can neither read nor post."""
    from platforms.twitter_integration import Twitter
    from platforms.twitter_keys import keys_of

    base, prices = base_of(settings, PLATFORMS["twitter"]), prices_of(settings, "twitter")
    return Twitter(keys_of(settings), base, hands=hands, connections=connections, price=prices.get)


def sendgrid_of(settings: Settings, hands: Hands | None = None, connections: Connections | None = None) -> SendGrid:
    """Raises PlatformNotConfigured when it has no key. Each request has a connection of its own: none is shared."""
    from platforms.sendgrid_integration import Address, SendGrid

    known, email = PLATFORMS["sendgrid"], settings.sendgrid_from_email
    sender = Address(email, settings.sendgrid_from_name) if email else None
    prices = prices_of(settings, "sendgrid")
    return SendGrid(_required_key(settings, known), base_of(settings, known), hands=hands, sender=sender, prices=prices)


_REVENUE: dict[str, Callable[..., Any]] = {"stripe": stripe_of, "gumroad": gumroad_of}
_CLIENTS: dict[str, Callable[..., Any]] = {
    "stripe": stripe_of, "gumroad": gumroad_of, "sendgrid": sendgrid_of, "twitter": twitter_of,
}  # fmt: skip


def revenue_platform(settings: Settings, name: str, hands: Hands | None = None) -> RevenuePlatform:
    """The client of a platform whose events are booked. Raises NotFound or PlatformNotConfigured."""
    known, make = PLATFORMS.get(name), _REVENUE.get(name)
    if known is not None:
        _required_key(settings, known)
    if make is None:
        raise NotFound(f"nova fetches no revenue from {name!r}", hint=f"it can sync {', '.join(_REVENUE)}")
    client: RevenuePlatform = make(settings, hands)
    return client


def configured_revenue(settings: Settings) -> list[str]:
    """The names of the platforms that a sync without names covers."""
    return [name for name in _REVENUE if _key(settings, PLATFORMS[name]) is not None]


def _probe(known: Known, base: str, key: str, hands: Hands | None) -> str:
    import httpx

    headers = {"Authorization": f"Bearer {key}", "Accept": "application/json", "User-Agent": "nova"}

    def call() -> None:
        answer = httpx.get(f"{base}{known.probe}", headers=headers, timeout=_TIMEOUT_S)
        if answer.status_code >= 300:
            raise problem_of(
                known.name, answer.status_code, key=known.key, retry_after=answer.headers.get("retry-after")
            )

    def translate(error: Exception) -> NovaError | None:
        if not isinstance(error, httpx.HTTPError | httpx.InvalidURL):
            return None
        return Unreachable(
            f"{known.name} cannot be reached at {shown(base)}: {type(error).__name__}",
            hint=f"check the network and {known.base}",
        )

    Line(known.name, translate, hands, Patience(attempts=3, longest_s=5.0, total_s=10.0)).call("check", call)
    return "answers"


def _required_key(settings: Settings, known: Known) -> str:
    key = _key(settings, known)
    if key is None:
        raise PlatformNotConfigured(f"{known.name} is not configured", hint=f"set {known.key}")
    return key


def _key(settings: Settings, known: Known) -> str | None:
    secret = getattr(settings, known.key.lower())
    value: str | None = None if secret is None else secret.get_secret_value()
    return value or None


def _configured(settings: Settings, known: Known) -> bool:
    if known.name == "twitter":  # the keys of an account do too
        from platforms.twitter_keys import keys_of

        return keys_of(settings).can_read
    return _key(settings, known) is not None


def base_of(settings: Settings, known: Known) -> str:
    """Where it answers."""
    return str(getattr(settings, known.base.lower()) or known.default_base).rstrip("/")
