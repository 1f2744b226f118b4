"""One run in its thread: from the worker's object to the record of how it ended."""

from __future__ import annotations

import logging
import secrets
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nova.errors import BudgetExceeded, NovaError, Unreachable
from nova.ledger.effects import EffectHeld
from nova.ledger.limits import Breach, LimitReached, RunRef
from nova.money import Money
from workers.base_worker import BaseWorker, RunResult
from workers.context import RunContext
from workers.gate import Gate, LateRun
from workers.hosts.base import BudgetHit, Fact, RunEnded, Spec
from workers.hosts.leash_client import Leash
from workers.hosts.local_desk import LocalDesk
from workers.hosts.metering import Message
from workers.hosts.shell_run import CommandEnded, ShellRun
from workers.outbox import EffectsFailed
from workers.printed import printing_to

if TYPE_CHECKING:
    from nova.clock import Clock
    from nova.ledger.ledger import Ledger
    from workers.logfile import WorkerLogs

log = logging.getLogger(__name__)

_ERROR_CHARS = 4_000


@dataclass(frozen=True, slots=True)
class Services:
    """What every run of a manager shares. `agents` finds the class of an agent and its validated configuration.

    `home` is where commands run that say nothing else.
    """

    manager: str
    ledger: Ledger
    clock: Clock
    logs: WorkerLogs
    leash: Leash
    home: str
    agents: Callable[[str, Mapping[str, Any]], tuple[type[BaseWorker], Any]]
    platforms: Any = None


@dataclass(frozen=True, slots=True)
class Outcome:
    status: str  # succeeded, failed, interrupted
    crash: bool = False
    error: str | None = None

    @property
    def over(self) -> bool:
        """Whether a single run is made with it; one that crashed or was interrupted is to be made again."""
        return self.status != "interrupted" and not self.crash


