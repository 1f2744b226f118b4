"""What a run costs besides what it meters itself: asked for, like any other money, before the time has gone."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nova.errors import NovaError
from nova.ledger import budgets
from nova.ledger.limits import Booked, LimitReached
from nova.money import Money
from workers import instance
from workers.gate import LateRun

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from workers.hosts.base import Spec
    from workers.hosts.run import Run

log = logging.getLogger(__name__)

LOOK_S = 15.0  # how often runs that cost by the hour are looked at
_SPAN_S = 60.0  # that is asked for at once
_PARTS = 4
_AHEAD_S = 30.0  # so long before it is needed: what a run has at least, so that it is looked at and ended within it


@dataclass(frozen=True, slots=True)
class _Span:
    """Seconds of a run, from its beginning, that a reservation covers."""

    reservation: str
    start_s: float
    end_s: float


class Imputing:
    """Per run: the amount is spent before the run begins. Per hour: a minute at a time is reserved while it goes on,
    and settled by the time it took, so that a budget stops the run in its middle and the manager's death loses nothing.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._cost = run.spec.imputed
        self._lock = threading.Lock()
        self._began_s: float | None = None
        self._covered_s = 0.0  # until then it is reserved, or booked
        self._longest_s = run.spec.timeout_s + 2 * instance.GRACE_S  # until a command that does not end is killed
        self._refused = False
        self._spans: list[_Span] = []

    @staticmethod
    def of(spec: Spec) -> bool:
        """Whether there is anything to impute."""
        return spec.imputed is not None and bool(spec.imputed.amount)

    @property
    def by_hour(self) -> bool:
        return self._cost is not None and self._cost.per == "hour"

    def begin(self) -> None:
        """Raises BudgetExceeded where the run cannot be afforded."""
        with self._lock:
            try:
                self._ask(self._cover_more if self.by_hour else self._spend)
            except LimitReached as refusal:
                self._run.refuse(refusal)
                raise
            if self.by_hour:
                self._began_s = self._run.services.clock.monotonic()

    def go_on(self) -> None:
        """Called every `LOOK_S`. Ends a run that can no longer be afforded."""
        with self._lock:
            if self._began_s is None or self._refused:
                return
            try:
                self._ask(self._roll)
            except LimitReached as refusal:
                self._refused = True
                for span in self._spans:  # which comes back, and is no reason to begin again
                    refusal.asked += self._price(span.start_s, span.end_s)
                self._run.overdraw(refusal)
            except LateRun:
                return
            except NovaError as problem:
                more = {"action": "not_imputed", "run": self._run.id, "error": problem.message}
                log.warning("not_imputed", extra=more)

    def end(self) -> int:
        """Books the rest, in order with what is submitted before and after, and returns it in millionths: called when
        nothing else of the run can touch money any more, and before its end is recorded.
        """
        with self._lock:
            if self._began_s is None:
                return 0
            store, elapsed = self._run.services.ledger.store, self._elapsed()
            since = min([span.start_s for span in self._spans] or [self._covered_s])
            for span in self._spans:
                store.submit(self._settling(span, elapsed))
            if elapsed > self._covered_s:
                store.submit(self._booking(self._price(self._covered_s, elapsed)))
            self._began_s, self._spans = None, []
            return self._price(min(since, elapsed), elapsed).micros

    def _ask(self, act: Callable[[], None]) -> None:
        with self._run.gate.passing(), self._run.reaching_the_ledger():
            act()

    def _spend(self) -> None:
        run = self._run
        assert self._cost is not None
        run.booked(run.services.ledger.budgets.spend(run.ref, self._cost.amount, run.spec.limits, self._reason))

    def _roll(self) -> None:
        """Settles what has passed, and reserves what is about to come."""
        run, ledger, elapsed = self._run, self._run.services.ledger, self._elapsed()
        for span in [span for span in self._spans if span.end_s <= elapsed]:
            run.booked(ledger.apply(self._settling(span, elapsed)))
            self._spans.remove(span)
        if elapsed > self._covered_s:  # the machine slept, or the ledger could not be reached
            run.booked(ledger.apply(self._booking(self._price(self._covered_s, elapsed))))
            self._covered_s = elapsed
        if elapsed + _AHEAD_S >= self._covered_s:
            self._cover_more()

    def _cover_more(self) -> None:
        """Where a budget leaves no room for a whole span, for a part of it; never for more than the run can take."""
        whole_s = min(_SPAN_S, self._longest_s - self._covered_s)
        part_s = min(whole_s, _AHEAD_S if self._began_s is None else _SPAN_S / _PARTS)
        if whole_s <= 0:
            return
        try:
            self._cover(whole_s)
        except LimitReached:
            if part_s == whole_s:
                raise
            self._cover(part_s)

    def _cover(self, seconds: float) -> None:
        run, until_s = self._run, self._covered_s + seconds
        price = self._price(self._covered_s, until_s)
        if price:
            reservation = run.services.ledger.budgets.reserve(run.ref, price, run.spec.limits)
            self._spans.append(_Span(reservation, self._covered_s, until_s))
        self._covered_s = until_s

    def _settling(self, span: _Span, elapsed_s: float) -> Callable[[Connection], Booked]:
        store, limits = self._run.services.ledger.store, self._run.spec.limits
        price = self._price(min(span.start_s, elapsed_s), min(span.end_s, elapsed_s))
        return lambda conn: budgets.settle(conn, store, span.reservation, price, limits, self._reason)

    def _booking(self, price: Money) -> Callable[[Connection], Booked]:
        run, store = self._run, self._run.services.ledger.store
        return lambda conn: budgets.spent(conn, store, run.ref, price, run.spec.limits, self._reason)

    def _elapsed(self) -> float:
        assert self._began_s is not None
        return max(0.0, self._run.services.clock.monotonic() - self._began_s)

    def _price(self, start_s: float, end_s: float) -> Money:
        """Of a part of the run. Parts add up to the whole: what is rounded is what is due from the beginning on."""
        assert self._cost is not None
        return self._cost.due(end_s) - self._cost.due(start_s)

    @property
    def _reason(self) -> str:
        assert self._cost is not None
        return f"imputed {self._cost}"
