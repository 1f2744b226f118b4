"""What serves an instance whose runs are in a process of its own: it keeps the process, and answers what that asks."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nova.errors import NovaError
from nova.fleet.terms import Resources, plain
from workers.base_worker import RunResult
from workers.hosts.confines import how_it_ended, too_many_processes
from workers.hosts.desk import LONGEST_S
from workers.hosts.environment import MARK, allowed, declared
from workers.hosts.process import Process
from workers.hosts.wire import (
    BadMessage,
    error_of_wire,
    error_to_wire,
    lane,
    read_call,
    seconds,
    text,
    text_or_none,
    texts,
)
from workers.log_lines import LEVELS

if TYPE_CHECKING:
    from workers.hosts.base import Spec
    from workers.hosts.desk import Desk
    from workers.hosts.run import Run
    from workers.hosts.services import Services

log = logging.getLogger(__name__)

LEAVE_S = 5.0  # for the author's teardown
MOST_PROCESSES = 256  # of an instance that declares no limit
_COUNT_MS, _COUNT_SELDOM_MS = 100, 500
_EXIT_S = 1.0  # from the end of its channel to its end
_LOG_RATE = 4_000_000  # characters a second taken of what it logs; one that logs more is slowed


class ProcessDied(NovaError):
    """The process of the run died."""


class ManagerWasSilent(NovaError):
    """The manager stood still for too long, so that its processes were ended."""


class Raised(Exception):
    """What the agent raised in its process; `told` is the last line of `trace`."""

    def __init__(self, told: str, trace: list[str]) -> None:
        super().__init__(told)
        self.told = told
        self.trace = trace


class RemoteWorker:
    """One instance's process, from run to run. A dead one is replaced at the next run."""

    def __init__(self, services: Services, spec: Spec) -> None:
        self._services = services
        self._worker = spec.worker
        self._instance = spec.instance
        self._agent = spec.agent
        self._config = spec.config
        self._limits: Resources = spec.resources
        self._secrets = spec.secrets
        self._names = spec.env
        self._index = spec.index
        self._process: Process | None = None
        self._lock = threading.Lock()
        self._asked: int | None = None  # a signal that came before the process
        self.cpu_s = 0.0  # of the runs its process has done
        self._run_cpu_s = 0.0  # of the last one
        self._ooms = 0
        self._leaving = False

    @property
    def warden(self) -> int | None:
        """Whose descendants the instance is, while it has a process."""
        process = self._process
        return process.warden if process is not None and not process.dead.is_set() else None

    def run(self, run: Run, desk: Desk) -> RunResult:
        """What the run said. Raises what it raised, or how its process died."""
        process = self._ready(run)
        process.on_output = run.write_log
        began = time.monotonic()
        try:
            job = {"about": asdict(desk.about), "replicas": desk.replicas}
            said = self._serve(process, desk, job)
        except _Ended:
            raise self._death(process, began) from None
        except BaseException:  # whatever it was: a process whose run was not heard to its end may still be at it
            self._kill(process)
            raise
        finally:
            process.on_output = self._between
            self.close()
        return said.result()

    def take_cpu_s(self) -> float:
        """Of the run that has ended; orders that were for it are forgotten."""
        taken, self._run_cpu_s, self._asked = self._run_cpu_s, 0.0, None
        return taken

    def stop(self) -> None:
        """Tells the run that it should end soon."""
        process = self._process
        if process is not None:
            process.channel.post({"stop": True})

    def signal(self, number: int) -> None:
        """To all of its group; one that comes before the process is sent at its birth."""
        with self._lock:
            self._asked = number
            process = self._process
        if process is not None:
            process.signal(number)

    def leave(self) -> None:
        """Asks the process to tear down and end; `gone` tells when it has."""
        process, self._leaving = self._process, True
        if process is not None:
            process.channel.post({"leave": True})

    def gone(self, within_s: float) -> bool:
        process = self._process
        return process is None or process.dead.wait(max(0.0, within_s))

    def close(self) -> None:
        """Closes the channel of a process that is dead."""
        process = self._process
        if process is not None and process.dead.is_set():
            process.channel.close()

    def kill(self) -> None:
        process, self._leaving = self._process, True
        if process is not None:
            process.signal(signal.SIGKILL)

    def let_go(self, *, at_once: bool = False) -> None:
        """Returns when nothing of it is left."""
        if not at_once:
            self.leave()
        if at_once or not self.gone(LEAVE_S):
            self.kill()
            if self._process is not None:
                self._process.dead.wait()
        self.close()

    def _ready(self, run: Run) -> Process:
        process = self._process
        if process is not None and process.alive and not process.channel.quiet():
            log.warning("late_message", extra={"action": "late_message", "instance": self._instance})
            self._between(["nova: a message came after the end of its run; the process is replaced"])
            self._kill(process)
        if process is None or not process.alive:
            if process is not None:
                process.dead.wait()
                self.close()
            process = self._born(run)
        return process

    def _born(self, run: Run) -> Process:
        nursery, known = self._services.nursery, self._services.variables()
        assert nursery is not None
        process = nursery.start()
        process.on_output, process.on_death = run.write_log, self._died
        self.cpu_s, self._ooms = 0.0, _oom_kills()
        with self._lock:
            self._process, asked = process, self._asked
        if asked is not None:
            process.signal(asked)
        environ = {
            **allowed(os.environ),
            **declared(self._names, self._secrets, known),
            "NOVA_WORKER": self._worker,
            "NOVA_INSTANCE": self._instance,
            "NOVA_INDEX": str(self._index),
            "NOVA_MANAGER": self._services.manager,
            MARK: process.mark,
        }
        if self._limits.processes is not None:
            process.limit_processes(self._limits.processes, _COUNT_MS)
        else:
            process.limit_processes(MOST_PROCESSES, _COUNT_SELDOM_MS)
        first = {
            "env": environ, "limits": plain(self._limits), "agent": self._agent, "config": self._config,
            "home": self._services.home,
        }  # fmt: skip
        try:
            process.channel.send(first)
        except OSError:
            raise self._death(process, time.monotonic()) from None
        return process

    def _serve(self, process: Process, desk: Desk, job: Mapping[str, Any]) -> _Done:
        """Answers it until its run is over. Raises _Ended when it is gone before."""
        pace = _Pace()
        _send(process, {"run": job})
        while (message := process.channel.receive()) is not None:
            if "call" in message:
                _send(process, {"n": _number(message), **_answer(desk, message)})
            elif "note" in message:
                pace.keep(_note(desk, message))
            elif "done" in message:
                done = _Done.of(message["done"])
                self.cpu_s += done.cpu_s
                self._run_cpu_s = done.cpu_s
                return done
            else:
                raise BadMessage("the worker's process sent a message of no known kind")
        raise _Ended

    def _death(self, process: Process, began: float) -> NovaError:
        """Waits until nothing of it is left, and says how it came to that."""
        closed = not process.exited(_EXIT_S)
        if closed:
            process.signal(signal.SIGKILL)
        process.dead.wait()
        found, silent = process.exit, self._services.was_silent(began)
        assert found is not None
        self._run_cpu_s = max(0.0, found.cpu_s - self.cpu_s)
        if silent:
            return ManagerWasSilent()
        if closed:
            return ProcessDied("the process closed its channel to the manager in the middle of the run")
        if found.over == "processes":
            return ProcessDied(too_many_processes(self._limits.processes or MOST_PROCESSES))
        if not found.wanted:
            return ProcessDied("what guarded the process was killed, and the process with it")
        told = how_it_ended(found.code, self._limits, memory_ran_out=_oom_kills() > self._ooms)
        tail = "\n".join(process.tail)
        return ProcessDied(f"{told}\n{tail}" if tail else told)

    def _kill(self, process: Process) -> None:
        process.signal(signal.SIGKILL)
        process.dead.wait()

    def _between(self, lines: Any) -> None:
        self._services.logs.write(self._worker, self._instance, lines)

    def _died(self, process: Process) -> None:
        """Called as soon as nothing of it is left, by the thread that watches all processes."""
        found = process.exit
        assert found is not None
        if found.escaped:
            self._between([f"nova: processes that it had left behind, now ended: {found.escaped}"])
        if process.on_output == self._between and not self._leaving:
            told = how_it_ended(found.code, self._limits).replace(" in the middle of the run", "")
            if found.over == "processes":
                told = f"the process {too_many_processes(self._limits.processes or MOST_PROCESSES)}"
            log.warning("idle_process_died", extra={"action": "idle_process_died", "instance": self._instance})
            self._between([f"nova: {told}, between two runs; the next run gets another one"])


