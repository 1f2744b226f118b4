"""What this manager's host is to run now: of the fleet, the deployments that are this manager's and nobody else's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nova.fleet.documents import Deployment, FleetSnapshot
from workers.applied import outstanding, version_of
from workers.hosts.base import InstanceId, Seen
from workers.lock import DepartmentLeases, managers
from workers.snapshot import LimitsOf, Wanted, declared, doomed, surplus

States = Mapping[InstanceId, Seen]


@dataclass(frozen=True, slots=True)
class Plan:
    """`ending` are to end now. `leaving` are all that are there and not wanted."""

    want: Wanted
    ending: tuple[InstanceId, ...]
    leaving: tuple[InstanceId, ...]


class Planner:
    """Without a department it takes every one whose lease is free. What it worked out is kept while it holds.

    `eager` are those whose next run need not wait for its time; whom it told the host of, it takes out.
    """

    def __init__(
        self,
        manager: str,
        run_dir: Path,
        department: str,
        leases: DepartmentLeases,
        limits_of: LimitsOf,
        eager: set[str],
    ) -> None:
        self._manager = manager
        self._run_dir = run_dir
        self._department = department
        self._leases = leases
        self._limits_of = limits_of
        self._eager = eager
        self._leased: dict[str, bool] = {}
        self._snapshot: FleetSnapshot | None = None
        self._declared: Wanted = {}
        self._complete = False
        self._taken: set[str] = set()
        self._ending: set[InstanceId] = set()  # what was doomed once is not wanted again before it is gone

    def mine(self, one: Deployment) -> bool:
        if self._department:
            return one.department == self._department
        leased = self._leased.get(one.department)
        if leased is None:
            leased = self._leased[one.department] = self._leases.hold(one.department)
        return leased

    def look_again(self) -> None:
        """Asks for the leases it did not get; called now and then."""
        for department in [name for name, leased in self._leased.items() if not leased]:
            del self._leased[department]
            self._complete = False

    def plan(self, snapshot: FleetSnapshot, states: States) -> Plan:
        if snapshot is not self._snapshot or not self._complete:
            self._plan_anew(snapshot, states)
        if states.keys() <= self._declared.keys():
            return Plan(self._declared, (), ())
        mine = {name: one for name, one in snapshot.deployments.items() if self.mine(one)}
        extra = surplus(self._declared, mine, states, self._limits_of, self._ending)
        want = {**self._declared, **extra} if extra else self._declared
        return Plan(want, tuple(self._ending), tuple(sorted(states.keys() - want.keys())))

    def _plan_anew(self, snapshot: FleetSnapshot, states: States) -> None:
        self._ending |= set(doomed(snapshot.deployments, states, self._declared))
        self._ending &= states.keys()
        mine = [one for one in snapshot.deployments.values() if self.mine(one)]
        held_back = self._held_back(mine, snapshot)
        ours = [one for one in mine if one.name not in held_back]
        self._taken = {one.name for one in ours}
        eager = {one.name for one in ours if one.name in self._eager and one.state == "active"}
        want = declared(ours, self._limits_of, eager)
        self._declared = {key: spec for key, spec in want.items() if key not in self._ending}
        self._eager -= eager
        self._complete = not (held_back or self._ending or eager)
        self._snapshot = snapshot

    def _held_back(self, mine: list[Deployment], snapshot: FleetSnapshot) -> set[str]:
        """Those that another manager may still run because they were its own before: nothing runs twice at once."""
        changed = [one.name for one in mine if one.generation and one.name not in self._taken]
        if not changed or not any(alive and info.id != self._manager for info, alive in managers(self._run_dir)):
            return set()
        version = version_of(snapshot.version)
        return {name for name in changed if any(outstanding(self._run_dir, name, version, but=self._manager))}
