"""What the services of this room need of the program around them; `nova.bootstrap.Nova` is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from nova.clock import Clock

if TYPE_CHECKING:
    from nova.config import Settings
    from nova.fleet.fleet import Fleet
    from nova.ledger.ledger import Ledger
    from platforms.exchange import Exchange


class Office(Protocol):
    @property
    def settings(self) -> Settings: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def fleet(self) -> Fleet: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def exchange(self) -> Exchange: ...