class _Ended(Exception):
    """The channel is at its end."""


@dataclass(frozen=True, slots=True)
class _Done:
    """How a process says that its run ended: with a result, or with what the agent raised."""

    cpu_s: float
    outcome: RunResult | Exception

    @classmethod
    def of(cls, said: Any) -> _Done:
        if not isinstance(said, dict):
            raise BadMessage("the worker's process did not say how its run ended")
        spent = said.get("cpu_s")
        if not isinstance(spent, int | float) or isinstance(spent, bool) or not 0 <= spent < math.inf:
            raise BadMessage("the worker's process did not say what processor time its run took")
        return cls(float(spent), _outcome(said))

    def result(self) -> RunResult:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def _outcome(said: Mapping[str, Any]) -> RunResult | Exception:
    if "error" in said:
        if not isinstance(said["error"], dict):
            raise BadMessage("the worker's process did not say how its run failed")
        return error_of_wire(said["error"])
    if "raised" in said:
        return Raised(text(said["raised"]), texts(said.get("trace")))
    if not isinstance(said.get("ok"), bool):
        raise BadMessage("the worker's process did not say whether its run succeeded")
    return RunResult(said["ok"], text_or_none(said.get("message")))


def _send(process: Process, message: dict[str, Any]) -> None:
    try:
        process.channel.send(message)
    except OSError:
        raise _Ended from None


