"""What a manager has carried out of the fleet, so that who changed it can wait for proof instead of guessing a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nova.fleet.file import Token
from workers.hosts.base import InstanceId
from workers.lock import ManagerInfo, ManagerLock, foreground_runs, managers, replace_text


@dataclass(frozen=True, slots=True)
class Applied:
    """`version` is the fleet that `manager` made its instances match: the time of its file, which every change moves
    on. `leaving` are the instances still there that it no longer declares: killed, retired, or another manager's now.
    """

    manager: str
    version: int
    leaving: tuple[InstanceId, ...] = ()

    def write(self, path: Path) -> None:
        """Raises OSError."""
        replace_text(path, json.dumps(asdict(self)))


def version_of(token: Token) -> int:
    return 0 if token is None else token[1]


def outstanding(run_dir: Path, worker: str, version: int) -> Iterator[tuple[ManagerInfo, str]]:
    """Who may still run something of `worker` that the fleet at `version` does not declare, and why.

    Nobody is named only where each living manager has carried that version out, and no run of it in a terminal is left.
    """
    for info, alive in managers(run_dir):
        if not alive:
            continue
        said = _read(run_dir, info)
        if said is None or said.version < version:
            yield info, f"the manager with process id {info.pid} has not carried it out"
        else:
            yield from ((info, f"{one} is still there") for one in said.leaving if one.rpartition("#")[0] == worker)
    for info, alive in foreground_runs(run_dir, worker):
        if alive:
            yield info, f"its run in the terminal, process id {info.pid}, has not ended"


def _read(run_dir: Path, info: ManagerInfo) -> Applied | None:
    try:
        body: Any = json.loads(ManagerLock(run_dir, info.department).applied_path.read_text())
        said = Applied(str(body["manager"]), int(body["version"]), tuple(map(str, body["leaving"])))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return said if said.manager == info.id else None
