"""Fetches what the platforms tell and books it: once, however often, in whatever order, and however often it is cut.

A reading starts at the newest event and goes back to where the last one had come, less an overlap for what the
platform told late. How far it is stands in the cursor, written with the entries of each page, so that a sync that was
cut goes on behind its last page.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nova.clock import from_us, iso, to_us
from nova.errors import LockHeld, NovaError
from nova.ledger import claims, cursors
from nova.ledger.cursors import Cursor
from nova.revenue import booking
from nova.revenue.attribution.settle import settle_due
from nova.revenue.booking import Booked
from nova.revenue.recheck import recheck_of
from nova.revenue.subscriptions import follow as follow_subscriptions
from nova.revenue.tally import SourceReport, Tally
from platforms.base import PlatformFailed
from platforms.events import EventPage, EventReader, EvidenceReader, RevenuePlatform, SubscriptionPlatform, Tag

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from nova.ledger.ledger import Ledger
    from nova.revenue.office import Office

log = logging.getLogger(__name__)

OVERLAP = timedelta(days=3)
PING_S = 3.0  # a webhook about a single sale is done by then
_SLACK = timedelta(minutes=5)  # between the clocks of those who claim and those who sync
Clients = Mapping[str, RevenuePlatform]
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class SyncReport:
    at: datetime
    currency: str
    sources: tuple[SourceReport, ...]

    def to_json(self) -> dict[str, Any]:
        return {"at": iso(self.at), "currency": self.currency, "sources": [source.to_json() for source in self.sources]}


@dataclass(frozen=True, slots=True)
class _Reach:
    """A reading of a source: back to `since`, begun at `started`, going on behind `after`.

    `thorough`: a person asked for it, so that the platform is asked for what stands behind known payments, too.
    """

    since: datetime | None
    started: datetime
    after: str | None = None
    thorough: bool = False


def sync(
    nova: Office,
    sources: Sequence[str] = (),
    *,
    since: datetime | None = None,
    overlap: timedelta = OVERLAP,
    clients: Clients | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Syncs these platforms, or all that have a key, and says what is new.

    Every source is tried; then the first that failed is raised. `progress` is told how many records came so far.
    Raises NotFound, PlatformNotConfigured, PlatformRefused, Unreachable, or LockHeld where another sync is at work.
    """
    return sync_report(nova, sources, since=since, overlap=overlap, clients=clients, progress=progress).to_json()


def sync_all(nova: Office) -> SyncReport:
    """What the manager does by itself. Where somebody syncs already, that is good enough."""
    with suppress(LockHeld):
        return sync_report(nova)
    return SyncReport(nova.clock.now(), nova.ledger.store.currency, ())


def sync_report(
    nova: Office,
    sources: Sequence[str] = (),
    *,
    since: datetime | None = None,
    overlap: timedelta = OVERLAP,
    clients: Clients | None = None,
    progress: Progress | None = None,
) -> SyncReport:
    at = nova.clock.now()
    named = list(dict.fromkeys(sources)) or _configured(nova, clients)
    opened = [(name, _client(nova, name, clients)) for name in named]
    reports: list[SourceReport] = []
    failure: NovaError | None = None
    for name, client in opened:
        try:
            with one_at_a_time(nova.settings.run_dir, name, PING_S):
                told = _Counted(progress, sum(report.fetched for report in reports))
                reports.append(_Source(nova.ledger, client, overlap, told).fetch(since))
        except NovaError as problem:
            failure = failure or problem
        finally:
            if clients is None:
                client.close()
    settle_due(nova)
    if failure is not None:
        raise failure
    return SyncReport(at, nova.ledger.store.currency, tuple(reports))


class _Counted:
    def __init__(self, told: Progress | None, before: int) -> None:
        self._told, self._count = told, before

    def add(self, count: int) -> None:
        self._count += count
        if self._told is not None:
            self._told(self._count)


