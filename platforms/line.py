"""The way of every request to a platform, whichever SDK makes it: paced, paid for, repeated with care, and timed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from nova.errors import NovaError, Unreachable
from nova.money import Money
from platforms.base import PlatformNotConfigured, RateLimited, Stopped, nothing_done
from platforms.hands import Alone, Bill, Hands

__all__ = ["Line", "Patience", "Stopped"]

T = TypeVar("T")
_FREE: Mapping[str, Money] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Patience:
    """How long what passes is waited out: no single wait above `longest_s`, nor all of them above `total_s`."""

    attempts: int = 6
    longest_s: float = 30.0
    total_s: float = 90.0
    first_s: float = 0.5


class Line:
    """To one platform. `translate` makes a NovaError of what a request raised; None: it is raised as it is.

    A rate limit is waited out as the platform asks, else with doubling waits; what may have been carried out is
    repeated only where that is harmless. Waits have jitter, so that many workers do not come back together.
    `prices` are of one unit by operation: `prices_of(settings, platform)`.
    """

    def __init__(
        self,
        platform: str,
        translate: Callable[[Exception], NovaError | None],
        hands: Hands | None = None,
        patience: Patience | None = None,
        jitter: Callable[[], float] = random.random,
        *,
        prices: Mapping[str, Money] = _FREE,
    ) -> None:
        self.platform = platform
        self.hands = hands or Alone()
        self._translate = translate
        self._patience = patience or Patience()
        self._jitter = jitter
        self._prices = prices

    def call(
        self,
        what: str,
        request: Callable[[], T],
        *,
        part: str = "",
        repeatable: bool = True,
        price: Money | None = None,
        units: int = 1,
        used: Callable[[T], int] | None = None,
        every_s: float = 0.0,
        key: str | None = None,
    ) -> T:
        """`what` names the operation; `part` its lane where the vendor limits it apart; `every_s` lies between two
        requests of that lane.

        `repeatable`: it reads, or bears an idempotency key. Raises NovaErrors, Stopped and BudgetExceeded among them.

        `price` is what one unit costs where the price list does not say it by `what`. The price of `units` is set aside
        before the call; `used` tells from the answer how many it was in the end. A call that failed costs nothing,
        unless nobody knows whether it was carried out; then who asks again is given the same idempotency `key`.
        """
        lane = f"{self.platform}/{part}" if part else self.platform
        price = self._prices.get(what) if price is None else price

        def make() -> T:
            return self._patiently(what, request, lane, repeatable, every_s)

        try:
            return self._paid(what, make, price, units, used) if price and units else make()
        except BaseException as problem:
            if key is not None and not nothing_done(problem):
                self.hands.unsure(key)
            raise

    def _paid(self, what: str, make: Callable[[], T], price: Money, units: int, used: Callable[[T], int] | None) -> T:
        with self._set_aside(_times(price, units), what) as bill:
            try:
                result = make()
            except NovaError as problem:
                if bill is not None and nothing_done(problem):
                    bill.settle(Money.zero(price.currency))
                raise  # what nobody knows the end of stays charged
            if bill is not None:
                bill.settle(_times(price, units if used is None else used(result)))
            return result

    def _set_aside(self, ceiling: Money, what: str) -> AbstractContextManager[Bill | None]:
        """Whatever is wrong with the price, nothing was sent yet."""
        try:
            return self.hands.paying(ceiling, f"{self.platform} {what}")
        except NovaError as problem:
            if nothing_done(problem):
                raise
            raise PlatformNotConfigured(problem.message, hint=problem.hint) from None

    def _patiently(self, what: str, request: Callable[[], T], lane: str, repeatable: bool, every_s: float) -> T:
        patience, waited_s = self._patience, 0.0
        unsure: NovaError | None = None  # of an attempt that may have been carried out
        for attempt in range(1, patience.attempts + 1):
            try:
                self._take_turn(lane, every_s, unsure)
                return self._once(what, request)
            except Unreachable as problem:
                limited = isinstance(problem, RateLimited)
                asked = problem.retry_after_s if isinstance(problem, RateLimited) else None
                unsure = unsure if nothing_done(problem) else problem
                wait_s = self._wait_s(attempt, asked)
                if limited:
                    self.hands.hold(lane, wait_s)
                patient = wait_s <= patience.longest_s and waited_s + wait_s <= patience.total_s
                if attempt == patience.attempts or not patient or not (nothing_done(problem) or repeatable):
                    raise unsure or problem from None
                waited_s += wait_s
                try:
                    self._sleep(wait_s, unsure)
                except Stopped as stopped:
                    raise unsure or stopped from None
            except Stopped as stopped:
                raise unsure or stopped from None
        raise AssertionError

    def _wait_s(self, attempt: int, asked_s: float | None) -> float:
        """AWS's full jitter: anything up to a doubling bound; never sooner than asked for."""
        if asked_s is not None:
            return asked_s + self._jitter() * min(1.0, asked_s / 4)
        bound: float = self._patience.first_s * 2 ** (attempt - 1)
        return bound / 2 + self._jitter() * bound / 2

    def _take_turn(self, lane: str, every_s: float, unsure: NovaError | None) -> None:
        while (wait_s := self.hands.pace(lane, every_s)) > 0:
            if wait_s > self._patience.total_s:
                raise RateLimited(
                    f"{self.platform} asks to be called less often", retry_after_s=wait_s, hint="try again later"
                )
            self._sleep(wait_s, unsure)

    def _sleep(self, seconds: float, unsure: NovaError | None) -> None:
        wait = self.hands.rest if unsure is None else self.hands.wait
        if wait(seconds):
            raise Stopped(f"{self.platform} was not waited for: the run is to end")

    def _once(self, what: str, request: Callable[[], T]) -> T:
        began = time.monotonic()
        problem: Exception | None = None
        try:
            return request()
        except Exception as error:
            problem = self._translate(error) or error
            if problem is error:
                raise
            raise problem from None  # an SDK's own texts may quote the key
        finally:
            self.hands.seen(self.platform, what, time.monotonic() - began, problem)


def _times(price: Money, units: int) -> Money:
    return Money(price.micros * max(0, units), price.currency)
