"""From what is declared to what should run: pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from nova.fleet.documents import Deployment
from nova.ledger.limits import Limit
from workers.hosts.base import InstanceId, Seen, Spec
from workers.instance import Intent


def wanted(
    deployments: Iterable[Deployment],
    states: Mapping[InstanceId, Seen],
    limits: Callable[[Deployment], tuple[Limit, ...]],
    eager: Collection[str] = (),
) -> dict[InstanceId, Spec]:
    """The instances of the active deployments, and of those that were scaled down the ones still there, asked to end.

    A deployment that is paused, cooling down or parked wants none: what runs ends by itself. `eager` need not wait for
    their next time: their cooldown was the wait.
    """
    want = {}
    for deployment in deployments:
        if deployment.state != "active":
            continue
        allowed = limits(deployment)
        for index in range(1, deployment.replicas + 1):
            spec = _spec(deployment, index, allowed, Intent.RUN, deployment.name in eager)
            want[spec.instance] = spec
    by_name = {deployment.name: deployment for deployment in deployments}
    for instance, seen in states.items():
        surplus = by_name.get(seen.worker)
        if surplus is not None and surplus.state == "active" and instance not in want:
            index = int(instance.rpartition("#")[2])
            want[instance] = _spec(surplus, index, limits(surplus), Intent.END, False)
    return want


def doomed(deployments: Mapping[str, Deployment], states: Mapping[InstanceId, Seen]) -> list[InstanceId]:
    """The instances of what was killed or retired: their runs end now."""
    return [
        instance
        for instance, seen in states.items()
        if (deployment := deployments.get(seen.worker)) is None or deployment.state == "killed"
    ]


def _spec(deployment: Deployment, index: int, limits: tuple[Limit, ...], intent: Intent, due_now: bool) -> Spec:
    return Spec(
        worker=deployment.name,
        department=deployment.department,
        agent=deployment.agent,
        runtime=deployment.runtime,
        index=index,
        replicas=deployment.replicas,
        every_s=deployment.every_s,
        timeout_s=deployment.timeout_s,
        config=deployment.config,
        limits=limits,
        generation=deployment.generation,
        intent=intent,
        due_now=due_now,
    )
