"""What is read once for all deployments, before their windows: life-long sums, platform syncs, what was executed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, select

from nova.autonomous.evidence import SaleSize
from nova.autonomous.policy import Policy
from nova.clock import from_us, to_us
from nova.ledger.cursors import Cursor
from nova.ledger.schema import cursors, run_accounts, run_totals, totals
from nova.money import MICROS

# Sources whose sales arrive by a sync, so that a missing sync means missing revenue.
PLATFORM_SOURCES = frozenset({"stripe", "gumroad"})
_STEPS = ("scale_up", "scale_down", "resume", "optimize")


@dataclass(slots=True)
class Life:
    """All that is known of one worker. Instants are microseconds; `sold` and `squares` are of its sales, in units.

    `unbooked` is what its living runs have spent, each with the instant it will be booked at.
    """

    sold: float = 0.0
    squares: float = 0.0
    sales: int = 0
    sources: set[str] = field(default_factory=set)
    unconverted: set[str] = field(default_factory=set)
    first_us: int | None = None
    last_us: int | None = None
    first_run_us: int | None = None
    last_run_us: int | None = None
    unbooked: list[tuple[int, int]] = field(default_factory=list)

    def begun_us(self) -> int | None:
        seen = [us for us in (self.first_us, self.first_run_us) if us is not None]
        return min(seen) if seen else None

    def unbooked_between(self, start_us: int, end_us: int) -> int:
        """In millionths; both ends count."""
        return sum(micros for at, micros in self.unbooked if start_us <= at <= end_us)

    def reaches_beyond(self, us: int) -> bool:
        return self.last_us is not None and self.last_us >= us

    def runs_beyond(self, us: int) -> bool:
        return self.last_run_us is not None and self.last_run_us >= us


@dataclass(frozen=True, slots=True)
class Syncs:
    """Where the platforms stand. `configured` are the sources that a sync is expected of, whoever sells there."""

    cursors: Mapping[str, Cursor]
    configured: frozenset[str]

    def involved(self, life: Life) -> frozenset[str]:
        return self.configured | {name for name in life.sources if name in PLATFORM_SOURCES or name in self.cursors}

    def stale(self, sources: Iterable[str], policy: Policy, now: datetime) -> tuple[str, ...]:
        """Those never synced, failed, or synced longer ago than twice the interval."""
        return tuple(sorted(name for name in sources if self._is_stale(self.cursors.get(name), policy, now)))

    def _is_stale(self, cursor: Cursor | None, policy: Policy, now: datetime) -> bool:
        if cursor is None or cursor.succeeded_at is None or cursor.error is not None:
            return True
        return now - cursor.succeeded_at > 2 * policy.sync_interval

    def covered(self, sources: Iterable[str]) -> datetime | None:
        """Up to where all of them are known; None where nothing limits it."""
        ends = [at for name in sources if (cursor := self.cursors.get(name)) and (at := cursor.covered_at)]
        return min(ends, default=None)


@dataclass(frozen=True, slots=True)
class Deeds:
    """When the engine last did something to a deployment, by kind."""

    by_kind: Mapping[str, datetime]

    def at(self, kind: str) -> datetime | None:
        return self.by_kind.get(kind)

    def last_step(self) -> datetime | None:
        return max((at for kind, at in self.by_kind.items() if kind in _STEPS), default=None)


NO_DEEDS = Deeds({})


def read_lives(conn: Connection) -> dict[str, Life]:
    """By worker, '' for what is attributed to nobody."""
    lives: dict[str, Life] = defaultdict(Life)
    for row in conn.execute(select(totals)):
        life = lives[row.worker]
        if row.n == 0 and row.micros == 0:
            continue
        if row.unit:
            life.unconverted.add(row.unit)
        if row.side == "revenue":
            life.sources.add(row.source)
            if not row.unit and row.micros > 0 and row.n > 0 and row.kind in ("revenue", "adjustment"):
                life.sales += row.n
                life.sold += row.micros / MICROS
                life.squares += row.squares
        life.first_us = min(row.first_us, row.first_us if life.first_us is None else life.first_us)
        life.last_us = max(row.last_us, row.last_us if life.last_us is None else life.last_us)
    for row in conn.execute(select(run_totals.c.worker, run_totals.c.first_us, run_totals.c.last_us)):
        lives[row.worker].first_run_us, lives[row.worker].last_run_us = row.first_us, row.last_us
    for row in conn.execute(select(run_accounts.c.worker, run_accounts.c.last_us, run_accounts.c.micros)):
        lives[row.worker].unbooked.append((row.last_us, row.micros))
    return lives


def read_syncs(conn: Connection, configured: frozenset[str]) -> Syncs:
    found = {}
    for row in conn.execute(select(cursors)):
        covered, attempted, done = (
            None if us is None else from_us(us) for us in (row.covered_us, row.attempted_us, row.succeeded_us)
        )
        found[row.source] = Cursor(row.source, row.cursor, covered, attempted, done, row.error)
    return Syncs(found, configured)


def read_deeds(conn: Connection, until: datetime) -> dict[str, Deeds]:
    """What the engine executed, as of `until`."""
    found: dict[str, dict[str, datetime]] = defaultdict(dict)
    rows = conn.exec_driver_sql(
        "SELECT worker, kind, max(updated_us) FROM decisions WHERE state = 'executed' AND actor = 'engine'"
        " AND at_us <= ? GROUP BY worker, kind",
        (to_us(until),),
    )
    for worker, kind, us in rows:
        found[worker][kind] = from_us(us)
    return {worker: Deeds(kinds) for worker, kinds in found.items()}


def sale_sizes(lives: Mapping[str, Life], departments: Mapping[str, str]) -> dict[str, SaleSize | None]:
    """By worker: the size of the sale its average unit of revenue came with (the sum of squares over the sum)."""
    by_department: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    fleet = [0.0, 0.0]
    for worker, life in lives.items():
        for sums in (fleet, by_department[departments[worker]]) if worker in departments else (fleet,):
            sums[0] += life.squares
            sums[1] += life.sold
    sizes: dict[str, SaleSize | None] = {}
    for worker, department in departments.items():
        life = lives.get(worker) or Life()
        known = {"own": [life.squares, life.sold], "department": by_department[department], "fleet": fleet}
        sizes[worker] = next((SaleSize(sums[0] / sums[1], who) for who, sums in known.items() if sums[1] > 0), None)
    return sizes
