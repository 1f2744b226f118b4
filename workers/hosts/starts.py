"""When each instance began last, and of which the one run that was wanted is made. Not thread-safe: its host is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from nova.ledger.runs import Runs
from workers.hosts.base import InstanceId, Spec


class Starts:
    def __init__(self, runs: Runs, recorded: Mapping[InstanceId, datetime]) -> None:
        self._runs = runs
        self._last = dict(recorded)
        self._killed: dict[InstanceId, datetime] = {}  # their last starts: should they come back, they are new
        self._made: dict[InstanceId, datetime | None] = {}  # whose one run was made, and since when it was wanted

    def remember(self, recorded: Mapping[str, Mapping[InstanceId, datetime]]) -> None:
        """By worker, of those that were not this manager's until now."""
        for instance in [one for one in self._last if one.rpartition("#")[0] in recorded]:
            del self._last[instance]
        for found in recorded.values():
            self._last |= {one: at for one, at in found.items() if self._killed.get(one) != at}

    def began(self, instance: InstanceId, at: datetime) -> None:
        self._last[instance] = at

    def killed(self, instance: InstanceId) -> None:
        if (last := self._last.pop(instance, None)) is not None:
            self._killed[instance] = last

    def last(self, spec: Spec) -> datetime | None:
        """A single run that is wanted anew waits for none before it."""
        last = self._last.get(spec.instance)
        fresh = spec.schedule.once and last is not None and spec.since is not None and last < spec.since
        return None if fresh else last

    def made(self, spec: Spec) -> None:
        self._made[spec.instance] = spec.since

    def is_made(self, spec: Spec) -> bool:
        return spec.schedule.once and spec.instance in self._made and self._made[spec.instance] == spec.since

    def look_up(self, spec: Spec) -> None:
        """Of one that is new here: whether it has made its one run, before this manager was. Raises NovaError."""
        unknown = spec.schedule.once and spec.instance not in self._made
        if unknown and spec.since is not None and self._runs.is_over(spec.instance, spec.since):
            self.made(spec)
