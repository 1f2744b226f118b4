"""What every run of a manager shares."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workers.base_worker import BaseWorker
from workers.hosts.leash_client import Leash

if TYPE_CHECKING:
    from nova.clock import Clock
    from nova.ledger.ledger import Ledger
    from platforms.exchange import Exchange
    from workers.hosts.nursery_client import Nursery
    from workers.links import TrackedLinks
    from workers.logfile import WorkerLogs
    from workers.normals import Normals


@dataclass(frozen=True, slots=True)
class Services:
    """`agents` finds the class of an agent and its validated configuration.

    `home` is where commands run that say nothing else. `variables` are the environment with what `.env` files add.
    `was_silent` tells whether guardians of processes may have heard nothing of this manager since then (monotonic).
    """

    manager: str
    ledger: Ledger
    clock: Clock
    logs: WorkerLogs
    leash: Leash
    home: str
    agents: Callable[[str, Mapping[str, Any]], tuple[type[BaseWorker], Any]]
    exchange: Exchange | None = None
    nursery: Nursery | None = None
    variables: Callable[[], Mapping[str, str]] = lambda: os.environ
    was_silent: Callable[[float], bool] = lambda since: False
    normals: Normals | None = None
    links: TrackedLinks | None = None
