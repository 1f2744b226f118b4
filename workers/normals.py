"""What a run and an hour of each deployment normally cost, and the meters that hold what runs spend against it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from nova.clock import HOUR_US, Clock, from_us, to_us
from nova.errors import NovaError
from workers.breaker import LEAST_HOURS, LEAST_RUNS, Ceiling, Cost, Trip, ceiling, over, raised

if TYPE_CHECKING:
    from nova.fleet.documents import Deployment, FleetSnapshot
    from nova.ledger.ledger import Ledger

log = logging.getLogger(__name__)

_HOUR_S = 3600.0
_RUNS = 50  # the last that cost something
_HOURS = 24  # the last in which something was spent
_MOST_HOURS = 200
_LOOK_BACK = timedelta(days=7)


@dataclass(slots=True)
class _Book:
    """One deployment's. `since` is its last change: what came before has another normal."""

    since: datetime
    runs: deque[Cost]
    hours: dict[int, int]
    most_an_hour: tuple[int, float, Ceiling | None] = (-1, 0.0, None)  # in which hour, by which rule
    lock: threading.Lock = field(default_factory=threading.Lock)


class Meter:
    """What one run has spent so far. Safe in any thread; what it answers is why the run has to be stopped."""

    def __init__(self, normals: Normals, worker: str, instance: str, started_at: datetime) -> None:
        self.spent = 0
        self._normals = normals
        self._worker = worker
        self._instance = instance
        self._started_at = started_at
        self._ceiling: Ceiling | None = None
        self._of: datetime | None = None  # since when that is normal
        self._lock = threading.Lock()

    def weigh(self, more: int) -> Trip | None:
        """Before `more` is spent."""
        try:
            with self._lock:
                return self._judge(self.spent + more, more)
        except NovaError as problem:
            _unknown(problem)
            return None

    def took(self, total: int) -> Trip | None:
        """After something was: the run has spent `total` by now."""
        try:
            with self._lock:
                more, self.spent = max(0, total - self.spent), max(total, self.spent)
                self._normals.add(self._worker, more)
                return self._judge(self.spent, 0)
        except NovaError as problem:
            _unknown(problem)
            return None

    def succeeded(self, cost: int) -> None:
        """The run is over, and the next may cost as much."""
        self._normals.learn(self._worker, self._instance, self._started_at, cost)

    def _judge(self, total: int, more: int) -> Trip | None:
        one = self._normals.deployment(self._worker)
        if one is None or not one.health.velocity or not total:
            return None
        if self._of != (since := normal_since(one)):  # also where it was changed while the run was under way
            self._ceiling = self._normals.of_a_run(one, self._instance, self._started_at)
            self._of = since
        if self._ceiling is not None and total > self._ceiling.limit:
            most = self._normals.raised(one, self._ceiling)
            if total > most.limit:
                return over(total, most, "run", one.health.velocity, self._normals.currency)
        return self._normals.hour(one, more)


