"""What a manager does about threads that never end: it cannot kill them, but it can start afresh. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

RESTART_EVERY_S = 600.0  # at most; until then who hangs is parked, so that no storm of restarts begins


class Cure(Enum):
    NONE = "none"
    RESTART = "restart"
    PARK = "park"


def cure(hung: int, most: int, since_restart_s: float | None) -> Cure:
    """`since_restart_s`: when the manager last restarted itself for this; None where it never did."""
    if hung <= most:
        return Cure.NONE
    if since_restart_s is None or since_restart_s >= RESTART_EVERY_S:
        return Cure.RESTART
    return Cure.PARK


def told(instances: Sequence[str], most: int) -> str:
    shown = ", ".join(sorted(instances)[:10]) + (" …" if len(instances) > 10 else "")
    return f"{len(instances)} runs hang in threads that cannot be ended, more than WORKER_MAX_HUNG={most}: {shown}"
