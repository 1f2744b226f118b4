"""What the services over the fleet are given: the parts of one NOVA_HOME, however they were wired."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from nova.clock import Clock
    from nova.config import Settings
    from nova.fleet.fleet import Fleet
    from nova.ledger.ledger import Ledger


class Parts(Protocol):
    @property
    def settings(self) -> Settings: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def fleet(self) -> Fleet: ...
    @property
    def ledger(self) -> Ledger: ...