class Cell:
    """Where the object of one instance is kept between its runs."""

    def __init__(self) -> None:
        self.worker: BaseWorker | None = None
        self.key: object = None
        self.config: Any = None

    def let_go(self) -> None:
        worker, self.worker = self.worker, None
        if worker is not None:
            try:
                worker.teardown()
            except Exception:
                log.exception("teardown_failed", extra={"action": "teardown_failed"})


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
        self.thread_id: int | None = None
        self.thread_began_s = 0.0  # CPU its thread had used before it
        self.cpu_s: float | None = None  # known when its thread is done
        self.crash = False
        self._cell = cell
        self._tell = tell
        self._refused: LimitReached | None = None
        self._unreachable: NovaError | None = None
        self._command: ShellRun | None = None
        self._command_cpu_s = 0.0
        self._verdict: Outcome | None = None
        self.slot: datetime | None = None  # the time of its schedule that it is for
        self.outcome: Outcome | None = None  # once it is over for the ledger

    @property
    def killable(self) -> bool:
        return self._command is not None

    @property
    def group(self) -> int | None:
        """The process group of its command, while there is one."""
        return self._command.group if self._command is not None else None

    def beat(self) -> None:
        self.heartbeat_at = self.services.clock.now()

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

    def write_log(self, lines: Sequence[str]) -> None:
        self.beat()
        self.services.logs.write(self.spec.worker, self.spec.instance, lines)

    def budget_hit(self, kind: str, breaches: tuple[Breach, ...], asked: Money | None = None) -> None:
        self._tell(BudgetHit(kind, self.spec.worker, self.id, breaches, asked))  # type: ignore[arg-type]

    def refuse(self, refusal: LimitReached) -> None:
        """A refused spending ends the run, even one that catches the error."""
        if self._refused is None:
            self._refused = refusal
            self.stopping.set()
            self.budget_hit("refused", refusal.refused, refusal.asked)

    def ask(self) -> None:
        """Wishes that it end soon."""
        self.stopping.set()

    def terminate(self, verdict: Outcome) -> None:
        """Asks its command's group to end too. Unless it then succeeds in time, `verdict` is how it ended."""
        self._signal(verdict, signal.SIGTERM)

    def kill(self, verdict: Outcome) -> None:
        self._signal(verdict, signal.SIGKILL)

    def _signal(self, verdict: Outcome, number: int) -> None:
        self._verdict = self._verdict or verdict
        self.stopping.set()
        command = self._command
        if command is not None:
            command.signal(number)

    def command(self, text: str, cwd: str | None, env: Mapping[str, str]) -> CommandEnded:
        """Runs a shell command that can be killed for real, and books what it says of money."""
        context = RunContext(LocalDesk(self), {})
        command = ShellRun(self.services.leash, self.services.ledger.store.currency, _booking(context), self.write_log)
        self._command = command
        if self._verdict is not None:
            raise LateRun(self._verdict.error)
        try:
            ended = command.run(text, cwd or self.services.home, env)
        finally:
            self._command = None
        self._command_cpu_s += ended.cpu_s
        return ended

    def execute(self) -> None:
        """The whole run, in the thread that calls it. Raises nothing."""
        self.thread_id = threading.get_native_id()
        self.thread_began_s = time.thread_time()
        with printing_to(self.write_log):
            outcome = self._outcome()
            if outcome.crash:
                self._cell.let_go()
        self.crash = outcome.crash
        self.thread_id = None
        self.cpu_s = time.thread_time() - self.thread_began_s + self._command_cpu_s
        self.end(outcome)

    def end(self, outcome: Outcome, *, hung: bool = False) -> bool:
        """Records how it ended, once; False when that was done already."""
        if not self.gate.close(outcome.error or outcome.status):
            return False
        self.outcome = outcome
        ended_at = self.services.clock.now()
        self.services.ledger.runs.ended(self.ref, ended_at, outcome.status, outcome.error, outcome.crash)
        self._tell(
            RunEnded(
                self.spec.worker, self.spec.instance, self.id, outcome.status, outcome.crash, outcome.error,
                self.started_at, ended_at, hung,
            )
        )  # fmt: skip
        return True

    def _outcome(self) -> Outcome:
        try:
            with self.reaching_the_ledger():
                self.services.ledger.runs.started(self.ref, self.started_at, self.slot)
            result = self._worker_run()
        except BaseException as problem:  # noqa: BLE001 - whatever an agent does must not end its manager
            return self._failed(problem)
        if self._refused is not None:
            return Outcome("interrupted", error=self._refused.message)
        if self._verdict is not None and self._verdict.status == "failed":
            return self._verdict
        if isinstance(result, RunResult) and not result.ok:
            return Outcome("failed", error=result.message or "the run said that it failed")
        return Outcome("succeeded")

    def _failed(self, problem: BaseException) -> Outcome:
        if self._refused is not None:
            return Outcome("interrupted", error=self._refused.message)
        if self._verdict is not None:
            return self._verdict
        if isinstance(problem, BudgetExceeded):
            return Outcome("interrupted", error=problem.message)
        if self._unreachable is not None:
            self.write_log([self._unreachable.message])
            return Outcome("interrupted", error=self._unreachable.message)
        told = problem.message if isinstance(problem, NovaError) else _last_line(problem)
        if not isinstance(problem, NovaError):
            self.write_log(traceback.format_exc().splitlines())
        else:
            self.write_log([told])
        crash = not isinstance(problem, EffectHeld | EffectsFailed)  # which are tried again in their own time
        return Outcome("failed", crash=crash, error=told[-_ERROR_CHARS:])

    def _worker_run(self) -> RunResult | None:
        spec, cell = self.spec, self._cell
        key = (spec.agent, spec.generation, spec.config)
        if cell.worker is None or cell.key != key:
            cell.let_go()
            agent, cell.config = self.services.agents(spec.agent, spec.config)
            worker = agent()
            context = RunContext(LocalDesk(self), cell.config)
            worker.setup(context)
            cell.worker, cell.key = worker, key
        else:
            worker, context = cell.worker, RunContext(LocalDesk(self), cell.config)
        return worker.run(context)


def _last_line(problem: BaseException) -> str:
    return "".join(traceback.format_exception_only(problem)).strip()


def _booking(context: RunContext) -> Callable[[Message], None]:
    def book(message: Message) -> None:
        if message.kind == "claim":
            context.claim(message.source or "", message.id or "")
        elif message.kind == "state":
            context.state[message.key or ""] = message.value
        elif message.amount is not None and message.kind == "earn":
            context.earn(message.amount, message.id or "")
        elif message.amount is not None:
            (context.spend if message.kind == "spend" else context.spent)(message.amount, message.reason or "")

    return book
