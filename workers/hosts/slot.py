"""One instance in its host: what is wanted of it, what it is at, and how it is seen from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import inf

from workers.hosts.base import InstanceId, Seen, Spec
from workers.hosts.cell import Cell
from workers.hosts.outcome import Outcome
from workers.hosts.run import Run
from workers.instance import Instance
from workers.worker_monitor import Used

_KILLED = Outcome("interrupted", error="killed")


@dataclass(slots=True)
class Slot:
    spec: Spec
    instance: Instance
    cell: Cell = field(default_factory=Cell)
    run: Run | None = None
    killed: bool = False
    leaving: bool = False  # its process is being let go
    wake_at: float = inf
    heartbeat_at: datetime | None = None
    cpu_s: float = 0.0
    probe: str | None = None  # the last that it ran for
    seen: Seen | None = None  # as it was reported last; one that waits does not change

    def verdict(self, more: str = "") -> Outcome:
        """How its run ends that is being ended."""
        if self.killed:
            return _KILLED
        run = self.run
        if run is not None and run.overspent is not None:
            return Outcome("interrupted", error=run.overspent.reason + more)
        if run is not None and run.refused is not None:
            return Outcome("interrupted", error=run.refused.message + more)
        if self.instance.silent:
            silence = f"gave no sign of life for {self.spec.heartbeat_s:g} s"
            return Outcome("failed", crash=True, error=silence + more)
        return Outcome("failed", crash=True, error=f"timed out after {self.instance.timeout_s:g} s{more}")

    def seen_by(self, key: InstanceId, usage: Mapping[str, Used]) -> Seen:
        """One that waits does not change, and is seen as it was."""
        last, now = self.seen, (self.instance.state, self.instance.epoch)
        if self.run is not None or key in usage or last is None or (last.state, last.epoch) != now:
            last = self.seen = _seen(key, self, usage)
        return last


def _seen(key: InstanceId, slot: Slot, usage: Mapping[str, Used]) -> Seen:
    run = slot.run
    used = usage.get(run.id if run is not None else key)
    return Seen(
        instance=key,
        worker=slot.spec.worker,
        state=slot.instance.state,
        epoch=slot.instance.epoch,
        run=run.id if run else None,
        run_started_at=run.started_at if run else None,
        heartbeat_at=run.heartbeat_at if run else slot.heartbeat_at,
        cpu_s=slot.cpu_s + (used.cpu_s if used and run else 0.0),
        memory_bytes=used.memory_bytes if used else None,
        threads=used.threads if used else (1 if run else 0),
    )
