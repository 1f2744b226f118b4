"""What this room needs of the program around it; `nova.bootstrap.Nova` is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from nova.revenue.office import Office

if TYPE_CHECKING:
    from nova.fleet.fleet import Fleet


class FleetOffice(Office, Protocol):
    @property
    def fleet(self) -> Fleet: ...
