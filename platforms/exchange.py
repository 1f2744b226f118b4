"""What all that a process does with the platforms shares: their limits, their health, and the open connections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from platforms.clients import Platforms
from platforms.connections import Connections
from platforms.hands import Alone
from platforms.health import Health
from platforms.pace import LIMITS, Paces
from platforms.registry import PLATFORMS, base_of

if TYPE_CHECKING:
    from nova.config import Settings
    from platforms.hands import Hands


class Exchange:
    """One of a process. `alone` are the hands of what is no run: a person's command, or a manager's chore."""

    def __init__(
        self,
        settings: Settings,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        suppressed: Callable[[Sequence[str]], Mapping[str, str]] = lambda addresses: {},
    ) -> None:
        from nova.config import secret_values
        from nova.secrecy import Scrubber

        self._settings = settings
        self.paces = Paces(limits_of(settings))
        self.health = Health(now, Scrubber(secret_values(settings)).text)
        self.connections = Connections()
        self.alone = Alone(self.paces, seen=self.health.seen, suppressed=suppressed)

    def platforms(self, hands: Hands | None = None) -> Platforms:
        """The clients, for one run or command."""
        return Platforms(self._settings, hands or self.alone, self.connections)

    def close(self) -> None:
        self.connections.close()


def limits_of(settings: Settings) -> dict[str, Sequence[tuple[int, int]]]:
    """Of each lane. A platform at an address of this machine is an emulator, whose own 429s are limit enough."""
    local = {name for name, known in PLATFORMS.items() if is_local(base_of(settings, known))}
    return {lane: limits for lane, limits in LIMITS.items() if lane.partition("/")[0] not in local}


def is_local(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
