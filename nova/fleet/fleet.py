"""The fleet: what operators and executed decisions declare, kept in TinyDB. Every change is absolute and idempotent."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from nova.clock import Clock
from nova.errors import NotFound, Refused, RevisionConflict, UsageProblem
from nova.fleet.documents import (
    PERS,
    Declaration,
    Deployment,
    FleetSnapshot,
    PauseReason,
    ScopeBudget,
    State,
    Step,
    valid_name,
)
from nova.fleet.storage import AtomicJsonStorage, Documents, FleetDB
from nova.money import Money

Token = tuple[int, int, int] | None
Change = Callable[[Deployment], Deployment]


@dataclass(frozen=True, slots=True)
class DeployResult:
    """`changes` maps what was changed to its values before and after; empty where the declaration stood already."""

    deployment: Deployment
    created: bool
    changes: Mapping[str, tuple[Any, Any]]


class Fleet:
    """Many processes may hold one; each change is a read, a decision and a write under one lock."""

    def __init__(self, path: Path, clock: Clock, currency: str) -> None:
        self.path = path
        self.currency = currency
        self._clock = clock
        self._storage = AtomicJsonStorage(path)
        self._seen: tuple[Token, FleetSnapshot] | None = None

    # Reading

    def token(self) -> Token:
        """Changes whenever the file does; costs one look at it."""
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return None
        return (stat.st_ino, stat.st_mtime_ns, stat.st_size)

    def snapshot(self) -> FleetSnapshot:
        """All that is declared. Raises NovaError where the file is damaged."""
        token = self.token()
        if self._seen is None or self._seen[0] != token:
            self._seen = (token, self._read())
        return self._seen[1]

    def get(self, name: str) -> Deployment:
        """Raises NotFound."""
        found = self.snapshot().deployments.get(name)
        if found is None:
            raise _unknown(name, self.snapshot().deployments)
        return found

    def _read(self) -> FleetSnapshot:
        tables = self._storage.read() or {}
        deployments = (Deployment.from_document(one, self.currency) for one in tables.get("deployments", {}).values())
        budgets = (
            ScopeBudget(one["scope"], one["per"], Money.parse(one["limit"], self.currency))
            for one in tables.get("budgets", {}).values()
        )
        settings = tables.get("settings", {})
        policy = settings.get("policy", {})
        return FleetSnapshot(
            deployments={one.name: one for one in sorted(deployments, key=lambda one: one.name)},
            budgets=tuple(budgets),
            policy=policy.get("values", {}),
            policy_version=policy.get("version", 0),
            autonomous=settings.get("autonomous", {}).get("enabled"),
            currency=self.currency,
        )

    # Deployments

    def deploy(self, asked: Declaration, *, revive: bool = False) -> DeployResult:
        """The same declaration changes nothing. Raises Refused for a killed name without `revive`."""
        asked.checked()
        with self._changing() as db:
            documents = db.documents("deployments")
            found = documents.find(asked.name)
            now = self._clock.now()
            if found is None:
                fresh = _fresh(asked, now)
                documents.put(fresh.name, fresh.to_document())
                return DeployResult(fresh, created=True, changes={})
            before = Deployment.from_document(found, self.currency)
            if before.state == "killed" and not revive:
                raise Refused(
                    f"{asked.name} was killed", hint="add --revive to start it anew; its old evidence is then forgotten"
                )
            after = _declared(before, asked)
            if before.state == "killed":
                after = replace(
                    _active(after, now), evidence_since=now, last_step=None, tried={}, generation=before.generation + 1
                )
            changes = {
                key: (getattr(before, key), getattr(after, key))
                for key in _SHOWN
                if getattr(before, key) != getattr(after, key)
            }
            if after != before:
                after = replace(after, revision=before.revision + 1)
                documents.put(after.name, after.to_document())
            return DeployResult(after, created=False, changes=changes)

    def retire(self, name: str) -> Deployment:
        """Removes it from the fleet; its history stays in the ledger. Raises NotFound."""
        with self._changing() as db:
            documents = db.documents("deployments")
            gone = self._get(documents, name)
            documents.drop([name])
            return gone

    def scale(
        self, name: str, replicas: int, *, step: Step | None = None, expected_revision: int | None = None
    ) -> Deployment:
        """`step` is what the engine keeps to judge it later. Raises Refused above the most replicas it may have."""

        def scaled(one: Deployment) -> Deployment:
            if one.state == "killed":
                raise Refused(f"{name} was killed", hint="deploy it again with --revive")
            if replicas < 1:
                raise UsageProblem(
                    f"{name} cannot have {replicas} replicas", hint=f"to run none: nova workers pause {name}"
                )
            if replicas > one.max_replicas:
                raise Refused(
                    f"{name} may have at most {one.max_replicas} replicas, not {replicas}",
                    hint="deploy it again with a higher --max-replicas",
                )
            return replace(one, replicas=replicas, last_step=step or one.last_step)

        return self.change(name, scaled, expected_revision)

    def pause(
        self, name: str, reason: PauseReason, until: datetime | None = None, *, expected_revision: int | None = None
    ) -> Deployment:
        """No new run begins. A person's pause outlasts every other; a killed or parked deployment stays as it is."""

        def paused(one: Deployment) -> Deployment:
            if one.state == "killed" or (one.state == "parked" and reason != "operator"):
                return one
            if one.state == "paused" and reason != "operator":
                return one
            return self._in_state(one, "paused", reason=reason, until=until)

        return self.change(name, paused, expected_revision)

    def resume(
        self,
        name: str,
        at: datetime | None = None,
        *,
        override: bool = False,
        replicas: int | None = None,
        step: Step | None = None,
    ) -> Deployment:
        """Makes it active. `override`, a person's word, lets its evidence count from `at` on; a probe gives `replicas`."""

        def resumed(one: Deployment) -> Deployment:
            if one.state == "killed":
                raise Refused(f"{name} was killed", hint="deploy it again with --revive")
            since = (at or self._clock.now()) if override and one.state != "active" else one.evidence_since
            after = replace(one if one.state == "active" else _active(one, self._clock.now()), evidence_since=since)
            return replace(after, replicas=replicas or one.replicas, last_step=step or one.last_step)

        return self.change(name, resumed)

    def kill(self, name: str, *, expected_revision: int | None = None) -> Deployment:
        """Its runs end now, and nothing but `deploy` with `revive` starts it again."""
        return self.change(name, lambda one: self._in_state(one, "killed"), expected_revision)

    def cool_down(self, name: str, until: datetime) -> Deployment:
        """After too many crashes. Does nothing to what is not active."""
        return self.change(
            name, lambda one: self._in_state(one, "cooling_down", until=until) if one.state == "active" else one
        )

    def park(self, name: str) -> Deployment:
        """Out of service until a person resumes it."""
        return self.change(
            name, lambda one: self._in_state(one, "parked") if one.state in ("active", "cooling_down") else one
        )

    def activate(self, name: str) -> Deployment:
        """Ends a cooldown; does nothing to any other state."""
        return self.change(name, lambda one: _active(one, self._clock.now()) if one.state == "cooling_down" else one)

    def configure(
        self,
        name: str,
        config: Mapping[str, Any],
        tried: Mapping[str, list[Any]],
        *,
        expected_revision: int | None = None,
    ) -> Deployment:
        """Another configuration; its instances begin anew with it."""

        def configured(one: Deployment) -> Deployment:
            if dict(one.config) == dict(config) and dict(one.tried) == dict(tried):
                return one
            return replace(one, config=dict(config), tried=dict(tried), generation=one.generation + 1)

        return self.change(name, configured, expected_revision)

    def change(self, name: str, change: Change, expected_revision: int | None = None) -> Deployment:
        """Applies `change` to the document as it stands. Raises NotFound, and RevisionConflict where `expected_revision` is old."""
        with self._changing() as db:
            documents = db.documents("deployments")
            before = self._get(documents, name)
            if expected_revision is not None and before.revision != expected_revision:
                raise RevisionConflict(
                    f"{name} was changed by somebody else (revision {before.revision}, expected {expected_revision})",
                    hint="look again, then repeat",
                )
            after = change(before)
            if after == before:
                return before
            after = replace(after, revision=before.revision + 1)
            documents.put(after.name, after.to_document())
            return after

    # Budgets, policy, the switch

    def set_budget(self, scope: str, per: str, limit: Money) -> ScopeBudget:
        """Raises UsageProblem for a scope or a period that is none, NotFound for a worker that is not deployed."""
        budget = ScopeBudget(_scope(scope), per, limit)
        if per not in PERS:
            raise UsageProblem(f"not a budget period: {per!r}", hint="it is run, day or month")
        if limit.micros < 0 or limit.currency != self.currency:
            raise UsageProblem(f"a budget is an amount of {self.currency} that is not negative")
        with self._changing() as db:
            kind, _, name = scope.partition(":")
            if kind == "worker":
                self._get(db.documents("deployments"), name)
            db.documents("budgets").put(f"{scope}/{per}", {"scope": scope, "per": per, "limit": str(limit)})
        return budget

    def remove_budget(self, scope: str, per: str | None = None) -> int:
        """How many were removed. Raises NotFound where there was none."""
        with self._changing() as db:
            table = db.documents("budgets")
            found = [str(one.doc_id) for one in table.all() if one["scope"] == scope and per in (None, one["per"])]
            if not found:
                raise NotFound(
                    f"there is no budget for {scope}" + (f" per {per}" if per else ""),
                    hint="nova budgets list shows them",
                )
            table.drop(found)
            return len(found)

    def set_policy(self, values: Mapping[str, str]) -> int:
        """Adds to what was set; the version rises where something changed. The values are validated by who calls."""
        return self._write_policy(lambda old: {**old, **values})

    def reset_policy(self) -> int:
        """Back to the settings' own values."""
        return self._write_policy(lambda old: {})

    def set_autonomous(self, enabled: bool) -> bool:
        """Whether it changed."""
        with self._changing() as db:
            return db.documents("settings").put("autonomous", {"enabled": enabled})

    def _write_policy(self, change: Callable[[dict[str, str]], dict[str, str]]) -> int:
        with self._changing() as db:
            table = db.documents("settings")
            found = table.find("policy")
            old: dict[str, str] = dict(found["values"]) if found else {}
            version: int = found["version"] if found else 0
            new = change(old)
            if new != old:
                version += 1
                table.put("policy", {"values": new, "version": version})
            return version

    # The mechanism

    @contextmanager
    def _changing(self) -> Iterator[FleetDB]:
        with self._storage.locked():
            yield FleetDB(self._storage)

    def _get(self, documents: Documents, name: str) -> Deployment:
        found = documents.find(name)
        if found is None:
            raise _unknown(name, documents.names())
        return Deployment.from_document(found, self.currency)

    def _in_state(
        self, one: Deployment, state: State, *, reason: PauseReason | None = None, until: datetime | None = None
    ) -> Deployment:
        if (one.state, one.pause_reason, one.state_until) == (state, reason, until):
            return one
        return replace(one, state=state, pause_reason=reason, state_until=until, state_since=self._clock.now())


