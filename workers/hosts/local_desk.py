"""The desk of a run that is in its manager's own process: it books in the ledger."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from nova.errors import LedgerConflict, PlatformNotConfigured, UsageProblem
from nova.ledger.entries import Entry
from nova.ledger.limits import Booked, LimitReached
from nova.ledger.turns import PREFIX
from nova.money import Money
from workers.hands import RunHands
from workers.hosts.desk import LONGEST_S, About
from workers.hosts.environment import environment_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from nova.ledger.effects import Mark, Taken
    from platforms.exchange import Exchange
    from workers.hosts.run import Run
    from workers.hosts.shell_run import CommandEnded

T = TypeVar("T")
_MISSING = object()
_LONGEST_HOLD_S = 2 * 86_400.0  # no platform asks for more, and one run must not hold up all others for good
_ERROR_CHARS = 4_000


class LocalDesk:
    """A Desk."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._ledger = run.services.ledger
        spec = run.spec
        self.about = About(
            spec.worker, spec.instance, spec.index, run.id, run.services.manager, self._ledger.store.currency
        )

    @property
    def replicas(self) -> int:
        return self._run.spec.replicas

    @property
    def stopping(self) -> bool:
        return self._run.stopping.is_set()

    @property
    def environment(self) -> Mapping[str, str]:
        run = self._run
        return environment_of(run.spec, os.environ, run.services.variables())

    @property
    def platforms(self) -> Any:
        return self._exchange.platforms(RunHands(self))

    @property
    def _exchange(self) -> Exchange:
        if self._run.services.exchange is None:
            raise PlatformNotConfigured("no platforms are available to this run")
        return self._run.services.exchange

    def wait(self, seconds: float) -> bool:
        self._run.beat(min(seconds, LONGEST_S))
        return self._run.stopping.wait(seconds)

    def now(self) -> datetime:
        return self._run.services.clock.now()

    def beat(self, for_s: float = 0.0) -> None:
        self._run.beat(for_s)

    def write_log(self, lines: Sequence[str], stream: str = "stdout") -> None:
        self._run.write_log(lines, stream)

    def log(self, level: str, message: str, fields: Mapping[str, Any]) -> None:
        self._run.log(level, message, fields)

    def command(self, text: str, cwd: str | None, env: Mapping[str, str]) -> CommandEnded:
        return self._run.command(text, cwd, env)

    def pace(self, lane: str, every_s: float) -> float:
        with self._run.passing():  # a thread whose run was ended calls no platform any more
            return self._exchange.paces.take(lane, every_s)

    def hold(self, lane: str, seconds: float) -> None:
        self._exchange.paces.hold(lane, min(seconds, _LONGEST_HOLD_S))

    def seen(self, platform: str, seconds: float, limited: bool, error: str | None) -> None:
        told = None if error is None else self._run.services.logs.scrubber.text(error[:_ERROR_CHARS])
        self._exchange.health.count(platform, seconds, limited=limited, error=told)

    def lineage(self) -> str:
        with self._run.passing():
            return self._ledger.runs.lineage(self._run.ref)

    def spend(self, price: Money, reason: str) -> None:
        run = self._run
        run.weigh(price)
        self._tell(self._spending(lambda: self._ledger.budgets.spend(run.ref, price, run.spec.limits, reason or None)))

    def spent(self, price: Money, reason: str) -> None:
        run = self._run
        with run.reaching_the_ledger():
            booked = self._ledger.budgets.spent(run.ref, price, run.spec.limits, reason or None)
        self._tell(booked)
        with run.passing():  # a run that was ended has its money booked all the same, and is told that it is late
            run.weigh(Money.zero(price.currency))

    def reserve(self, ceiling: Money, release_on_death: bool) -> str:
        run = self._run
        run.weigh(Money.zero(ceiling.currency))  # a ceiling is no price: far less may be spent
        return self._spending(
            lambda: self._ledger.budgets.reserve(run.ref, ceiling, run.spec.limits, release_on_death=release_on_death),
        )

    def settle(self, reservation: str, actual: Money, reason: str) -> None:
        limits = self._run.spec.limits
        self._tell(self._spending(lambda: self._ledger.budgets.settle(reservation, actual, limits, reason or None)))

    def earn(self, revenue: Money, external_id: str, note: str | None) -> bool:
        about = self.about
        entry = Entry(
            external_id, f"worker:{about.worker}", "revenue", revenue, self.now(), about.worker, about.run,
            model="direct", evidence="earn", note=note,
        )  # fmt: skip
        with self._run.passing():
            known = self._ledger.entries.record([entry])
            if not known.conflicts:
                self._run.progressed |= known.new > 0
                return known.new > 0
            before = self._ledger.entries.find(entry.ref).entry
            if (before.kind, before.amount) == (entry.kind, entry.amount):  # by another run, at another time
                return False
        raise LedgerConflict(
            f"{entry.ref} was earned before as {before.amount} {before.amount.currency}, not {revenue}"
        )

    def claim(self, source: str, object_id: str) -> None:
        with self._run.passing():
            self._run.progressed |= self._ledger.claims.claim(source, object_id, self.about.worker, self.about.run)

    def map(self, source: str, kind: str, object_id: str) -> None:
        with self._run.passing():
            self._run.progressed |= self._ledger.mappings.of_worker(source, kind, object_id, self.about.worker)

    def state_get(self, key: str) -> tuple[bool, Any]:
        with self._run.passing():
            value = self._ledger.state.get(self.about.worker, key, _MISSING)
        return (False, None) if value is _MISSING else (True, value)

    def state_set(self, key: str, value: Any) -> None:
        with self._run.passing():
            self._run.progressed |= self._ledger.state.set(self.about.worker, key, value)

    def state_delete(self, key: str) -> bool:
        with self._run.passing():
            known = self._ledger.state.delete(self.about.worker, key)
        self._run.progressed |= known
        return known

    def state_keys(self) -> Sequence[str]:
        with self._run.passing():
            return [key for key in self._ledger.state.all(self.about.worker) if not key.startswith(PREFIX)]

    def outbox_put(self, topic: str, key: str, payload: Any) -> bool:
        with self._run.passing():
            return self._ledger.outbox.put(self.about.worker, topic, key, payload)

    def outbox_take(self, topic: str | None, after: Mark | None) -> Taken | None:
        with self._run.passing():
            effect = self._ledger.outbox.take(self.about.worker, self.about.run, topic, after)
        return None if effect is None else effect.taken()

    def outbox_begin(self, topic: str, key: str, payload: Any) -> Taken:
        with self._run.passing():
            return self._ledger.outbox.begin(self.about.worker, self.about.run, topic, key, payload).taken()

    def outbox_done(self, topic: str, key: str, result: Any) -> None:
        with self._run.reaching_the_ledger():
            self._ledger.outbox.done(self.about.worker, self.about.run, topic, key, result)
        self._run.progressed = True
        with self._run.passing():  # what was done is marked all the same, and a run that was ended is told so
            return

    def outbox_failed(self, topic: str, key: str, error: str) -> bool:
        with self._run.passing():
            effect = self._ledger.outbox.failed(self.about.worker, self.about.run, topic, key, error)
        return effect.state == "pending"

    def outbox_release(self, topic: str, key: str) -> None:
        with self._run.passing():
            self._ledger.outbox.release(self.about.worker, self.about.run, topic, key)

    def link(
        self, url: str, campaign: str | None, channel: str | None, content: str | None, subject: str | None
    ) -> str:
        links = self._run.services.links
        if links is None:
            raise UsageProblem("no link can be tracked in this run")
        with self._run.passing():
            return links.address(self.about.worker, url, campaign, channel, content, subject)

    def way_out(self, subject: str) -> str:
        links = self._run.services.links
        if links is None:
            raise UsageProblem("no link can be tracked in this run")
        with self._run.passing():
            return links.way_out(subject)

    def turn_begin(self, name: str) -> None:
        with self._run.passing():
            self._ledger.turns.begin(self.about.worker, self.about.run, name)

    def turn_end(self, name: str) -> None:
        with self._run.passing():
            self._ledger.turns.end(self.about.worker, self.about.run, name)

    def suppressed(self, subjects: Sequence[str]) -> Mapping[str, str]:
        with self._run.passing():
            return self._ledger.suppressions.of(subjects)

    def suppress(self, subjects: Sequence[str], reason: str) -> int:
        with self._run.passing():
            return self._ledger.suppressions.add(subjects, reason, f"worker:{self.about.worker}")

    def once_begin(self, what: str, key: str, payload: Any) -> Taken:
        with self._run.passing():
            return self._ledger.once.begin(self.about.worker, self.about.run, what, key, payload)

    def once_doubt(self, topic: str, key: str, error: str) -> None:
        clean = self._run.services.logs.scrubber.text(error)
        with self._run.reaching_the_ledger():  # also of a run that was ended
            self._ledger.once.doubt(self.about.worker, self.about.run, topic, key, clean)

    def once_forget(self, topic: str, key: str) -> None:
        with self._run.reaching_the_ledger():
            self._ledger.once.forget(self.about.worker, self.about.run, topic, key)

    def _tell(self, booked: Booked) -> None:
        self._run.booked(booked)

    def _spending(self, act: Callable[[], T]) -> T:
        with self._run.passing():
            try:
                return act()
            except LimitReached as refusal:
                self._run.refuse(refusal)
                raise
