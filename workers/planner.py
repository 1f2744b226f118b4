"""What this manager's host is to run now: of the fleet, the deployments whose lease this manager holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nova.fleet.documents import Deployment, FleetSnapshot
from workers.breakers import Probe
from workers.hosts.base import InstanceId, Seen
from workers.snapshot import LimitsOf, Wanted, declared, doomed, probing, surplus

States = Mapping[InstanceId, Seen]


@dataclass(frozen=True, slots=True)
class Plan:
    """`ending` are to end now. `leaving` are all that are there and not wanted."""

    want: Wanted
    ending: tuple[InstanceId, ...]
    leaving: tuple[InstanceId, ...]


class Planner:
    """Without a department it asks for every deployment. What it worked out is kept while it holds.

    `eager` are those whose next run need not wait for its time; whom it told the host of, it takes out. `probes` are
    the runs by which breakers that are open may show that they can be closed.
    """

    def __init__(self, department: str, limits_of: LimitsOf, eager: set[str], probes: Mapping[str, Probe]) -> None:
        self._department = department
        self._limits_of = limits_of
        self._eager = eager
        self._probes = probes
        self._held: frozenset[str] = frozenset()
        self._snapshot: FleetSnapshot | None = None
        self._declared: Wanted = {}
        self._complete = False
        self._ending: set[InstanceId] = set()  # what was doomed once is not wanted again before it is gone

    def wanted(self, snapshot: FleetSnapshot) -> frozenset[str]:
        """The deployments whose lease it should have: also of those at rest, whose pauses it ends in time."""
        department = self._department
        return frozenset(
            one.name
            for one in snapshot.deployments.values()
            if one.state != "killed" and department in ("", one.department)
        )

    def mine(self, one: Deployment) -> bool:
        return one.name in self._held and self._department in ("", one.department)

    def plan(self, snapshot: FleetSnapshot, states: States, held: frozenset[str]) -> Plan:
        if snapshot is not self._snapshot or held is not self._held or not self._complete:
            self._held = held
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
        ours = [one for one in snapshot.deployments.values() if self.mine(one)]
        eager = {one.name for one in ours if one.name in self._eager and one.state == "active"}
        want = declared(ours, self._limits_of, eager) | probing(ours, self._limits_of, self._probes)
        self._declared = {key: spec for key, spec in want.items() if key not in self._ending}
        self._eager -= eager
        self._complete = not (self._ending or eager)
        self._snapshot = snapshot