class _Pace:
    """Slows who logs more than is taken of it."""

    def __init__(self) -> None:
        self._ahead_until = time.monotonic()

    def keep(self, size: int) -> None:
        now = time.monotonic()
        self._ahead_until = max(self._ahead_until, now - 1.0) + size / _LOG_RATE
        if self._ahead_until > now:
            time.sleep(min(0.5, self._ahead_until - now))


def _number(message: Mapping[str, Any]) -> int:
    number = message.get("n")
    if not isinstance(number, int) or isinstance(number, bool):
        raise BadMessage("the worker's process sent a call without its number")
    return number


def _answer(desk: Desk, message: Mapping[str, Any]) -> dict[str, Any]:
    name, arguments = read_call(message.get("call"), message.get("args"))
    if name == "settle" and not arguments[0].startswith(f"{desk.about.run}:"):
        raise BadMessage("the worker's process settled a reservation that is not its run's")
    try:
        return {"value": getattr(desk, name)(*arguments)}
    except NovaError as problem:
        return {"error": error_to_wire(problem)}
    except Exception as problem:
        log.exception("call_failed", extra={"action": "call_failed", "call": name})
        return {"error": error_to_wire(NovaError(f"{name} failed: {type(problem).__name__}: {problem}"))}


def _note(desk: Desk, message: Mapping[str, Any]) -> int:
    """The characters that were written."""
    arguments = message.get("args")
    match message["note"], arguments:
        case "beat", [int() | float() as for_s] if 0 <= for_s <= LONGEST_S:
            desk.beat(for_s)
            return 0
        case "printed", [lines, "stdout" | "stderr" as stream]:
            written = texts(lines)
            desk.write_log(written, stream)
            return sum(map(len, written))
        case "logged", [str(level), str(event), dict(fields)] if level in LEVELS:
            desk.log(level, event, fields)
            return len(event) + len(repr(fields))
        case "seen", [platform, took, bool() as limited, error]:
            desk.seen(lane(platform), seconds(took), limited, text_or_none(error))
            return 100
    raise BadMessage("the worker's process sent a note of no known kind")


def _oom_kills() -> int:
    """How often the system has killed a process for want of memory, where it tells."""
    try:
        with open("/proc/vmstat", "rb") as file:  # noqa: PTH123
            return next((int(line.split()[1]) for line in file if line.startswith(b"oom_kill ")), 0)
    except OSError:
        return 0
