"""Looks into what was kept, apart from its receiving: once with effect, in any order, however often it is cut.

What cannot be used is dead at once and what failed is tried again later and later, so that neither holds up the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from nova.errors import LockHeld, NovaError, Unreachable, UsageProblem
from nova.ledger.deliveries import MOST_ATTEMPTS, Delivery
from nova.webhooks.bodies import BadDelivery
from nova.webhooks.endpoints import GUMROAD, SENDGRID, STRIPE
from nova.webhooks.vendors import Kept, asks_for_sync, gumroad_ping, mail_report, sale

if TYPE_CHECKING:
    from nova.webhooks.office import Office

log = logging.getLogger(__name__)

KEPT = timedelta(days=7)  # longer than any sender goes on trying
_TOGETHER = timedelta(seconds=2)  # what comes within is one sync
_BETWEEN_SYNCS_S = 15.0
_COVERED_S = 60.0
_TOLD_LATE = timedelta(seconds=1)  # what a platform sends it may list a moment later
_OVERLAP = timedelta(hours=1)  # the manager's own syncs look back for days
_PRUNE_EVERY_S = 3600.0
_SYNC_S = 2.0  # until a sync that is at work is looked at again
_UNREACHABLE_S = 15.0
_ROUND = 200

Sync = Callable[[str, timedelta], object]


@dataclass(frozen=True, slots=True)
class _Synced:
    """The last sync of a source, by the monotonic clock; what had come by `covers` is settled by it."""

    at: float
    covers: datetime | None


class Processor:
    """One for a process; of several processes one at a time works, and the others pass."""

    def __init__(self, nova: Office, *, sync: Sync | None = None) -> None:
        self._nova = nova
        self._deliveries = nova.ledger.deliveries
        self._sync = sync or self._sync_platform
        self._synced: dict[str, _Synced] = {}
        self._pruned = float("-inf")
        self._resting: dict[str, float] = {}

    def step(self, ending: Callable[[], bool] = lambda: False) -> int:
        """Works through some of what is due; how many deliveries were settled. Failures of theirs are not raised.

        It goes no further once `ending`.
        """
        with _alone(self._nova.settings.run_dir) as mine:
            if not mine:
                return 0
            self._prune()
            now = self._nova.clock.now()
            due = [endpoint for endpoint in self._deliveries.endpoints_due(now) if not self._rests(endpoint)]
            return sum(self._settle(endpoint, now, ending) for endpoint in due)

    def _settle(self, endpoint: str, now: datetime, ending: Callable[[], bool]) -> int:
        settled, to_sync = 0, []
        for one in self._deliveries.due(endpoint, now, _ROUND):
            if ending() or self._rests(endpoint):
                break
            if endpoint == STRIPE or (endpoint == GUMROAD and asks_for_sync(one)):
                to_sync.append(one)
            else:
                settled += self._look_into(one)
        return settled + self._settled_by_sync(endpoint, to_sync, now)

    def _rests(self, endpoint: str) -> bool:
        return self._nova.clock.monotonic() < self._resting.get(endpoint, float("-inf"))

    def _rest(self, endpoint: str, seconds: float) -> None:
        """What else waits of it would only fail for the same reason, and hold up the others for as long."""
        self._resting[endpoint] = self._nova.clock.monotonic() + seconds

    def _look_into(self, one: Delivery) -> bool:
        try:
            remark = self._effect(one)
        except (BadDelivery, UsageProblem) as problem:
            self._bury([one], problem.message)
        except LockHeld:
            self._rest(one.endpoint, _SYNC_S)
            return False
        except NovaError as problem:
            if isinstance(problem, Unreachable):
                self._rest(one.endpoint, _UNREACHABLE_S)
            self._fail([one], problem.message)
            return False
        except Exception as problem:
            log.exception("webhook_failed", extra={"action": "webhook_failed", "endpoint": one.endpoint, "id": one.id})
            self._fail([one], f"{type(problem).__name__}: {problem}")
            return False
        else:
            log.info("webhook_done", extra=_told(one, remark))
        return True

    def _effect(self, one: Delivery) -> str | None:
        """Has the effect and marks the delivery, in one transaction. What there is to remark."""
        nova = self._nova
        kept = Kept(nova, one)
        if one.endpoint == GUMROAD:
            return gumroad_ping(kept)
        if one.endpoint == SENDGRID:
            return mail_report(kept)
        sender = next((known for known in nova.fleet.snapshot().webhooks if known.name == one.endpoint), None)
        if sender is None:
            raise BadDelivery(f"no webhook is called {one.endpoint} any more")
        return sale(kept, sender)

    def _settled_by_sync(self, source: str, given: Sequence[Delivery], now: datetime) -> int:
        """All that came before one sync is settled by it: that is complete, and what it books it books once."""
        waiting = [one for one in given if not self._is_covered(source, one)]
        settled = [one for one in given if one not in waiting]
        if waiting and self._may_sync(source, min(one.received_at for one in waiting), now):
            problem = self._try_sync(source, now)
            if problem is None:
                settled += [one for one in waiting if self._is_covered(source, one)]
            elif not isinstance(problem, LockHeld):
                self._fail(waiting, problem.message)
        if settled:
            self._deliveries.done(settled, "synced")
        return len(settled)

    def _is_covered(self, source: str, one: Delivery) -> bool:
        last = self._synced.get(source)
        recent = last is not None and self._nova.clock.monotonic() - last.at < _COVERED_S
        return recent and last is not None and last.covers is not None and one.received_at <= last.covers

    def _may_sync(self, source: str, oldest: datetime, now: datetime) -> bool:
        last = self._synced.get(source)
        rested = last is None or self._nova.clock.monotonic() - last.at >= _BETWEEN_SYNCS_S
        return rested and not timedelta(0) <= now - oldest < _TOGETHER

    def _try_sync(self, source: str, now: datetime) -> NovaError | None:
        self._synced[source] = _Synced(self._nova.clock.monotonic(), None)
        try:
            self._sync(source, _OVERLAP)
        except NovaError as problem:
            return problem
        self._synced[source] = _Synced(self._nova.clock.monotonic(), now - _TOLD_LATE)
        return None

    def _sync_platform(self, source: str, overlap: timedelta) -> None:
        from nova.revenue.sync import sync_report

        sync_report(self._nova, [source], overlap=overlap)

    def _fail(self, given: Sequence[Delivery], error: str) -> None:
        log.warning("webhook_waits", extra={**_told(given[0], error), "count": len(given)})
        gone = self._deliveries.failed(given, error)
        if gone:
            self._alert(gone[0], f"tried {MOST_ATTEMPTS} times: {error}")

    def _bury(self, given: Sequence[Delivery], error: str) -> None:
        log.error("webhook_dead", extra={**_told(given[0], error), "count": len(given)})
        self._deliveries.dead(given, error)
        self._alert(given[0], error)

    def _alert(self, one: Delivery, error: str) -> None:
        body = f"{error}\n`nova webhooks dead` lists what could not be used; `nova webhooks replay` tries it again."
        self._nova.alerts.send("webhook_dead", f"webhooks of {one.endpoint} could not be used", body)

    def _prune(self) -> None:
        now = self._nova.clock.monotonic()
        if now - self._pruned < _PRUNE_EVERY_S:
            return
        self._deliveries.hasten()
        if not self._deliveries.prune(self._nova.clock.now() - KEPT):
            self._pruned = now


def _told(one: Delivery, remark: str | None) -> dict[str, object]:
    found = {"action": "webhook", "endpoint": one.endpoint, "id": one.id, "kind": one.kind, "remark": remark}
    return {key: value for key, value in found.items() if value is not None}


@contextmanager
def _alone(run_dir: Path) -> Iterator[bool]:
    from filelock import FileLock, Timeout

    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(run_dir / "webhooks.lock", timeout=0, mode=0o600, is_singleton=False)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
