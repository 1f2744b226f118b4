"""Managers that acquire, release, stop, freeze, are fenced and wake in whatever order: one at a time runs a worker."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import select

from nova.clock import ManualClock
from nova.ledger.fence import Fenced
from nova.ledger.instances import Instances, ManagerRecord
from nova.ledger.leases import Leases
from nova.ledger.limits import RunRef
from nova.ledger.outbox import Outbox
from nova.ledger.runs import Runs
from nova.ledger.schema import outbox, runs
from nova.ledger.store import Store

WORKERS = ("a", "b")
processes = st.integers(0, 2)
workers = st.sampled_from(WORKERS)
some = st.sets(workers, min_size=1)


class Process:
    """One that is a manager after the other, and believes of itself what it last heard."""

    def __init__(self, number: int, home: str, clock: ManualClock) -> None:
        url = f"sqlite:///{home}/ledger.db"
        self.number, self.clock, self.lives = number, clock, 0
        self.store = Store.open(url, currency="USD", zone=ZoneInfo("UTC"), clock=clock)
        self.leases, self.runs, self.outbox = Leases(self.store), Runs(self.store), Outbox(self.store)
        self.managers = Instances(self.store).managers
        self.begin()

    def begin(self) -> None:
        self.lives += 1
        self.id = f"m{self.number}.{self.lives}"
        now = self.clock.now()
        self.store._fence = None  # it is another process now
        self.managers.register(ManagerRecord(self.id, 42, "host", "all", now, now))
        self.store.guard(self.id)
        self.held: set[str] = set()
        self.open: dict[str, RunRef] = {}
        self.stopped = False


class Managing(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.home = tempfile.mkdtemp()
        self.clock = ManualClock(datetime(2026, 11, 21, 12, tzinfo=UTC))
        self.all = [Process(number, self.home, self.clock) for number in range(3)]
        self.count = 0
        self.fenced: set[str] = set()
        self.holder: dict[str, str | None] = {}
        self.token: dict[str, int] = defaultdict(int)
        self.done: set[str] = set()
        for worker in WORKERS:
            self.all[0].outbox.put(worker, "mail", "1", None)

    def teardown(self) -> None:
        if hasattr(self, "all"):
            for one in self.all:
                one.store.close()
            shutil.rmtree(self.home)

    def refused(self, one: Process) -> bool:
        return one.id in self.fenced

    @rule(number=processes, names=some)
    def acquire(self, number: int, names: set[str]) -> None:
        one = self.all[number]
        with suppress(Fenced):
            got = one.leases.acquire(one.id, names)
            assert not self.refused(one)
            free = {name for name in names if self.holder.get(name) in (None, one.id)}
            assert got.keys() == (set() if one.stopped else free)
            for name in got:
                self.token[name] += self.holder.get(name) is None
                self.holder[name] = one.id
            assert got == {name: self.token[name] for name in got}
            one.held |= got.keys()

    @rule(number=processes, names=some)
    def release(self, number: int, names: set[str]) -> None:
        """Of what it has no run of."""
        one = self.all[number]
        names -= one.open.keys()
        with suppress(Fenced):
            one.leases.release(one.id, names)
            if names:
                assert not self.refused(one)
            self.holder |= {name: None for name in names if self.holder.get(name) == one.id}
            one.held -= names

    @rule(number=processes, worker=workers)
    def run_and_take(self, number: int, worker: str) -> None:
        """Whoever believes that it has the lease may begin, also one that was frozen until now."""
        one = self.all[number]
        if worker not in one.held or worker in one.open or one.stopped:
            return
        self.count += 1
        run = RunRef(f"r{self.count}", worker, f"{worker}#1", "d", one.id)
        try:
            one.runs.started(run, self.clock.now())
            one.outbox.take(worker, run.run)
        except Fenced:
            assert self.refused(one)
            return
        assert not self.refused(one)
        one.open[worker] = run

    @rule(number=processes, worker=workers)
    def mark_and_end(self, number: int, worker: str) -> None:
        one = self.all[number]
        run = one.open.pop(worker, None)
        if run is None:
            return
        try:
            if one.outbox.done(worker, run.run, "mail", "1"):
                assert worker not in self.done
                self.done.add(worker)
            assert one.runs.end(run, self.clock.now(), "succeeded")
        except Fenced:
            assert self.refused(one)

    @rule(number=processes, by=processes)
    def fence(self, number: int, by: int) -> None:
        dead, one = self.all[number], self.all[by]
        if dead is one:
            return
        with suppress(Fenced):
            done = one.leases.fence(dead.id, one.id, "silent")
            assert not self.refused(one)
            assert (done is not None) == (dead.id not in self.fenced and not dead.stopped)
            if done is not None:
                self.fenced.add(dead.id)
                assert {run.worker for run in done.runs} == dead.open.keys()

    @rule(number=processes, by=processes)
    def free(self, number: int, by: int) -> None:
        """A stopped one's only when its process is gone; here nothing of it hangs."""
        dead, one = self.all[number], self.all[by]
        with suppress(Fenced):
            freed = one.leases.free(dead.id)
            mine = {name for name, holder in self.holder.items() if holder == dead.id}
            assert freed == (len(mine) if dead.stopped or self.refused(dead) else 0)
            if freed:
                self.holder |= dict.fromkeys(mine)

    @rule(number=processes)
    def stop(self, number: int) -> None:
        one = self.all[number]
        if one.open:
            return
        with suppress(Fenced):
            one.managers.stopped(one.id, self.clock.now())
            one.stopped = True
            self.holder |= {name: None for name, holder in self.holder.items() if holder == one.id}

    @rule(number=processes)
    def begin_anew(self, number: int) -> None:
        one = self.all[number]
        if self.refused(one) or one.stopped:
            one.begin()

    @rule()
    def time_passes(self) -> None:
        self.clock.advance(30)

    @invariant()
    def one_at_a_time_runs_a_worker(self) -> None:
        if not hasattr(self, "all"):
            return
        with self.all[0].store.read() as conn:
            found = conn.execute(select(runs.c.worker, runs.c.manager).where(runs.c.ended_us.is_(None))).all()
            at = {row.worker: row.run for row in conn.execute(select(outbox).where(outbox.c.state == "pending"))}
        assert len({row.worker for row in found}) == len(found), "two runs of one worker at once"
        assert all(self.holder[row.worker] == row.manager for row in found), "a run without a lease"
        assert all(row.manager not in self.fenced for row in found)
        assert self.done.isdisjoint(at)

    @invariant()
    def the_ledger_says_who_holds_what(self) -> None:
        if hasattr(self, "all"):
            known = {name: lease.manager for name, lease in self.all[0].leases.all().items()}
            assert known == {name: holder for name, holder in self.holder.items() if name in known}


TestManaging = Managing.TestCase
TestManaging.settings = settings(
    max_examples=8, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
