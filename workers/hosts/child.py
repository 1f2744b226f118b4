"""The process of one instance, as it is from its birth in the nursery to its end: it serves run after run."""

from __future__ import annotations

import gc
import os
import queue
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from nova.errors import NovaError
from nova.fleet.terms import resources_of
from workers.agents.registry import resolver
from workers.base_worker import BaseWorker, RunResult
from workers.context import RunContext
from workers.hosts.confines import confine, confine_processor, too_much_memory
from workers.hosts.desk import About
from workers.hosts.remote_desk import Line, RemoteDesk
from workers.hosts.wire import Channel, error_to_wire

if TYPE_CHECKING:
    from nova.fleet.terms import Resources
    from platforms.connections import Connections
    from platforms.hands import Hands

_TRACE_LINES = 400
_TOLD_CHARS = 8_000  # more than is recorded, so that a secret is found before it is cut in two


def live(channel: int, output: int) -> None:
    """Returns when the manager lets the process go."""
    gc.enable()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.set_inheritable(channel, False)
    wire = Channel(socket.socket(fileno=channel))
    first = wire.receive()
    if first is not None:
        _Instance(wire, first).serve()


class _Instance:
    """The main thread runs the agent's code; another one hears what the manager says meanwhile."""

    def __init__(self, channel: Channel, born: Mapping[str, Any]) -> None:
        os.environ.clear()
        os.environ.update(born["env"])
        time.tzset()
        self._limits: Resources = resources_of(born["limits"])
        self._agent: str = born["agent"]
        self._config: dict[str, Any] = born["config"]
        self._home = Path(born["home"])
        self._channel = channel
        self._line = Line(channel)
        self._jobs: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        self._desk: RemoteDesk | None = None
        self._asked_to_stop = False
        self._worker: BaseWorker | None = None
        self._checked: Any = None
        signal.signal(signal.SIGTERM, self._terminated)
        threading.Thread(target=self._listen, name="nova-channel", daemon=True).start()
        confine(self._limits)

    def serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._run(job)
        if self._worker is not None:
            self._worker.teardown()
        if "_connections" in self.__dict__:
            self._connections.close()

    def _terminated(self, _number: int, _frame: FrameType | None) -> None:
        self._stop()

    def _stop(self) -> None:
        self._asked_to_stop = True
        desk = self._desk
        if desk is not None:
            desk.stop()

    def _listen(self) -> None:
        while (message := self._channel.receive()) is not None:
            if "n" in message:
                self._line.answered(message)
            elif "run" in message:
                self._asked_to_stop = False
                self._jobs.put(message["run"])
            elif "stop" in message:
                self._stop()
            elif "leave" in message:
                self._jobs.put(None)
        os._exit(0)  # the manager is gone

    def _run(self, job: Mapping[str, Any]) -> None:
        os.environ["NOVA_RUN"] = job["about"]["run"]
        worker = os.getpid()
        self._currency: str = job["about"]["currency"]
        desk = RemoteDesk(self._line, About(**job["about"]), job["replicas"], self._platforms)
        self._desk = desk
        if self._asked_to_stop:
            desk.stop()
        before_s = _cpu_s()
        try:
            confine_processor(self._limits, _cpu_s(children=False))
            said = self._said(desk)
        except BaseException as problem:  # noqa: BLE001 - whatever the agent does is how its run ended
            said = self._raised(problem)
        sys.stdout.flush()
        if os.getpid() != worker:  # a copy that the agent forked, and that came to the end of the run too
            os._exit(0)
        desk.close({"done": {**said, "cpu_s": round(_cpu_s() - before_s, 6)}})
        self._desk = None

    def _said(self, desk: RemoteDesk) -> dict[str, Any]:
        if self._worker is None:
            agent, self._checked = resolver(self._home)(self._agent, self._config)
            worker = agent()
            worker.setup(RunContext(desk, self._checked))
            self._worker = worker
        result = self._worker.run(RunContext(desk, self._checked))
        if isinstance(result, RunResult):
            message = None if result.message is None else str(result.message)[-_TOLD_CHARS:]
            return {"ok": bool(result.ok), "message": message}
        return {"ok": True, "message": None}

    def _raised(self, problem: BaseException) -> dict[str, Any]:
        if isinstance(problem, NovaError):
            return {"error": error_to_wire(problem), "trace": []}
        lines = [line[:_TOLD_CHARS] for line in traceback.format_exc().splitlines()[-_TRACE_LINES:]]
        told = "".join(traceback.format_exception_only(problem)).strip()
        if isinstance(problem, MemoryError) and self._limits.memory_bytes is not None:
            told = f"{too_much_memory(self._limits)} ({told})"
        return {"raised": told[-_TOLD_CHARS:], "trace": lines}

    def _platforms(self, hands: Hands) -> Any:
        from nova.config import settings_of
        from platforms.clients import Platforms

        # Prices that name no currency are in that of the run.
        settings = settings_of({**os.environ, "NOVA_CURRENCY": self._currency})
        return Platforms(settings, hands, self._connections)

    @cached_property
    def _connections(self) -> Connections:
        from platforms.connections import Connections

        return Connections()


def _cpu_s(*, children: bool = True) -> float:
    """Of this process, and of what it started and waited for."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)[: 1 + children]
    used = [resource.getrusage(who) for who in whose]
    return sum(one.ru_utime + one.ru_stime for one in used)
