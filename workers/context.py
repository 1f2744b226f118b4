"""What a run is given: money, state, platforms, a log, and the wish that it stop."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nova.errors import UsageProblem
from nova.ledger.effects import EffectHeld
from nova.money import Money
from nova.people import subject_of_email
from workers.gate import LateRun
from workers.outbox import Outbox
from workers.spending import Spending
from workers.state import DurableState
from workers.worker_log import WorkerLogger

if TYPE_CHECKING:
    from pydantic import BaseModel

    from workers.hosts.desk import Desk
    from workers.hosts.shell_run import CommandEnded

Amount = Money | Decimal | str
_AT_ONCE = 1_000


class RunContext:
    """The hands of one run. Once the run was ended from outside, every call on money or state raises LateRun."""

    def __init__(self, desk: Desk, config: BaseModel | Mapping[str, Any]) -> None:
        self._desk = desk
        self.config: Any = config

    @property
    def worker(self) -> str:
        return self._desk.about.worker

    @property
    def run_id(self) -> str:
        return self._desk.about.run

    @property
    def manager(self) -> str:
        """The id of the manager that runs it."""
        return self._desk.about.manager

    @property
    def instance(self) -> str:
        return self._desk.about.instance

    @property
    def index(self) -> int:
        """Which replica this is, from 1."""
        return self._desk.about.index

    @property
    def replicas(self) -> int:
        """How many replicas are declared now."""
        return self._desk.replicas

    @property
    def stopping(self) -> bool:
        """Whether the run is asked to end soon; a long run should look at it."""
        self._desk.beat()
        return self._desk.stopping

    def sleep(self, seconds: float) -> bool:
        """Returns early, with True, when the run is asked to end."""
        self._desk.beat()
        return self._desk.wait(max(0.0, seconds))

    def beat(self) -> None:
        """A sign of life, for a long run that has nothing else to say."""
        self._desk.beat()

    def now(self) -> datetime:
        return self._desk.now()

    @cached_property
    def state(self) -> MutableMapping[str, Any]:
        """A durable mapping of this deployment, shared by its replicas: text keys, values as JSON has them."""
        return DurableState(self._desk)

    @cached_property
    def outbox(self) -> Outbox:
        """Effects on the outside world that must happen once: recorded before they are tried, marked after."""
        return Outbox(self._desk, self.log)

    @cached_property
    def log(self) -> logging.Logger:
        """Writes to the worker's log (`nova workers logs`); what `extra` holds is kept as fields."""
        return WorkerLogger(self.instance, self._desk.log)

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that a command of this run is to be given: without the secrets it does not declare."""
        return self._desk.environment

    @cached_property
    def platforms(self) -> Any:
        """The clients of the outside world: `ctx.platforms.stripe`. PlatformNotConfigured where there is no key.

        They are this run's: what they pay, post or send is booked to it and done once. Never keep them for another run.
        """
        return self._desk.platforms

    def command(self, text: str, *, cwd: str | None = None, env: Mapping[str, str]) -> CommandEnded:
        """Runs a command by /bin/sh -c in a process group of its own, which ends with this run and with the manager.

        Its metering messages are booked for this run. Raises OSError when it cannot be started.
        """
        return self._desk.command(text, cwd, env)

    def spend(self, amount: Amount, reason: str = "") -> None:
        """Asks before the money goes. BudgetExceeded: nothing is booked, and the run ends `interrupted`."""
        self._desk.spend(self._money(amount), reason)

    def spent(self, amount: Amount, reason: str = "") -> None:
        """Tells of money that is gone already: always booked. A limit it broke pauses the deployment."""
        self._desk.spent(self._money(amount), reason)

    def spending(self, ceiling: Amount, reason: str = "", *, release_on_error: bool = False) -> Spending:
        """Sets `ceiling` aside at once (or raises BudgetExceeded) until the block settles what was really spent.

        `release_on_error=True` declares that an exception, or the death of the run, means that nothing was bought.
        """
        most = self._money(ceiling)
        key = self._desk.reserve(most, release_on_error)

        def settle(actual: Money) -> None:
            self._desk.settle(key, self._money(actual), reason)

        return Spending(most, settle, release_on_error=release_on_error)

    def earn(self, amount: Amount, external_id: str, note: str | None = None) -> bool:
        """Books revenue once per `external_id`, durable on return. False: it was there already with the same content.

        LedgerConflict where it is there with another. A sale that a platform reports too is to be claimed, not earned.
        """
        revenue = self._money(amount)
        if not isinstance(external_id, str) or not external_id.strip():
            raise UsageProblem("what is earned needs an external id", hint="pass the order's or the payment's own id")
        return bool(revenue) and self._desk.earn(revenue, external_id, note)

    def claim(self, source: str, object_id: str) -> None:
        """Says that a sale which `source` will report is this worker's. LedgerConflict where it is another's."""
        self._desk.claim(source, object_id)

    def map(self, source: str, kind: str, object_id: str) -> None:
        """Says that what `source` will report of a product, price, coupon or campaign is this worker's, where nothing
        says it more exactly. LedgerConflict where a person or another worker said so of another.
        """
        self._desk.map(source, kind, object_id)

    def link(
        self,
        url: str,
        campaign: str | None = None,
        channel: str | None = None,
        content: str | None = None,
        *,
        to: str | None = None,
    ) -> str:
        """An address that leads to `url` and counts who follows it, as touches of this worker's work.

        The same arguments give the same address. UTM tags are added, and `nova_link` and `nova_click`, which a shop can
        hand on to the payment. `to` is the email address of whom it is sent to: a click is then theirs. The link does
        not hold it.
        """
        subject = None if to is None else subject_of_email(to)
        return self._desk.link(url, campaign, channel, content, subject)

    def unsubscribe_link(self, address: str) -> str:
        """Where the owner of the email address says that nobody is to write to it any more: by a POST, as mail programs
        do for their users (RFC 8058), or on a page. `nova serve` answers there; the link does not hold the address.
        """
        return self._desk.way_out(subject_of_email(address))

    @contextmanager
    def turn(self, name: str, wait_s: float = 0.0) -> Iterator[None]:
        """Only one run of this deployment at a time is in a block of this name; EffectHeld where another one still is
        after `wait_s`. A run that ended, or died, is in none.
        """
        until = time.monotonic() + wait_s
        while True:
            try:
                self._desk.turn_begin(name)
                break
            except EffectHeld:
                if time.monotonic() >= until or self._desk.wait(0.05):
                    raise
        try:
            yield
        finally:
            with suppress(LateRun):
                self._desk.turn_end(name)

    def suppressed(self, address: str) -> str | None:
        """Why nobody is to write to this email address any more, such as `unsubscribe`; None: one may."""
        subject = subject_of_email(address)
        return self._desk.suppressed([subject]).get(subject)

    def suppress(self, addresses: str | Iterable[str], reason: str = "manual") -> int:
        """Lets no worker write to them any more; how many were news. For unsubscribe, bounce, spam, invalid or manual.

        Only hashes of the addresses are kept.
        """
        every = [addresses] if isinstance(addresses, str) else list(addresses)
        some = (every[first : first + _AT_ONCE] for first in range(0, len(every), _AT_ONCE))
        return sum(self._desk.suppress([subject_of_email(one) for one in part], reason) for part in some)

    def _money(self, amount: Amount) -> Money:
        money = Money.of(amount, self._desk.about.currency)
        if money.micros < 0:
            raise UsageProblem(f"an amount must not be negative: {money}")
        return money
