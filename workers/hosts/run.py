"""One run in its thread: from the worker's object to the record of how it ended."""

from __future__ import annotations

import logging
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from math import inf
from typing import TYPE_CHECKING, Any

from nova.errors import BudgetExceeded, NovaError, Unreachable
from nova.ledger.limits import Booked, Breach, LimitReached, RunRef
from nova.ledger.run_records import ERROR_CHARS
from nova.money import Money
from platforms.base import Stopped
from workers.agents.registry import COMMANDS
from workers.base_worker import RunResult
from workers.gate import Gate, LateRun
from workers.hosts.base import BudgetHit, Fact, Overspent, RunEnded, Spec
from workers.hosts.cell import Cell
from workers.hosts.command import booking
from workers.hosts.environment import demand
from workers.hosts.imputing import Imputing
from workers.hosts.leader import starter
from workers.hosts.local_desk import LocalDesk
from workers.hosts.outcome import Outcome, failure
from workers.hosts.remote import ManagerWasSilent, RemoteWorker
from workers.hosts.services import Services
from workers.hosts.shell_run import CommandEnded, ShellRun
from workers.printed import printing_to

if TYPE_CHECKING:
    from workers.breaker import Trip
    from workers.normals import Meter

log = logging.getLogger(__name__)


def new_run_id(now: datetime) -> str:
    """Sorts by time, so that indexes grow at their end."""
    return f"{int(now.timestamp() * 1000):012x}{secrets.token_hex(8)}"


