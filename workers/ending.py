"""Waiting for the proof that nothing of a deployment runs any more, wherever a manager had it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from nova.errors import NovaError
from workers.agents.registry import COMMANDS
from workers.applied import outstanding
from workers.lock import ManagerInfo

if TYPE_CHECKING:
    from nova.fleet.documents import Deployment
    from workers.parts import Parts

_LOOK_S = 0.02
_WAKING_S = 2.0  # in which a manager that wakes and finds itself fenced has begun anew


def await_end(nova: Parts, one: Deployment, version: int, timeout_s: float) -> None:
    """Until nothing runs of what the fleet at `version` does not declare. Raises NovaError when that is not confirmed:
    soon where only threads may be left, of a manager that gives no sign of life.
    """
    began = time.monotonic()
    while left := list(outstanding(nova.settings.run_dir, one.name, version)):
        lost = _lost(nova, one.name)
        frozen = [info for info, _ in left if lost.get(info.id) and _has_threads(one)]
        left = [(info, why) for info, why in left if info.id not in lost]
        if not left and not frozen:
            return
        waited_s = time.monotonic() - began
        if left and waited_s >= timeout_s:
            raise NovaError(
                f"{one.name} is declared killed, but not confirmed dead: {'; '.join(why for _, why in left)}",
                hint="a thread cannot be killed; `nova workers restart` ends it, `nova workers logs` shows it",
            )
        if not left and waited_s >= min(_WAKING_S, timeout_s):
            raise _frozen(one.name, frozen[0])
        time.sleep(_LOOK_S)


def _frozen(name: str, info: ManagerInfo) -> NovaError:
    return NovaError(
        f"{name} is declared killed, its processes are ended, and it can book nothing any more; but a thread of it may "
        f"still be in the manager with process id {info.pid}, which gives no sign of life and was taken over",
        hint=f"`kill -9 {info.pid}` on {info.host or 'its machine'} ends it; another one has taken its work over",
    )


def _lost(nova: Parts, name: str) -> dict[str, bool]:
    try:
        return nova.ledger.leases.lost(name)
    except NovaError:  # a kill needs no ledger
        return {}


def _has_threads(one: Deployment) -> bool:
    return one.runtime == "thread" and one.agent not in COMMANDS
