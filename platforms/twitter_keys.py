"""The keys of X: a bearer token reads, and four of an account read and write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nova.errors import PlatformNotConfigured

if TYPE_CHECKING:
    from nova.config import Settings

PLATFORM = "twitter"
BEARER = "TWITTER_BEARER_TOKEN"
USER_KEYS = ("TWITTER_API_KEY", "TWITTER_API_SECRET", "TWITTER_ACCESS_TOKEN", "TWITTER_ACCESS_SECRET")


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """The bearer reads; the four of an account read and write."""

    bearer: str | None = None
    api_key: str | None = None
    api_secret: str | None = None
    access_token: str | None = None
    access_secret: str | None = None

    @property
    def user(self) -> tuple[str | None, ...]:
        return (self.api_key, self.api_secret, self.access_token, self.access_secret)

    @property
    def all(self) -> tuple[str | None, ...]:
        return (self.bearer, *self.user)

    @property
    def can_write(self) -> bool:
        return all(self.user)

    @property
    def can_read(self) -> bool:
        return bool(self.bearer) or self.can_write

    def missing(self) -> list[str]:
        """Of the four that writing takes."""
        return [name for name, value in zip(USER_KEYS, self.user, strict=True) if not value]

    def require_any(self) -> None:
        if not self.can_read:
            hint = f"set {BEARER} to read, or {named(USER_KEYS)} to read and post"
            raise PlatformNotConfigured(f"{PLATFORM} is not configured", hint=hint)

    def require_bearer(self) -> None:
        if not self.bearer:
            raise PlatformNotConfigured(f"{PLATFORM} tells that to the bearer token only", hint=f"set {BEARER}")

    @property
    def own_id(self) -> str:
        """The account's, as an access token of OAuth 1.0a begins."""
        return str(self.access_token).partition("-")[0]

    def require_user(self, does: str) -> None:
        """Raises PlatformNotConfigured with the names of what is missing."""
        if missing := self.missing():
            words = f"{PLATFORM} {does} only with the account's four keys"
            raise PlatformNotConfigured(words, hint=f"set {named(missing)}")
        if not self.own_id.isdecimal():
            words = "TWITTER_ACCESS_TOKEN is no access token of an account: those begin with its number and a dash"
            raise PlatformNotConfigured(words, hint="take the access token of OAuth 1.0a from the developer console")


def keys_of(settings: Settings) -> Keys:
    secrets = (getattr(settings, name.lower()) for name in (BEARER, *USER_KEYS))
    return Keys(*((secret.get_secret_value() or None) if secret is not None else None for secret in secrets))


def named(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else ""
