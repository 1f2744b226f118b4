"""From what is declared to what should run: pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from nova.fleet.documents import Deployment
from nova.ledger.limits import Limit
from workers.breakers import Probe
from workers.hosts.base import InstanceId, Seen, Spec
from workers.instance import Intent

LimitsOf = Callable[[Deployment], tuple[Limit, ...]]
Wanted = dict[InstanceId, Spec]


def declared(deployments: Iterable[Deployment], limits: LimitsOf, eager: Collection[str] = ()) -> Wanted:
    """The instances of the active deployments. One that is paused, cooling down or parked has none: what runs ends by
    itself. `eager` need not wait for their next time.
    """
    return {
        f"{one.name}#{index}": Spec.of(one, index, limits(one), due_now=one.name in eager)
        for one in deployments
        if one.state == "active"
        for index in range(1, one.replicas + 1)
    }


def probing(deployments: Iterable[Deployment], limits: LimitsOf, probes: Mapping[str, Probe]) -> Wanted:
    """One instance of those whose breaker is half open: it runs once, and at once."""
    found = {}
    for one in deployments:
        probe = probes.get(one.name)
        if probe is not None and one.breaker is not None and one.breaker.probing:
            index = int(probe.instance.rpartition("#")[2])
            found[probe.instance] = Spec.of(one, index, limits(one), due_now=True, probe=probe.key)
    return found


def surplus(
    declared: Wanted,
    deployments: Mapping[str, Deployment],
    states: Mapping[InstanceId, Seen],
    limits: LimitsOf,
    ending: Collection[InstanceId] = (),
) -> Wanted:
    """Of the active deployments that were scaled down, the instances still there: asked to end."""
    found = {}
    for instance, seen in states.items():
        one = deployments.get(seen.worker) if instance not in declared and instance not in ending else None
        if one is not None and one.state == "active":
            found[instance] = Spec.of(one, int(instance.rpartition("#")[2]), limits(one), intent=Intent.END)
    return found


def doomed(
    deployments: Mapping[str, Deployment], states: Mapping[InstanceId, Seen], before: Wanted
) -> Iterator[InstanceId]:
    """The instances of what was killed or retired, also where the name was declared anew since it was wanted before:
    their runs end now.
    """
    for instance, seen in states.items():
        one = deployments.get(seen.worker)
        known = before.get(instance)
        if one is None or one.state == "killed" or (known is not None and known.born != one.created_at):
            yield instance
