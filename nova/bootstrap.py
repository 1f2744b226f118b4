"""Wires settings, clock, fleet, ledger and platforms into one `Nova`. Nothing is created before it is used."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from nova.clock import Clock, SystemClock
from nova.errors import NovaError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nova.autonomous.policy import Policy
    from nova.config import Settings
    from nova.fleet.documents import FleetSnapshot
    from nova.fleet.fleet import Fleet
    from nova.ledger.ledger import Ledger
    from platforms.alerts_integration import Alerts
    from platforms.clients import Platforms
    from platforms.exchange import Exchange


class Nova:
    """The parts of one NOVA_HOME. `grouped` opens the ledger for a long-lived process with many writers.

    `manages`: that process is a manager.
    """

    def __init__(self, settings: Settings, clock: Clock, *, grouped: bool = False, manages: bool = True) -> None:
        self.settings = settings
        self.clock = clock
        self._grouped = grouped
        self._manages = manages

    @cached_property
    def fleet(self) -> Fleet:
        from nova.config import ensure_home
        from nova.fleet.fleet import Fleet

        ensure_home(self.settings)
        return Fleet(self.settings.fleet_path, self.clock, self.settings.nova_currency)

    @cached_property
    def ledger(self) -> Ledger:
        from nova.config import ensure_home
        from nova.ledger.ledger import Ledger

        ensure_home(self.settings)
        return Ledger.open(
            self.settings.database_url,
            currency=self.settings.nova_currency,
            zone=self.settings.tz,
            clock=self.clock,
            grouped=self._grouped,
            manages=self._manages,
        )

    @cached_property
    def alerts(self) -> Alerts:
        from platforms.alerts_integration import Alerts

        return Alerts(self.settings.nova_alert_urls, self.clock)

    @cached_property
    def exchange(self) -> Exchange:
        from platforms.exchange import Exchange

        return Exchange(self.settings, self.clock.now, self._suppressed)

    @cached_property
    def platforms(self) -> Platforms:
        """The clients for what is no run: a person's command, or a chore."""
        return self.exchange.platforms()

    def _suppressed(self, emails: Sequence[str]) -> Mapping[str, str]:
        return self.ledger.suppressions.addresses(emails)

    def policy(self, snapshot: FleetSnapshot | None = None) -> Policy:
        """As it stands: the settings' initial values and what the operator has set since."""
        from nova.autonomous.policy import Policy

        declared = snapshot or self.fleet.snapshot()
        return Policy.from_overrides(Policy.from_settings(self.settings), declared.policy, declared.policy_version)

    def note_platform_calls(self) -> None:
        """Adds what was counted of the platforms to the ledger. What cannot be written waits for the next time."""
        counted = self.exchange.health.take() if "exchange" in self.__dict__ else []
        if counted:
            try:
                self.ledger.platform_calls.add(counted)
            except BaseException:
                self.exchange.health.put_back(counted)
                raise

    def close(self) -> None:
        """Closes what was opened; alerts that wait are sent first."""
        if "alerts" in self.__dict__:
            self.alerts.close()
        if "exchange" in self.__dict__:
            self.exchange.close()
            with suppress(NovaError, OSError):  # a command has done its work by now
                self.note_platform_calls()
        if "ledger" in self.__dict__:
            self.ledger.close()


def build(settings: Settings, clock: Clock | None = None, *, grouped: bool = False, manages: bool = True) -> Nova:
    return Nova(settings, clock or SystemClock(), grouped=grouped, manages=manages)
