"""What the services of this room need of the program around them; `nova.bootstrap.Nova` is one."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nova.autonomous.gather import Gathered, Traits, gather
from nova.autonomous.policy import Policy, PolicyDefaults
from nova.clock import Clock
from nova.errors import ConfigInvalid, LockHeld, UsageProblem

if TYPE_CHECKING:
    from nova.fleet.documents import Deployment, FleetSnapshot
    from nova.fleet.fleet import Fleet
    from nova.ledger.ledger import Ledger

log = logging.getLogger(__name__)

OFF_THE_CLOCK = timedelta(hours=1)  # beyond it a given `now` is a replay


class AlertSink(Protocol):
    def send(self, event: str, title: str, body: str) -> object: ...


class OfficeSettings(PolicyDefaults, Protocol):
    @property
    def nova_home(self) -> Path: ...
    @property
    def run_dir(self) -> Path: ...
    @property
    def autonomous_enabled(self) -> bool: ...
    @property
    def stripe_api_key(self) -> object | None: ...
    @property
    def gumroad_access_token(self) -> object | None: ...


class Office(Protocol):
    @property
    def settings(self) -> OfficeSettings: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def fleet(self) -> Fleet: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def alerts(self) -> AlertSink | None: ...


def policy_of(nova: Office, snapshot: FleetSnapshot) -> Policy:
    """As it stands: the settings' initial values and what the operator has set since.

    Raises ConfigInvalid where the settings have changed since so that the two contradict each other.
    """
    initial = Policy.from_settings(nova.settings)
    try:
        return Policy.from_overrides(initial, snapshot.policy, snapshot.policy_version)
    except UsageProblem as problem:
        raise ConfigInvalid(
            f"the policy that was set does not fit the settings: {problem.message}",
            hint="mend it with `nova autonomous policy set KEY=VALUE`, or `nova autonomous policy reset`",
        ) from problem


def is_enabled(nova: Office, snapshot: FleetSnapshot) -> bool:
    """The operator's word counts; before there is one, the environment's."""
    return nova.settings.autonomous_enabled if snapshot.autonomous is None else snapshot.autonomous


def look(nova: Office, snapshot: FleetSnapshot, policy: Policy, now: datetime) -> Gathered:
    return gather(nova.ledger, snapshot, policy, now, synced_sources(nova.settings), _TraitsOfAgents(nova.settings))


def synced_sources(settings: OfficeSettings) -> frozenset[str]:
    """The platforms a sync is expected of: those with a key that nova can sync."""
    keys = {"stripe": settings.stripe_api_key, "gumroad": settings.gumroad_access_token}
    return frozenset(name for name, key in keys.items() if key)


class _TraitsOfAgents:
    """Asks agents' classes, once for each configuration. An agent that cannot be loaded neither grows nor is tuned."""

    def __init__(self, settings: OfficeSettings) -> None:
        self._home = settings.nova_home
        self._known: dict[tuple[str, str], Traits] = {}

    def __call__(self, one: Deployment) -> Traits:
        key = (one.agent, json.dumps(one.config, sort_keys=True, default=str))
        if key not in self._known:
            self._known[key] = self._load(one.agent, one.config)
        return self._known[key]

    def _load(self, agent: str, config: Mapping[str, Any]) -> Traits:
        from workers.agents.registry import resolver

        try:
            found, valid = resolver(self._home)(agent, config)
            return Traits(found.scalable, found.tunables_of(valid))
        except Exception as problem:  # noqa: BLE001 - importing it runs the operator's own code
            log.warning("agent_not_loaded", extra={"action": "agent_not_loaded", "agent": agent, "error": str(problem)})
            return Traits(scalable=False)


@contextmanager
def cycle_lock(nova: Office, wait_s: float = 0.0) -> Iterator[None]:
    """One at a time decides over a fleet. Raises LockHeld."""
    from filelock import FileLock, Timeout

    nova.settings.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(nova.settings.run_dir / "cycle.lock", mode=0o600)
    try:
        lock.acquire(timeout=wait_s)
    except Timeout:
        raise LockHeld("another cycle is deciding over this fleet", hint="try again when it has finished") from None
    try:
        yield
    finally:
        lock.release()
