"""Writes what is seen of instances and of the manager itself to the ledger: only what changed, and in groups."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nova.clock import Clock
from nova.ledger.instances import Observation
from workers.hosts.base import InstanceId, Report, Seen
from workers.worker_monitor import CpuRates

if TYPE_CHECKING:
    from nova.ledger.ledger import Ledger

STATES_S = 0.25  # at most so often while states change
SAMPLE_S = 2.0


class Observer:
    """Told of states as they change, and now and then of a sample, which has CPU and memory too. `now` is monotonic."""

    def __init__(self, ledger: Ledger, manager: str, clock: Clock) -> None:
        self._ledger = ledger
        self._manager = manager
        self._clock = clock
        self._rates = CpuRates()
        self._percent: dict[InstanceId, float] = {}
        self._written: dict[InstanceId, Seen] = {}
        self._sampled: dict[InstanceId, Seen] = {}
        self._last_states = self._last_sample = float("-inf")

    def sample_due(self, now: float) -> bool:
        return now - self._last_sample >= SAMPLE_S

    def states_due(self, now: float) -> bool:
        return now - self._last_states >= STATES_S

    def sampled(self, report: Report, now: float) -> None:
        """A report that carries usage."""
        self._last_sample = now
        self._percent = self._rates.percent(report.states.values(), now)
        self._sampled = dict(report.states)
        self._write(report)

    def states(self, report: Report, now: float) -> None:
        """A report without usage: what was sampled last still stands. Of what only made another run meanwhile the next
        sample tells.
        """
        self._last_states = now
        self._write(Report({key: self._with_usage(key, seen) for key, seen in report.states.items()}))

    def forget(self) -> None:
        """Nothing runs here any more."""
        self._written.clear()
        self._ledger.instances.forget(manager=self._manager)

    def _with_usage(self, key: InstanceId, seen: Seen) -> Seen:
        written = self._written.get(key)
        if written is not None and written.state is seen.state and written.run is seen.run is None:
            return written
        before = self._sampled.get(seen.instance)
        if before is None or before is seen or before.run != seen.run:
            return seen
        return replace(seen, cpu_s=before.cpu_s, memory_bytes=before.memory_bytes, threads=before.threads)

    def _write(self, report: Report) -> None:
        gone = self._written.keys() - report.states.keys()
        changed = [
            seen
            for key, seen in report.states.items()
            if (known := self._written.get(key)) is not seen and known != seen
        ]
        if gone:
            self._ledger.instances.forget(instances=list(gone), manager=self._manager)
        if changed:
            self._ledger.instances.observe([self._observation(seen) for seen in changed])
        self._written = dict(report.states)

    def _observation(self, seen: Seen) -> Observation:
        return Observation(
            instance=seen.instance,
            worker=seen.worker,
            manager=self._manager,
            state=seen.state.value,
            updated_at=self._clock.now(),
            run=seen.run,
            run_started_at=seen.run_started_at,
            heartbeat_at=seen.heartbeat_at,
            cpu_percent=self._percent.get(seen.instance, 0.0),
            memory_bytes=seen.memory_bytes,
            threads=seen.threads,
        )