class Run:
    """`tell` takes the facts. Whoever ends the run first, its thread or its host, records it; the other is refused."""

    def __init__(self, spec: Spec, services: Services, cell: Cell, tell: Callable[[Fact], None]) -> None:
        self.spec = spec
        self.services = services
        self.started_at = services.clock.now()
        self.id = new_run_id(self.started_at)
        self.ref = RunRef(self.id, spec.worker, spec.instance, spec.department, services.manager)
        self.gate = Gate()
        self.stopping = threading.Event()
        self.heartbeat_at = self.started_at
        self.probe = spec.probe
        self.progressed = False  # it earned, claimed or changed state
        self.cost = 0  # millionths
        self.overspent: Trip | None = None
        self._alive_until = services.clock.monotonic()
        self._meter: Meter | None = None
        if services.normals is not None:
            self._meter = services.normals.meter(spec.worker, spec.instance, self.started_at)
        self.thread_id: int | None = None
        self.thread_began_s = 0.0  # CPU its thread had used before it
        self.cpu_s: float | None = None  # known when its thread is done
        self.crash = False
        self._cell = cell
        self._tell = tell
        self.refused: BudgetExceeded | None = None
        self._unreachable: NovaError | None = None
        self._command: ShellRun | None = None
        self._remote: RemoteWorker | None = None
        self._killing = threading.Lock()  # so that an order for this run never meets the next one
        self._others_cpu_s = 0.0
        self._verdict: Outcome | None = None
        self.imputing = Imputing(self) if Imputing.of(spec) else None
        self.overdrawn = False
        self.slot: datetime | None = None  # the time of its schedule that it is for
        self.outcome: Outcome | None = None  # once it is over for the ledger

    @property
    def killable(self) -> bool:
        return self._command is not None or self._remote is not None

    @property
    def group(self) -> int | None:
        """The process group of its command, while there is one."""
        command = self._command
        return command.group if command is not None else None

    @property
    def warden(self) -> int | None:
        """Whose descendants its process or command and all that started are, while there is one."""
        command, remote = self._command, self._remote
        if command is not None:
            return command.warden
        return remote.warden if remote is not None else None

    def beat(self, for_s: float = 0.0) -> None:
        """`for_s`: so long it is known to be well without another sign."""
        clock = self.services.clock
        self.heartbeat_at = clock.now()
        self._alive_until = max(self._alive_until, clock.monotonic() + for_s)

    def silent_at(self, now: float) -> float:
        """From when on (monotonic) it is without a sign of life for too long; never while it waits for nova."""
        if not self.spec.heartbeat_s:
            return inf
        return (now if self.gate.busy else self._alive_until) + self.spec.heartbeat_s

    @property
    def process_cpu_s(self) -> float:
        """What its process had used before it."""
        return self._remote.cpu_s if self._remote is not None else 0.0

    @contextmanager
    def passing(self) -> Iterator[None]:
        self.beat()
        with self.gate.passing(), self.reaching_the_ledger():
            yield

    @contextmanager
    def reaching_the_ledger(self) -> Iterator[None]:
        """A run that fails because the ledger could not be written, as on a full disk, is no crash of its agent.

        What the agent did wrong itself is told with errors of their own classes.
        """
        try:
            yield
        except NovaError as problem:
            if type(problem) in (NovaError, Unreachable):
                self._unreachable = problem
            raise

    def write_log(self, lines: Sequence[str], stream: str = "stdout") -> None:
        self.beat()
        self.services.logs.write(self.spec.worker, self.spec.instance, lines, run=self.id, stream=stream)

    def log(self, level: str, message: str, fields: Mapping[str, Any] | None = None) -> None:
        self.beat()
        spec = self.spec
        self.services.logs.write(
            spec.worker, spec.instance, [message], run=self.id, level=level, stream=None, fields=fields
        )

    def budget_hit(self, kind: str, breaches: tuple[Breach, ...], asked: Money | None = None) -> None:
        self._tell(BudgetHit(kind, self.spec.worker, self.id, breaches, asked, self.spec.instance))  # type: ignore[arg-type]

    def refuse(self, refusal: LimitReached) -> None:
        """A refused spending ends the run, even one that catches the error."""
        if self.refused is None:
            self.refused = refusal
            self.ask()
            self.budget_hit("refused", refusal.refused, refusal.asked)

    def overdraw(self, refusal: LimitReached) -> None:
        """What it costs by the hour was refused: no call of its own is there to fail, so that its host ends it."""
        self.overdrawn = True
        self.refuse(refusal)

    def booked(self, booked: Booked) -> None:
        """Tells of the limits that a spending broke, or has come near to, and takes in what the run has cost."""
        self.took(booked.total)
        if booked.near:
            self.budget_hit("near", booked.near)
        if booked.breaches:
            self.budget_hit("broken", booked.breaches)

    def weigh(self, price: Money) -> None:
        """Raises BudgetExceeded where the run would then cost far more than is normal, and ends it."""
        if self.overspent is None and self._meter is not None and price.currency == self.services.ledger.store.currency:
            trip = self._meter.weigh(price.micros)
            if trip is not None:
                self._overspend(trip)
        if self.overspent is not None:
            raise _of_trip(self.overspent)

    def took(self, total: int | None) -> None:
        """It has spent `total` millionths by now; None: nothing more."""
        if total is None:
            return
        self.cost = max(self.cost, total)
        trip = self._meter.took(total) if self._meter is not None else None
        if trip is not None and self.overspent is None:
            self._overspend(trip)

    def _overspend(self, trip: Trip) -> None:
        self.overspent = trip
        self.refused = self.refused or _of_trip(trip)
        self.ask()
        self._tell(Overspent(self.spec.worker, self.spec.instance, self.id, trip, self.probe))

    def ask(self) -> None:
        """Wishes that it end soon."""
        self.stopping.set()
        remote = self._remote
        if remote is not None:
            remote.stop()

    def terminate(self, verdict: Outcome) -> None:
        """Asks its command's group to end too. Unless it then succeeds in time, `verdict` is how it ended."""
        self._signal(verdict, signal.SIGTERM)

    def kill(self, verdict: Outcome) -> None:
        self._signal(verdict, signal.SIGKILL)

    def _signal(self, verdict: Outcome, number: int) -> None:
        with self._killing:
            self._verdict = self._verdict or verdict
            for one in (self._command, self._remote):
                if one is not None:
                    one.signal(number)
        self.ask()

    def command(self, text: str, cwd: str | None, env: Mapping[str, str]) -> CommandEnded:
        """Runs a shell command that can be killed for real, and books what it says of money."""
        desk, limits = LocalDesk(self), self.spec.resources
        start = starter(self.services.nursery, self.services.leash)
        command = ShellRun(start, desk.about.currency, booking(desk), self.write_log, limits)
        self._command = command
        if self._verdict is not None:
            raise LateRun(self._verdict.error)
        began, marks = time.monotonic(), {"NOVA_RUN": self.id, "NOVA_MANAGER": self.services.manager}
        try:
            ended = command.run(text, cwd or self.services.home, {**env, **marks})
        finally:
            self._command = None
        if ended.code == -signal.SIGKILL and self.services.was_silent(began):
            raise ManagerWasSilent
        self._others_cpu_s += ended.cpu_s
        return ended

    def execute(self) -> None:
        """The whole run, in the thread that calls it. Raises nothing."""
        self.thread_id = threading.get_native_id()
        self.thread_began_s = time.thread_time()
        with printing_to(self.write_log):
            outcome = self._verdict or self._outcome()  # one that was ended before it had a thread does not begin
            if outcome.crash:
                self._cell.let_go(at_once=self._verdict is not None)
        self.crash = outcome.crash
        self.thread_id = None
        self.cpu_s = time.thread_time() - self.thread_began_s + self._others_cpu_s
        self.end(outcome)

    def end(self, outcome: Outcome, *, hung: bool = False) -> bool:
        """Records how it ended, once; False when that was done already."""
        if not self.gate.close(outcome.error or outcome.status):
            return False
        self.outcome = outcome = replace(outcome, error=outcome.error and self._recordable(outcome.error))
        self.cost += self.imputing.end() if self.imputing is not None else 0
        ended_at = self.services.clock.now()
        if self._meter is not None and outcome.status == "succeeded":
            self._meter.succeeded(self.cost)
        self.services.ledger.runs.ended(self.ref, ended_at, outcome.status, outcome.error, outcome.crash)
        self._tell(
            RunEnded(
                self.spec.worker, self.spec.instance, self.id, outcome.status, outcome.crash, outcome.error,
                self.started_at, ended_at, hung, self.cost, self.progressed, self.probe,
            )
        )  # fmt: skip
        return True

    def _recordable(self, error: str) -> str:
        """Without secrets, cut only then, and without half characters, which a ledger cannot take."""
        clean = self.services.logs.scrubber.text(error)[-ERROR_CHARS:]
        return clean.encode("utf-8", "replace").decode()

    def _outcome(self) -> Outcome:
        try:
            with self.reaching_the_ledger():
                self.services.ledger.runs.started(self.ref, self.started_at, self.slot)
            complaint = _complaint(self._worker_run())
        except BaseException as problem:  # noqa: BLE001 - whatever an agent does must not end its manager
            return self._failed(problem)
        if self.refused is not None:
            return Outcome("interrupted", error=self.refused.message)
        if self._verdict is not None and self._verdict.status == "failed":
            return self._verdict
        return Outcome("succeeded") if complaint is None else Outcome("failed", error=complaint)

    def _failed(self, problem: BaseException) -> Outcome:
        if self.refused is not None:
            return Outcome("interrupted", error=self.refused.message)
        if self._verdict is not None:
            return self._verdict
        if isinstance(problem, BudgetExceeded):
            return Outcome("interrupted", error=problem.message)
        if self._unreachable is not None:
            self.log("ERROR", self._unreachable.message)
            return Outcome("interrupted", error=self._unreachable.message)
        if isinstance(problem, ManagerWasSilent | Stopped):
            return Outcome("interrupted", error=problem.message)
        try:
            outcome, shown = failure(problem)
        except Exception as untold:  # noqa: BLE001 - an error of the agent's own making may not even let itself be told
            outcome, shown = failure(untold)
        self.log("ERROR", shown)
        return outcome

    def _worker_run(self) -> RunResult | None:
        self._unlock_secrets()
        if self.imputing is not None:
            self.imputing.begin()
        if self.spec.runtime == "process" and self.spec.agent not in COMMANDS:
            return self._run_in_process()
        return self._run_here()

    def _unlock_secrets(self) -> None:
        """Raises MissingSecret for a declared one that has no value; none of the others is ever logged."""
        if self.spec.secrets:
            known = self.services.variables()
            demand(self.spec.secrets, known)
            self.services.logs.scrubber.add(known[name] for name in self.spec.secrets)

    def _run_in_process(self) -> RunResult | None:
        remote = self._cell.process_for(self.services, self.spec)
        with self._killing:
            if self._verdict is not None:
                raise LateRun(self._verdict.error)
            self._remote = remote
        try:
            return remote.run(self, LocalDesk(self))
        finally:
            with self._killing:
                self._remote = None
                self._others_cpu_s += remote.take_cpu_s()

    def _run_here(self) -> RunResult | None:
        return self._cell.run(self.services, self.spec, LocalDesk(self))


def _complaint(result: RunResult | None) -> str | None:
    """What a run that did not succeed says of it."""
    if isinstance(result, RunResult) and not result.ok:
        return str(result.message or "the run said that it failed")
    return None


def _of_trip(trip: Trip) -> BudgetExceeded:
    return BudgetExceeded(trip.reason, hint="its breaker opens: `nova workers health` says what follows")