class Normals:
    """Read from the ledger when a deployment first spends, and kept up to date from then on.

    Hours are counted by a clock that does not jump: this manager's first instant and what has passed since.
    """

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self.currency = ledger.store.currency
        self._ledger = ledger
        self._clock = clock
        self._began_us = to_us(clock.now()) - round(clock.monotonic() * 1e6)
        self._snapshot: FleetSnapshot | None = None
        self._books: dict[str, _Book] = {}
        self._lock = threading.Lock()

    def watch(self, snapshot: FleetSnapshot) -> None:
        self._snapshot = snapshot
        for name in self._books.keys() - snapshot.deployments.keys():
            self._books.pop(name, None)

    def forget(self, worker: str) -> None:
        """Its runs were another manager's meanwhile: the ledger tells of them."""
        self._books.pop(worker, None)

    def meter(self, worker: str, instance: str, started_at: datetime) -> Meter:
        return Meter(self, worker, instance, started_at)

    def deployment(self, worker: str) -> Deployment | None:
        return self._snapshot.deployments.get(worker) if self._snapshot is not None else None

    def add(self, worker: str, micros: int) -> None:
        """Spent just now."""
        one = self.deployment(worker)
        if one is None or not micros or not one.health.velocity:
            return
        book, hour = self._book(one), self._hour()
        with book.lock:
            book.hours[hour] = book.hours.get(hour, 0) + micros
            if len(book.hours) > _MOST_HOURS:
                del book.hours[min(book.hours)]

    def learn(self, worker: str, instance: str, started_at: datetime, micros: int) -> None:
        """What a run that succeeded has cost."""
        one, book = self.deployment(worker), self._books.get(worker)
        if one is not None and book is not None and micros and started_at >= book.since == normal_since(one):
            with book.lock:
                book.runs.append(Cost(started_at.timestamp(), micros, instance))

    def of_a_run(self, one: Deployment, instance: str, started_at: datetime) -> Ceiling | None:
        book = self._book(one)
        with book.lock:
            known = list(book.runs)
        return ceiling(known, one.health.velocity, LEAST_RUNS, started_at.timestamp(), instance)

    def hour(self, one: Deployment, more: int) -> Trip | None:
        """Whether this hour, with `more`, costs too much."""
        book, now = self._book(one), self._hour()
        with book.lock:
            spent = book.hours.get(now, 0) + more
            if book.most_an_hour[:2] != (now, one.health.velocity):
                book.most_an_hour = (now, one.health.velocity, _most_an_hour(book, one.health.velocity, now))
            most = book.most_an_hour[2]
        if most is None or spent <= most.limit or spent <= (most := self.raised(one, most)).limit:
            return None
        return over(spent, most, "hour", one.health.velocity, self.currency, self._left_of_hour_s())

    def raised(self, one: Deployment, most: Ceiling) -> Ceiling:
        """By what it has earned in this hour or in the one before. Asked only of what would trip."""
        now = self._hour()
        until = from_us(now * HOUR_US)
        earned = self._ledger.conduct.earnings_of_hours(one.name, until - _LOOK_BACK, until)
        lately = max(earned.pop(hour, 0) for hour in (now, now - 1))
        return raised(most, [micros for _, micros in sorted(earned.items()) if micros > 0][-_HOURS:], lately)

    def _hour(self) -> int:
        return self._now_us() // HOUR_US

    def _left_of_hour_s(self) -> float:
        return (HOUR_US - self._now_us() % HOUR_US) / 1e6

    def _now_us(self) -> int:
        return self._began_us + round(self._clock.monotonic() * 1e6)

    def _book(self, one: Deployment) -> _Book:
        since = normal_since(one)
        book = self._books.get(one.name)
        if book is None or book.since != since:
            with self._lock:
                book = self._books.get(one.name)
                if book is None or book.since != since:
                    book = self._books[one.name] = self._read(one, since)
        return book

    def _read(self, one: Deployment, since: datetime) -> _Book:
        conduct, now = self._ledger.conduct, from_us(self._hour() * HOUR_US)
        runs = [Cost(at.timestamp(), micros, of) for of, at, micros in conduct.costs_of_runs(one.name, since, _RUNS)]
        hours = conduct.costs_of_hours(one.name, max(since, now - _LOOK_BACK), now)
        return _Book(since, deque(runs, maxlen=_RUNS), hours)


def _most_an_hour(book: _Book, velocity: float, now: int) -> Ceiling | None:
    """Without the hour that the change fell into, as it has something of both."""
    changed = to_us(book.since) // HOUR_US
    past = sorted(
        (hour, micros) for hour, micros in book.hours.items() if hour < now and hour != changed and micros > 0
    )
    costs = [Cost(hour * _HOUR_S, micros) for hour, micros in past[-_HOURS:]]
    return ceiling(costs, velocity, LEAST_HOURS, now * _HOUR_S)


def _unknown(problem: NovaError) -> None:
    """What cannot be read stops no run: budgets do."""
    log.warning("normal_unknown", extra={"action": "normal_unknown", "error": problem.message})


def normal_since(one: Deployment) -> datetime:
    """What it cost before says nothing of what it costs now: it was changed, or a person let it run all the same."""
    return max(at for at in (one.created_at, one.changed_at, one.evidence_since) if at is not None)