_SHOWN = tuple(one.name for one in fields(Declaration)) + ("state",)


def _fresh(asked: Declaration, now: datetime) -> Deployment:
    return Deployment(
        **_given(asked),
        declared_replicas=asked.replicas,
        declared_config=dict(asked.config),
        state="active",
        pause_reason=None,
        state_until=None,
        state_since=now,
        revision=1,
        created_at=now,
    )


def _declared(before: Deployment, asked: Declaration) -> Deployment:
    """What the engine has scaled or tuned since stays, as long as the declaration says of it what it said before."""
    given = _given(asked)
    if asked.replicas == before.declared_replicas:
        given["replicas"] = min(before.replicas, asked.max_replicas)
    if dict(asked.config) == dict(before.declared_config):
        given["config"] = before.config
    after = replace(before, **given, declared_replicas=asked.replicas, declared_config=dict(asked.config))
    anew = any(getattr(before, key) != getattr(after, key) for key in ("agent", "runtime", "config", "department"))
    return replace(after, generation=before.generation + 1, tried={}) if anew else after


def _given(asked: Declaration) -> dict[str, Any]:
    return {one.name: getattr(asked, one.name) for one in fields(Declaration)}


def _active(one: Deployment, now: datetime) -> Deployment:
    return replace(one, state="active", pause_reason=None, state_until=None, state_since=now)


def _scope(scope: str) -> str:
    kind, colon, name = scope.partition(":")
    if kind in ("department", "worker") and colon:
        valid_name(name, kind)
    elif scope != "fleet":
        raise UsageProblem(f"not a scope: {scope!r}", hint="it is fleet, department:NAME or worker:NAME")
    return scope


def _unknown(name: str, known: Iterable[str]) -> NotFound:
    near = difflib.get_close_matches(name, list(known), n=1)
    return NotFound(
        f"no deployment is called {name!r}",
        hint=f"did you mean {near[0]}?" if near else "nova workers status lists them",
    )


def scaled_by(replicas: int, multiplier: float, most: int) -> int:
    """`replicas` × `multiplier`, rounded up, from 1 to `most`."""
    return max(1, min(most, math.ceil(round(replicas * multiplier, 6))))
