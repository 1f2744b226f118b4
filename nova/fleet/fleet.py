"""The fleet: what operators and executed decisions declare of deployments. Every change is absolute and idempotent."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from nova.errors import NotFound, NovaError, Refused, RevisionConflict, UsageProblem
from nova.fleet import transitions
from nova.fleet.decoding import deployment_of
from nova.fleet.documents import (
    FIELDS,
    BudgetLimit,
    Declaration,
    Deployment,
    PauseReason,
    ScopeBudget,
    Step,
    valid_config,
    valid_name,
)
from nova.fleet.rules import Rules
from nova.fleet.terms import Breaker
from nova.money import Money

if TYPE_CHECKING:
    from nova.fleet.storage import Documents

Change = Callable[[Deployment], Deployment]

_SHOWN = (*(one.name for one in fields(Declaration)), "state")
_FLEETS_DAY = ("fleet", "day")  # the policy holds it, as max_daily_budget
_DAILY = "max_daily_budget"


@dataclass(frozen=True, slots=True)
class DeployResult:
    """`changes` maps what was changed to its values before and after; empty where the declaration stood already."""

    deployment: Deployment
    created: bool
    changes: Mapping[str, tuple[Any, Any]]


class Fleet(Rules):
    """The deployments, with the budgets that hold for them, beside the rules of the whole.

    Where `expected_revision` is given, a document that was changed since is left alone: RevisionConflict.
    """

    def get(self, name: str) -> Deployment:
        """Raises NotFound."""
        deployments = self.snapshot().deployments
        if name not in deployments:
            raise _unknown(name, deployments)
        return deployments[name]

    def deploy(self, asked: Declaration, *, revive: bool = False, expected_revision: int | None = None) -> DeployResult:
        """The same declaration changes nothing. Raises Refused for a killed name without `revive`."""
        asked.checked(self.currency)
        with self._changing() as db:
            documents = db.documents("deployments")
            if documents.find(asked.name) is None:
                return self._create(documents, asked)
            before = self._get(documents, asked.name, expected_revision)
            if before.state == "killed" and not revive:
                raise Refused(
                    f"{asked.name} was killed", hint="add --revive to start it anew; its old evidence is then forgotten"
                )
            after = transitions.redeclared(before, asked, self._clock.now())
            if before.state == "killed":
                after = transitions.revived(after, self._clock.now())
            after = _put(documents, before, after, self._clock.now())
            return DeployResult(after, created=False, changes=_differences(before, after))

    def retire(self, name: str, *, expected_revision: int | None = None) -> Deployment:
        """Removes it from the fleet; its history stays in the ledger. Raises NotFound."""
        with self._changing() as db:
            documents = db.documents("deployments")
            gone = self._get(documents, name, expected_revision)
            documents.drop([name])
            return gone

    def scale(
        self, name: str, replicas: int, *, step: Step | None = None, expected_revision: int | None = None
    ) -> Deployment:
        """`step` is what the engine keeps to judge it later. Raises Refused above the most replicas it may have."""
        return self.change(name, partial(transitions.scaled, replicas=replicas, step=step), expected_revision)

    def pause(
        self,
        name: str,
        reason: PauseReason,
        until: datetime | None = None,
        *,
        needs: Money | None = None,
        expected_revision: int | None = None,
    ) -> Deployment:
        """No new run begins. A person's pause outlasts every other; a killed or parked deployment stays as it is."""
        change = partial(transitions.paused, reason=reason, until=until, now=self._clock.now(), needs=needs)
        return self.change(name, change, expected_revision)

    def resume(
        self, name: str, at: datetime | None = None, *, override: bool = False, expected_revision: int | None = None
    ) -> Deployment:
        """Makes it active. `override`, a person's word against what stopped it: its evidence counts from `at` on."""
        now = self._clock.now()
        change = partial(transitions.resumed, at=at or now, now=now, override=override)
        return self.change(name, change, expected_revision)

    def kill(self, name: str, *, expected_revision: int | None = None) -> Deployment:
        """Its runs end now, and nothing but `deploy` with `revive` starts it again."""
        return self.change(name, partial(transitions.killed, now=self._clock.now()), expected_revision)

    def cool_down(self, name: str, until: datetime, *, expected_revision: int | None = None) -> Deployment:
        """After too many crashes. Does nothing to what is not active."""
        change = partial(transitions.cooled_down, until=until, now=self._clock.now())
        return self.change(name, change, expected_revision)

    def park(self, name: str, *, expected_revision: int | None = None) -> Deployment:
        """Out of service until a person resumes it."""
        return self.change(name, partial(transitions.parked, now=self._clock.now()), expected_revision)

    def activate(self, name: str, *, expected_revision: int | None = None) -> Deployment:
        """Ends a cooldown; does nothing to any other state."""
        return self.change(name, partial(transitions.activated, now=self._clock.now()), expected_revision)

    def trip(
        self, name: str, breaker: Breaker, until: datetime | None, *, expected_revision: int | None = None
    ) -> Deployment:
        """Opens its breaker; does nothing where something else keeps it from running."""
        change = partial(transitions.tripped, breaker=breaker, until=until, now=self._clock.now())
        return self.change(name, change, expected_revision)

    def probe(self, name: str) -> bool:
        """Whether it is the caller who may let the one probe run go."""
        began = False

        def begin(one: Deployment) -> Deployment:
            nonlocal began
            after = transitions.probing(one, self._clock.now())
            began = after is not one
            return after

        self.change(name, begin)
        return began

    def recover(self, name: str, *, expected_revision: int | None = None) -> Deployment:
        """Closes its breaker after a probe that went well."""
        return self.change(name, partial(transitions.recovered, now=self._clock.now()), expected_revision)

    def configure(
        self,
        name: str,
        config: Mapping[str, Any],
        tried: Mapping[str, list[Any]],
        *,
        expected_revision: int | None = None,
    ) -> Deployment:
        """Another configuration; its instances begin anew with it."""
        change = partial(transitions.configured, config=valid_config(config), tried=valid_config(tried))
        return self.change(name, change, expected_revision)

    def change(self, name: str, change: Change, expected_revision: int | None = None) -> Deployment:
        """Applies `change` to the document as it stands. Raises NotFound."""
        with self._changing() as db:
            documents = db.documents("deployments")
            before = self._get(documents, name, expected_revision)
            return _put(documents, before, change(before), self._clock.now())

    def change_each(self, changes: Iterable[tuple[str, int, Change]]) -> dict[str, NovaError]:
        """Applies each change to the document of that name and revision, all in one write.

        What was refused leaves the others alone and comes back by name.
        """
        refused, contents = {}, {}
        with self._changing() as db:
            documents = db.documents("deployments")
            for name, revision, change in changes:
                try:
                    before = self._get(documents, name, revision)
                    after = change(before)
                except NovaError as problem:
                    refused[name] = problem
                    continue
                if after != before:
                    contents[name] = _next(before, after, self._clock.now()).to_document()
            documents.put_all(contents, FIELDS)
        return refused

    def set_budget(self, scope: str, per: str, limit: Money) -> ScopeBudget:
        """A `worker:NAME`'s is kept with the deployment, the fleet's per day with the policy.

        Raises UsageProblem for a scope or a period that is none, NotFound for a worker that is not deployed.
        """
        kind, name = self._scope(scope)
        budget = BudgetLimit(per, limit).checked(self.currency)
        if kind == "worker":
            self.change(name, lambda one: transitions.limited(one, budget))
        elif (scope, per) == _FLEETS_DAY:
            self.set_policy({_DAILY: str(limit)})
        else:
            with self._changing() as db:
                kept = {"scope": scope, "per": per, "limit": f"{limit} {limit.currency}"}
                db.documents("budgets").put(f"{scope}/{per}", kept)
        return ScopeBudget(scope, per, limit)

    def remove_budget(self, scope: str, per: str | None = None) -> int:
        """How many were removed: that of one period, or all of the scope. Raises NotFound where there was none."""
        kind, name = self._scope(scope)
        if kind == "worker":
            removed = self._unlimit(name, per)
        else:
            with self._changing() as db:
                table = db.documents("budgets")
                found = [str(one.doc_id) for one in table.all() if one["scope"] == scope and per in (None, one["per"])]
                if found:
                    table.drop(found)
                removed = len(found)
            if kind == "fleet" and per in (None, "day"):
                removed += self._drop_policy(_DAILY)
        if not removed:
            raise NotFound(
                f"there is no budget for {scope}" + (f" per {per}" if per else ""), hint="nova budgets list shows them"
            )
        return removed

    def _scope(self, scope: str) -> tuple[str, str]:
        kind, colon, name = scope.partition(":")
        if kind in ("department", "worker") and colon:
            return kind, valid_name(name, kind)
        if scope == "fleet":
            return "fleet", ""
        deployments = self.snapshot().deployments
        meant = [f"worker:{scope}"] if scope in deployments else []
        meant += [f"department:{scope}"] if any(one.department == scope for one in deployments.values()) else []
        hint = f"did you mean {' or '.join(meant)}?" if meant else "it is fleet, department:NAME or worker:NAME"
        raise UsageProblem(f"not a scope: {scope!r}", hint=hint)

    def _unlimit(self, name: str, per: str | None) -> int:
        removed = 0

        def unlimited(one: Deployment) -> Deployment:
            nonlocal removed
            after = transitions.unlimited(one, per)
            removed = len(one.budget) - len(after.budget)
            return after

        self.change(name, unlimited)
        return removed

    def _create(self, documents: Documents, asked: Declaration) -> DeployResult:
        twin = next((name for name in documents.names() if name.casefold() == asked.name.casefold()), None)
        if twin is not None:
            raise UsageProblem(
                f"{asked.name} and {twin} differ only in upper and lower case", hint=f"name it {twin}, or otherwise"
            )
        fresh = transitions.declared(asked, self._clock.now())
        documents.put(fresh.name, fresh.to_document())
        return DeployResult(fresh, created=True, changes={})

    def _get(self, documents: Documents, name: str, expected_revision: int | None) -> Deployment:
        found = documents.find(name)
        if found is None:
            raise _unknown(name, documents.names())
        one = deployment_of(found, self.currency)
        if expected_revision not in (None, one.revision):
            raise RevisionConflict(
                f"{name} was changed by somebody else (revision {one.revision}, expected {expected_revision})",
                hint="look again, then repeat",
            )
        return one


def _put(documents: Documents, before: Deployment, after: Deployment, now: datetime) -> Deployment:
    if after == before:
        return before
    after = _next(before, after, now)
    documents.put(after.name, after.to_document(), FIELDS)
    return after


def _next(before: Deployment, after: Deployment, now: datetime) -> Deployment:
    return replace(transitions.of_another_normal(before, after, now), revision=before.revision + 1)


def _differences(before: Deployment, after: Deployment) -> dict[str, tuple[Any, Any]]:
    pairs = {key: (getattr(before, key), getattr(after, key)) for key in _SHOWN}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _unknown(name: str, known: Iterable[str]) -> NotFound:
    near = difflib.get_close_matches(name, list(known), n=1)
    return NotFound(
        f"no deployment is called {name!r}",
        hint=f"did you mean {near[0]}?" if near else "nova workers status lists them",
    )


def scaled_by(replicas: int, multiplier: float, most: int) -> int:
    """`replicas` × `multiplier`, rounded up, from 1 to `most`."""
    return max(1, min(most, math.ceil(round(replicas * multiplier, 6))))
