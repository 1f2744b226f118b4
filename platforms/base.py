"""What every platform client shares: typed events, errors as nova knows them, and patience with a busy server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from nova.errors import NovaError, PlatformNotConfigured, PlatformRefused, Unreachable
from nova.money import Money

if TYPE_CHECKING:
    from tenacity import RetryCallState

__all__ = [
    "Balance", "EventPage", "EventReader", "Figure", "Kind", "Patience", "PlatformEvent", "PlatformFailed",
    "PlatformNotConfigured", "PlatformRefused", "RateLimited", "RevenuePlatform", "Tag", "Unreachable", "patiently",
]  # fmt: skip

T = TypeVar("T")
Kind = Literal["revenue", "refund", "fee", "dispute", "adjustment"]
Figure = Literal["gross", "refunds", "disputes", "fees"]


class PlatformFailed(NovaError):
    """The platform did not accept the request."""


class RateLimited(Unreachable):
    """The platform asks to be called less often."""

    def __init__(
        self, message: str | None = None, *, retry_after_s: float | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Tag:
    """The worker that the seller wrote on an object, and where: `payment_intent.metadata`."""

    worker: str
    found: str


@dataclass(frozen=True, slots=True)
class PlatformEvent:
    """One money fact as a platform tells it. `amount` is positive; that of an adjustment is its signed effect.

    `figure` is the sum it belongs to, so that gross − fees − refunds − disputes is what the balance changed by.
    `transaction` is the platform's record it was read from; `object` is the payment behind it, `objects` every id a
    worker may have claimed it by. `corrects` is the id of the event that an adjustment takes back, made at
    `corrects_at`. `presented` and `rate` say what the customer paid where the platform converted it.
    """

    source: str
    id: str
    kind: Kind
    figure: Figure
    amount: Money
    at: datetime
    transaction: str
    object: str | None = None
    objects: tuple[str, ...] = ()
    corrects: str | None = None
    corrects_at: datetime | None = None
    tag: Tag | None = None
    note: str | None = None
    presented: Money | None = None
    rate: Decimal | None = None

    @property
    def effect(self) -> Money:
        """What it adds to the balance."""
        return self.amount if self.kind in ("revenue", "adjustment") else -self.amount

    def alone(self) -> PlatformEvent:
        """The same money without what it takes back: as revenue, where that will never be told."""
        kind: Kind = "revenue" if self.amount.micros > 0 else "fee"
        amount = self.amount if kind == "revenue" else -self.amount
        return replace(self, kind=kind, amount=amount, corrects=None, corrects_at=None) if self.corrects else self


@dataclass(frozen=True, slots=True)
class EventPage:
    """`transactions` counts the platform's records on the page, `skipped` those that move money without earning it.

    `moved` is the effect of the skipped ones on the balance. `after` continues behind this page.
    """

    events: tuple[PlatformEvent, ...]
    transactions: int
    skipped: int
    moved: tuple[Money, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class Balance:
    """What the platform holds for the account, per currency: available and still pending."""

    available: tuple[Money, ...]
    pending: tuple[Money, ...]


class EventReader(Protocol):
    """One reading of a platform's events; what it looks up meanwhile it remembers."""

    def pages(self, since: datetime | None = None, *, after: str | None = None) -> Iterator[EventPage]:
        """Newest first, nothing older than `since`; `after` continues behind an earlier page."""
        ...

    def tag(self, event: PlatformEvent) -> Tag | None:
        """Looks for the worker everywhere behind the event, also where that needs requests."""
        ...

    def payment_of(self, object: str) -> str | None:
        """The payment that one of its ids belongs to; None where the platform does not know it."""
        ...


class RevenuePlatform(Protocol):
    """A platform whose events nova books."""

    name: str

    def reader(self) -> EventReader: ...

    def balance(self) -> Balance: ...

    def check(self) -> str:
        """Calls the platform harmlessly and says what answered. Raises PlatformRefused or Unreachable."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a rate limit is waited out: no single wait above `longest_s`, nor all of them above `total_s`."""

    attempts: int = 6
    longest_s: float = 30.0
    total_s: float = 90.0
    first_s: float = 0.5


def patiently(call: Callable[[], T], patience: Patience, sleep: Callable[[float], None] = time.sleep) -> T:
    """Repeats a call that is rate limited after what the platform asks for, else with doubling waits.

    The last RateLimited is raised when patience ends, or at once when the platform asks for more than that.
    """
    from tenacity import Retrying, retry_if_exception_type

    def wait(state: RetryCallState) -> float:
        asked = _asked_wait(state)
        return patience.first_s * 2 ** (state.attempt_number - 1) if asked is None else asked

    def stop(state: RetryCallState) -> bool:
        next_s = wait(state)
        return (
            state.attempt_number >= patience.attempts
            or next_s > patience.longest_s
            or state.idle_for + next_s > patience.total_s
        )

    result: T = Retrying(retry=retry_if_exception_type(RateLimited), wait=wait, stop=stop, sleep=sleep, reraise=True)(
        call
    )
    return result


def _asked_wait(state: RetryCallState) -> float | None:
    error = state.outcome.exception() if state.outcome is not None else None
    return error.retry_after_s if isinstance(error, RateLimited) else None


def shown(url: str) -> str:
    """An address as it may be printed: without the name and password that one of a proxy can hold."""
    scheme, slashes, rest = url.rpartition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}"


def retry_after_seconds(header: str | None) -> float | None:
    """Reads a Retry-After in seconds; a date or nonsense is no answer."""
    try:
        seconds = float(header) if header is not None else None
    except ValueError:
        return None
    return seconds if seconds is not None and 0 <= seconds < 1e9 else None