class _Source:
    """One sync of one platform."""

    def __init__(self, ledger: Ledger, client: RevenuePlatform, overlap: timedelta, told: _Counted) -> None:
        self._ledger = ledger
        self._store = ledger.store
        self._client = client
        self._name = client.name
        self._overlap = overlap
        self._told = told
        self._tally = Tally(client.name, ledger.store.currency)

    def fetch(self, since: datetime | None) -> SourceReport:
        before = self._ledger.cursors.get(self._name)
        try:
            reader = self._client.reader()
            left = _unfinished(before)
            if left is not None:
                self._read(reader, left)
            self._read(reader, self._reach(self._ledger.cursors.get(self._name), since))
            self._follow_claims(reader, before.covered_at)
            if isinstance(self._client, SubscriptionPlatform):
                follow_subscriptions(self._ledger, self._client, self._name, self._overlap)
        except NovaError as problem:
            self._ledger.cursors.failed(self._name, problem.message)
            log.warning("sync_failed", extra={"action": "sync_failed", "source": self._name, "error": problem.message})
            raise
        report = self._tally.report(self._ledger.cursors.get(self._name).covered_at)
        log.info("synced", extra={"action": "synced", **report.to_json()})
        return report

    def _reach(self, cursor: Cursor, since: datetime | None) -> _Reach:
        now, thorough = self._store.clock.now(), since is not None
        if since is None and cursor.covered_at is not None:
            since = min(cursor.covered_at, now) - max(self._overlap, recheck_of(self._client, cursor.covered_at, now))
        return _Reach(since, now, thorough=thorough)

    def _read(self, reader: EventReader, reach: _Reach) -> None:
        for read in self._pages(reader, reach):
            page, tags = self._told_of(reader, read, reach)
            self._tally.add(page, self._ledger.apply(partial(self._book, page, tags, reach)))
            self._told.add(page.transactions)

    def _pages(self, reader: EventReader, reach: _Reach) -> Iterator[EventPage]:
        """From the beginning of the reach where the platform no longer knows the place it was left at."""
        pages = reader.pages(reach.since, after=reach.after)
        try:
            first = next(pages, None)
        except PlatformFailed:
            if reach.after is None:
                raise
            pages = reader.pages(reach.since)
            first = next(pages, None)
        if first is not None:
            yield first
            yield from pages

    def _told_of(self, reader: EventReader, page: EventPage, reach: _Reach) -> tuple[EventPage, dict[str, Tag]]:
        """Asks the platform about what is new; of what is known only what the page itself says is looked at."""
        with self._ledger.read() as conn:
            known = set() if reach.thorough else booking.known_ids(conn, self._store, self._name, page.events)
        found = {event.id: event.tag if event.id in known else reader.tag(event) for event in page.events}
        tags = {id: tag for id, tag in found.items() if tag is not None}
        if isinstance(reader, EvidenceReader):
            done = known | set(tags)
            events = (event if event.id in done else reader.with_evidence(event) for event in page.events)
            page = replace(page, events=tuple(events))
        return page, tags

    def _book(self, page: EventPage, tags: Mapping[str, Tag], reach: _Reach, conn: Connection) -> Booked:
        booked = booking.book(conn, self._store, self._name, page.events, tags, reach.since)
        now = self._store.clock.now()
        if page.after is None:
            cursors.succeeded(conn, self._name, None, _covered(cursors.read(conn, self._name), reach), now)
        else:
            cursors.reached(conn, self._name, _written(reach, page.after), now)
        return booked

    def _follow_claims(self, reader: EventReader, last: datetime | None) -> None:
        """What was claimed since the `last` sync began, but booked before it was claimed, is moved."""
        with self._ledger.read() as conn:
            said = claims.made_since(conn, self._name, None if last is None else last - _SLACK)
            unknown = [one for one in said if not booking.has_payment(conn, self._name, one.object)]
        renamed = [(one, reader.payment_of(one.object)) for one in unknown]
        said += [replace(one, object=payment) for one, payment in renamed if payment and payment != one.object]
        if said:
            moved = self._ledger.apply(lambda conn: booking.late_claims(conn, self._store, self._name, said))
            self._tally.moved += moved


def _covered(before: Cursor, reach: _Reach) -> datetime:
    """Everything up to here is known: not beyond a gap that a later `--since` left open.

    It goes back where the clock was ahead before: what was covered then had not happened yet.
    """
    if before.covered_at is not None and reach.since is not None and reach.since > before.covered_at:
        return before.covered_at
    return reach.started


def _written(reach: _Reach, after: str) -> str:
    since = None if reach.since is None else to_us(reach.since)
    return json.dumps({"after": after, "since": since, "started": to_us(reach.started), "thorough": reach.thorough})


def _unfinished(cursor: Cursor) -> _Reach | None:
    if cursor.cursor is None:
        return None
    said = json.loads(cursor.cursor)
    since = None if said["since"] is None else from_us(said["since"])
    return _Reach(since, from_us(said["started"]), said["after"], said.get("thorough", False))


def _configured(nova: Office, clients: Clients | None) -> list[str]:
    if clients is not None:
        return list(clients)
    from platforms.registry import configured_revenue

    return configured_revenue(nova.settings)


def _client(nova: Office, name: str, clients: Clients | None) -> RevenuePlatform:
    if clients is not None and name in clients:
        return clients[name]
    from platforms.registry import revenue_platform

    return revenue_platform(nova.settings, name, nova.exchange.alone)


@contextmanager
def one_at_a_time(run_dir: Path, source: str, wait_s: float = 0.0) -> Iterator[None]:
    """For who fetches what a platform tells now and books it: an older word must not come after a newer one.

    Raises LockHeld after `wait_s`.
    """
    from filelock import FileLock, Timeout

    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(run_dir / f"sync-{source}.lock", timeout=wait_s, mode=0o600, is_singleton=False)
    try:
        lock.acquire(poll_interval=0.01)
    except Timeout:
        raise LockHeld(f"another sync of {source} is at work", hint="it will do; look again in a minute") from None
    try:
        yield
    finally:
        lock.release()
