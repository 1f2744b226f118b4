"""Where `nova top` gets what it shows, and how it acts: the same services as the commands call."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nova.cli.params import person
from nova.cli.top.look import Budget, Look
from nova.money import Money

if TYPE_CHECKING:
    from nova.bootstrap import Nova

_TODAY_S = 5.0  # what was earned today needs a reading of the day's sums


class Source:
    """One at a time may look; acts may come from another thread. Raises NovaError, as the services do."""

    def __init__(self, nova: Nova) -> None:
        self._nova = nova
        self._today: tuple[float, Money] | None = None

    @property
    def nova(self) -> Nova:
        return self._nova

    def look(self) -> Look:
        from nova.autonomous.approvals import approvals
        from nova.autonomous.office import is_enabled
        from workers.status import status_document

        nova = self._nova
        document = status_document(nova)
        snapshot, now, at_s = nova.fleet.snapshot(), nova.clock.now(), time.monotonic()
        limits = [
            limit
            for limit in snapshot.all_budgets(nova.policy(snapshot).max_daily_budget)
            if limit.per != "run" and not limit.scope.startswith("worker:")
        ]
        asked = [(f"worker:{name}", "total") for name in snapshot.deployments]
        asked += [("fleet", "day"), *((limit.scope, limit.per) for limit in limits)]
        usages = nova.ledger.budgets.usages(asked, now)
        return Look(
            at=now,
            at_s=at_s,
            document=document,
            spent={name: usages[f"worker:{name}", "total"].spent for name in snapshot.deployments},
            spent_today=usages["fleet", "day"].spent,
            earned_today=self._earned_today(now, at_s),
            budgets=[
                Budget(limit.scope, limit.per, limit.limit, used.spent, used.reserved)
                for limit in limits
                for used in (usages[limit.scope, limit.per],)
            ],
            waiting=approvals(nova)["approvals"],
            autonomous=is_enabled(nova, snapshot),
        )

    def details(self, name: str) -> dict[str, Any]:
        """What the table has no room for. Raises NotFound."""
        from nova.autonomous.explain import history
        from workers.deployments import masked

        nova = self._nova
        one = nova.fleet.get(name)
        keys = [(f"worker:{name}", limit.per) for limit in one.budget if limit.per != "run"]
        usages = nova.ledger.budgets.usages(keys, nova.clock.now()) if keys else {}
        return {
            "deployment": one,
            "config": masked(one.config),
            "budgets": [
                Budget(scope, limit.per, limit.limit, used.spent, used.reserved)
                for limit in one.budget
                for scope in (f"worker:{name}",)
                if (used := usages.get((scope, limit.per))) is not None
            ],
            "decisions": history(nova, name, limit=5)["decisions"],
            "runs": nova.ledger.runs.recent(name, 5),
        }

    def _earned_today(self, now: datetime, at_s: float) -> Money:
        if self._today is None or at_s - self._today[0] >= _TODAY_S:
            from nova.revenue.reports import report

            midnight = now.astimezone(self._nova.settings.tz).replace(hour=0, minute=0, second=0, microsecond=0)
            total = report(self._nova, since=midnight)["total"]
            self._today = (at_s, Money.parse(total["revenue"], self._nova.settings.nova_currency))
        return self._today[1]


class Acts:
    """What a person may do from the screen, each as the command of the same name does it; what was done, in words."""

    def __init__(self, nova: Nova, by: str | None = None) -> None:
        self._nova = nova
        self._by = person(by)

    def pause(self, name: str) -> str:
        from workers.deployments import pause

        return _stands(pause(self._nova, name, by=self._by))

    def resume(self, name: str) -> str:
        from workers.deployments import resume

        return _stands(resume(self._nova, name, by=self._by))

    def scale(self, name: str, step: int) -> str:
        """By one more or less than is declared now."""
        from nova.cli.render import count
        from workers.deployments import scale

        replicas = self._nova.fleet.get(name).replicas + step
        done = scale(self._nova, name, replicas=replicas, by=self._by)
        return f"{name}: {count(done.replicas, 'replica')} of at most {done.max_replicas}"

    def approve(self, decision: str) -> str:
        from nova.autonomous.approvals import approve

        done = approve(self._nova, decision, self._by)
        return f"{decision}: {done.kind} of {done.worker} is {done.state}"

    def reject(self, decision: str) -> str:
        from nova.autonomous.approvals import reject

        done = reject(self._nova, decision, self._by)
        return f"{decision}: {done.kind} of {done.worker} is {done.state}, and stays silent for a day"


def _stands(deployment: Any) -> str:
    reason = f" ({deployment.pause_reason})" if deployment.pause_reason else ""
    return f"{deployment.name}: {deployment.state}{reason}"


Act = Callable[[], str]
