"""What a manager has carried out of the fleet, so that who changed it can wait for proof instead of guessing a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nova.fleet.file import Token
from workers.hosts.base import InstanceId
from workers.lock import ManagerInfo, ManagerLock, is_held, managers, replace_text, run_lock


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


def outstanding(run_dir: Path, worker: str, version: int, but: str = "") -> Iterator[str]:
    """Why the living managers (without `but`) may still run something of `worker` that the fleet at `version` does not
    declare for them. Nothing is said only where each of them has carried that version out, and nobody runs it in a
    terminal.
    """
    for info, alive in managers(run_dir):
        if not alive or info.id == but:
            continue
        said = _read(run_dir, info)
        if said is None or said.version < version:
            yield f"the manager with process id {info.pid} has not carried it out"
        else:
            yield from (f"{one} is still there" for one in said.leaving if one.rpartition("#")[0] == worker)
    if is_held(run_lock(run_dir, worker).path):
        yield "it is being run in a terminal"


def _read(run_dir: Path, info: ManagerInfo) -> Applied | None:
    try:
        body: Any = json.loads(ManagerLock(run_dir, info.department).applied_path.read_text())
        said = Applied(str(body["manager"]), int(body["version"]), tuple(map(str, body["leaving"])))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return said if said.manager == info.id else None
