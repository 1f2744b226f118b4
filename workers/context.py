"""What a run is given: money, state, platforms, a log, and the wish that it stop."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from nova.errors import LedgerConflict, PlatformNotConfigured, UsageProblem
from nova.ledger.entries import Entry
from nova.ledger.limits import Booked, LimitReached
from nova.money import Money
from workers.spending import Spending
from workers.state import DurableState
from workers.worker_log import WorkerLogger

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel

    from workers.hosts.run import Run
    from workers.hosts.shell_run import CommandEnded

Amount = Money | Decimal | str
T = TypeVar("T")


class RunContext:
    """The hands of one run. Once the run was ended from outside, every call on money or state raises LateRun."""

    def __init__(self, run: Run, config: BaseModel | Mapping[str, Any]) -> None:
        self._run = run
        self._ledger = run.services.ledger
        self.config: Any = config

    @property
    def worker(self) -> str:
        return self._run.spec.worker

    @property
    def run_id(self) -> str:
        return self._run.id

    @property
    def manager(self) -> str:
        """The id of the manager that runs it."""
        return self._run.services.manager

    @property
    def instance(self) -> str:
        return self._run.spec.instance

    @property
    def index(self) -> int:
        """Which replica this is, from 1."""
        return self._run.spec.index

    @property
    def replicas(self) -> int:
        """How many replicas are declared now."""
        return self._run.spec.replicas

    @property
    def stopping(self) -> bool:
        """Whether the run is asked to end soon; a long run should look at it."""
        self._run.beat()
        return self._run.stopping.is_set()

    def sleep(self, seconds: float) -> bool:
        """Returns early, with True, when the run is asked to end."""
        self._run.beat()
        return self._run.stopping.wait(max(0.0, seconds))

    def now(self) -> datetime:
        return self._run.services.clock.now()

    @cached_property
    def state(self) -> MutableMapping[str, Any]:
        """A durable mapping of this deployment, shared by its replicas: text keys, values as JSON has them."""
        return DurableState(self._ledger.state, self.worker, self._run.passing)

    @cached_property
    def log(self) -> logging.Logger:
        """Writes to the worker's log (`nova workers logs`)."""
        return WorkerLogger(self.instance, self._run.write_log)

    @property
    def platforms(self) -> Any:
        """The clients of the outside world: `ctx.platforms.stripe`. PlatformNotConfigured where there is no key."""
        if self._run.services.platforms is None:
            raise PlatformNotConfigured("no platforms are available to this run")
        return self._run.services.platforms

    def command(self, text: str, *, cwd: str | None = None, env: Mapping[str, str]) -> CommandEnded:
        """Runs a command by /bin/sh -c in a process group of its own, which ends with this run and with the manager.

        Its metering messages are booked for this run. Raises OSError when it cannot be started.
        """
        return self._run.command(text, cwd, env)

    def spend(self, amount: Amount, reason: str = "") -> None:
        """Asks before the money goes. BudgetExceeded: nothing is booked, and the run ends `interrupted`."""
        price = self._money(amount)
        self._booked(price, lambda run: self._ledger.budgets.spend(run.ref, price, run.spec.limits, reason or None))

    def spent(self, amount: Amount, reason: str = "") -> None:
        """Tells of money that is gone already: always booked. A limit it broke pauses the deployment."""
        price = self._money(amount)
        run = self._run
        with run.reaching_the_ledger():
            booked = self._ledger.budgets.spent(run.ref, price, run.spec.limits, reason or None)
        self._tell(booked)
        with run.passing():  # a run that was ended has its money booked all the same, and is told that it is late
            return

    def spending(self, ceiling: Amount, reason: str = "", *, release_on_error: bool = False) -> Spending:
        """Sets `ceiling` aside at once (or raises BudgetExceeded) until the block settles what was really spent.

        `release_on_error=True` declares that an exception, or the death of the run, means that nothing was bought.
        """
        most = self._money(ceiling)
        key = self._spending(
            most,
            lambda run: self._ledger.budgets.reserve(run.ref, most, run.spec.limits, release_on_death=release_on_error),
        )

        def settle(actual: Money) -> None:
            price = self._money(actual)
            self._booked(price, lambda run: self._ledger.budgets.settle(key, price, run.spec.limits, reason or None))

        return Spending(most, settle, release_on_error=release_on_error)

    def earn(self, amount: Amount, external_id: str, note: str | None = None) -> bool:
        """Books revenue once per `external_id`, durable on return. False: it was there already with the same content.

        LedgerConflict where it is there with another. A sale that a platform reports too is to be claimed, not earned.
        """
        revenue = self._money(amount)
        if not isinstance(external_id, str) or not external_id.strip():
            raise UsageProblem("what is earned needs an external id", hint="pass the order's or the payment's own id")
        if not revenue:
            return False
        source = f"worker:{self.worker}"
        entry = Entry(
            external_id, source, "revenue", revenue, self.now(), self.worker, self.run_id,
            model="direct", evidence="earn", note=note,
        )  # fmt: skip
        with self._run.passing():
            known = self._ledger.entries.record([entry])
            if not known.conflicts:
                return known.new > 0
            before = self._ledger.entries.find(
                entry.ref
            ).entry  # by another run, at another time: that is no contradiction
            if (before.kind, before.amount) == (entry.kind, entry.amount):
                return False
        raise LedgerConflict(
            f"{entry.ref} was earned before as {before.amount} {before.amount.currency}, not {revenue}"
        )

    def claim(self, source: str, object_id: str) -> None:
        """Says that a sale which `source` will report is this worker's. LedgerConflict where it is another's."""
        with self._run.passing():
            self._ledger.claims.claim(source, object_id, self.worker, self._run.id)

    def _money(self, amount: Amount) -> Money:
        money = Money.of(amount, self._ledger.store.currency)
        if money.micros < 0:
            raise UsageProblem(f"an amount must not be negative: {money}")
        return money

    def _booked(self, price: Money, act: Callable[[Run], Booked]) -> None:
        self._tell(self._spending(price, act))

    def _tell(self, booked: Booked) -> None:
        if booked.near:
            self._run.budget_hit("near", booked.near)
        if booked.breaches:
            self._run.budget_hit("broken", booked.breaches)

    def _spending(self, price: Money, act: Callable[[Run], T]) -> T:
        with self._run.passing():
            try:
                return act(self._run)
            except LimitReached as refusal:
                self._run.refuse(refusal, price)
                raise
