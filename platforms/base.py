"""What every platform's client shares: its form, and errors as nova knows them, whichever SDK raised them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from nova.errors import (
    BudgetExceeded,
    NotFound,
    NovaError,
    PlatformNotConfigured,
    PlatformRefused,
    Refused,
    Unreachable,
    UsageProblem,
)

__all__ = [
    "BadAnswer", "Conflicting", "Declined", "Forbidden", "InDoubt", "InvalidRequest", "Missing", "NotConnected",
    "Platform", "PlatformFailed", "PlatformNotConfigured", "PlatformRefused", "RateLimited", "Stopped", "Unreachable",
    "nothing_done", "problem_of", "retry_after_seconds", "shown", "without",
]  # fmt: skip


class PlatformFailed(NovaError):
    """The platform did not accept the request."""


class InvalidRequest(PlatformFailed):
    """The platform finds the request wrong."""


class Missing(PlatformFailed, NotFound):
    """The platform does not know it."""


class Conflicting(PlatformFailed):
    """The platform finds that the request contradicts an earlier one."""


class Declined(PlatformFailed, Refused):
    """The platform understood the request and says no: a card declined, an address suppressed, a post repeated."""


class Forbidden(PlatformRefused):
    """The platform does not let this key do that."""


class BadAnswer(Unreachable):
    """The platform answered with something that is no answer: cut off, not JSON, of another type."""


class NotConnected(Unreachable):
    """No connection to the platform came about, so that nothing was sent."""


class Stopped(NovaError):
    """The call was given up because who asked for it is to end."""


class InDoubt(PlatformFailed):
    """It cannot be told whether this was done: an earlier attempt ended in its middle. It is not done again."""


class RateLimited(Unreachable):
    """The platform asks to be called less often."""

    def __init__(
        self, message: str | None = None, *, retry_after_s: float | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


_NOTHING_DONE = (
    InvalidRequest, Missing, Conflicting, Declined, PlatformRefused, PlatformNotConfigured, RateLimited, NotConnected,
    Stopped, BudgetExceeded, UsageProblem,
)  # fmt: skip


def nothing_done(problem: BaseException) -> bool:
    """Whether the error proves that the platform did not carry out what it was asked for."""
    return isinstance(problem, _NOTHING_DONE)


class Platform(Protocol):
    """A client of one account. It may be used from several threads."""

    name: str

    def check(self) -> str:
        """Calls the platform harmlessly and says what answered. Raises PlatformRefused or Unreachable."""
        ...

    def close(self) -> None: ...


def problem_of(
    platform: str, status: int, said: str = "", *, key: str = "the key", retry_after: str | None = None
) -> NovaError:
    """What an HTTP status means. `said` is the platform's own words, without secrets; `key` the variable of its key.

    What is said of a key that was refused is left out: it may show parts of it.
    """
    words = f": {said}" if said else ""
    if status == 401:
        return PlatformRefused(f"{platform} refused the key", hint=f"check {key}")
    if status == 403:
        return Forbidden(
            f"{platform} does not let this key do that{words}", hint=f"give {key} the right to it, or use another"
        )
    if status == 404:
        return Missing(f"{platform} does not know it{words}")
    if status == 409:
        return Conflicting(f"{platform} finds a contradiction to an earlier request{words}")
    if status == 429:
        wait_s = retry_after_seconds(retry_after)
        return RateLimited(f"{platform} asks to be called less often", retry_after_s=wait_s, hint="try again later")
    if status >= 500:
        return Unreachable(f"{platform} failed with HTTP {status}{words}", hint="try again later")
    return InvalidRequest(f"{platform} did not accept the request (HTTP {status}){words}")


def shown(url: str) -> str:
    """An address as it may be printed: without the name and password that one of a proxy can hold."""
    scheme, slashes, rest = url.rpartition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}"


def without(text: str, secrets: Iterable[str | None]) -> str:
    """What a platform says, without the keys that it may quote."""
    for secret in secrets:
        text = text.replace(secret, "…") if secret else text
    return text


def retry_after_seconds(header: str | None) -> float | None:
    """Reads a Retry-After in seconds; a date or nonsense is no answer."""
    try:
        seconds = float(header) if header is not None else None
    except ValueError:
        return None
    return seconds if seconds is not None and 0 <= seconds < 1e9 else None
