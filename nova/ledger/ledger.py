"""The ledger as the rest of nova sees it: one store, and a small repository for each kind of fact."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

from nova.clock import Clock
from nova.ledger.store import Store

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from nova.ledger.audit import Audit
    from nova.ledger.budgets import Budgets
    from nova.ledger.claims import Claims
    from nova.ledger.conduct import Conduct
    from nova.ledger.credits import Credits
    from nova.ledger.cursors import Cursors
    from nova.ledger.decisions import Decisions
    from nova.ledger.deliveries import Deliveries
    from nova.ledger.deployments import Deployments
    from nova.ledger.entries import Entries
    from nova.ledger.instances import Instances
    from nova.ledger.leases import Leases
    from nova.ledger.links import Links
    from nova.ledger.mappings import Mappings
    from nova.ledger.once import Once
    from nova.ledger.outbox import Outbox
    from nova.ledger.platform_calls import PlatformCalls
    from nova.ledger.rates import Rates
    from nova.ledger.reports import Reports
    from nova.ledger.runs import Runs
    from nova.ledger.state import State
    from nova.ledger.subjects import Subjects
    from nova.ledger.subscriptions import Subscriptions
    from nova.ledger.suppressions import Suppressions
    from nova.ledger.touches import Touches
    from nova.ledger.transfer import Transfer
    from nova.ledger.turns import Turns
    from nova.ledger.verify import Verified

T = TypeVar("T")


class Ledger:
    """Repositories are imported when they are first used, so that a command pays for what it needs."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @classmethod
    def open(
        cls,
        url: str,
        *,
        currency: str,
        zone: ZoneInfo,
        clock: Clock,
        grouped: bool = False,
        busy_timeout_s: float = 30.0,
        manages: bool = True,
    ) -> Ledger:
        """As `Store.open`."""
        return cls(
            Store.open(
                url,
                currency=currency,
                zone=zone,
                clock=clock,
                grouped=grouped,
                busy_timeout_s=busy_timeout_s,
                manages=manages,
            )
        )

    def apply(self, work: Callable[[Connection], T]) -> T:
        return self.store.apply(work)

    def submit(self, work: Callable[[Connection], Any]) -> None:
        self.store.submit(work)

    def read(self) -> AbstractContextManager[Connection]:
        return self.store.read()

    def close(self, timeout_s: float = 10.0) -> None:
        self.store.close(timeout_s)

    def verify(self) -> Verified:
        from nova.ledger.verify import verify

        return verify(self.store)

    def backup(self, path: Path, *, force: bool = False) -> None:
        from nova.ledger.backup import backup

        backup(self.store, path, force=force)

    @cached_property
    def entries(self) -> Entries:
        from nova.ledger.entries import Entries

        return Entries(self.store)

    @cached_property
    def leases(self) -> Leases:
        from nova.ledger.leases import Leases

        return Leases(self.store)

    @cached_property
    def rates(self) -> Rates:
        from nova.ledger.rates import Rates

        return Rates(self.store)

    @cached_property
    def transfer(self) -> Transfer:
        from nova.ledger.transfer import Transfer

        return Transfer(self.store)

    @cached_property
    def reports(self) -> Reports:
        from nova.ledger.reports import Reports

        return Reports(self.store)

    @cached_property
    def runs(self) -> Runs:
        from nova.ledger.runs import Runs

        return Runs(self.store)

    @cached_property
    def conduct(self) -> Conduct:
        from nova.ledger.conduct import Conduct

        return Conduct(self.store)

    @cached_property
    def budgets(self) -> Budgets:
        from nova.ledger.budgets import Budgets

        return Budgets(self.store)

    @cached_property
    def instances(self) -> Instances:
        from nova.ledger.instances import Instances

        return Instances(self.store)

    @cached_property
    def state(self) -> State:
        from nova.ledger.state import State

        return State(self.store)

    @cached_property
    def outbox(self) -> Outbox:
        from nova.ledger.outbox import Outbox

        return Outbox(self.store)

    @cached_property
    def suppressions(self) -> Suppressions:
        from nova.ledger.suppressions import Suppressions

        return Suppressions(self.store)

    @cached_property
    def once(self) -> Once:
        from nova.ledger.once import Once

        return Once(self.store)

    @cached_property
    def turns(self) -> Turns:
        from nova.ledger.turns import Turns

        return Turns(self.store)

    @cached_property
    def platform_calls(self) -> PlatformCalls:
        from nova.ledger.platform_calls import PlatformCalls

        return PlatformCalls(self.store)

    @cached_property
    def claims(self) -> Claims:
        from nova.ledger.claims import Claims

        return Claims(self.store)

    @cached_property
    def cursors(self) -> Cursors:
        from nova.ledger.cursors import Cursors

        return Cursors(self.store)

    @cached_property
    def decisions(self) -> Decisions:
        from nova.ledger.decisions import Decisions

        return Decisions(self.store)

    @cached_property
    def audit(self) -> Audit:
        from nova.ledger.audit import Audit

        return Audit(self.store)

    @cached_property
    def links(self) -> Links:
        from nova.ledger.links import Links

        return Links(self.store)

    @cached_property
    def deliveries(self) -> Deliveries:
        from nova.ledger.deliveries import Deliveries

        return Deliveries(self.store)

    @cached_property
    def deployments(self) -> Deployments:
        from nova.ledger.deployments import Deployments

        return Deployments(self.store)

    @cached_property
    def subscriptions(self) -> Subscriptions:
        from nova.ledger.subscriptions import Subscriptions

        return Subscriptions(self.store)

    @cached_property
    def touches(self) -> Touches:
        from nova.ledger.touches import Touches

        return Touches(self.store)

    @cached_property
    def subjects(self) -> Subjects:
        from nova.ledger.subjects import Subjects

        return Subjects(self.store)

    @cached_property
    def mappings(self) -> Mappings:
        from nova.ledger.mappings import Mappings

        return Mappings(self.store)

    @cached_property
    def credits(self) -> Credits:
        from nova.ledger.credits import Credits

        return Credits(self.store)
