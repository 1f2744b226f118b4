"""What this room needs of the program around it; `nova.bootstrap.Nova` is one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from nova.errors import UsageProblem
from nova.revenue.office import Office

if TYPE_CHECKING:
    from nova.fleet.fleet import Fleet


class FleetOffice(Office, Protocol):
    @property
    def fleet(self) -> Fleet: ...


_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def instant_of(office: Office, now: datetime | None, *others: datetime | None) -> datetime:
    """`now`, else the clock's. Raises UsageProblem where it or another instant lies beyond what the ledger holds."""
    for at in (now, *others):
        if at is not None and not _FIRST <= at < _LAST:
            raise UsageProblem(f"{at:%Y-%m-%d} lies beyond what the ledger holds", hint="that is 2000 to 2199")
    return now or office.clock.now()
