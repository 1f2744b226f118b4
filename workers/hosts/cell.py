"""Where the worker's object of one instance, or its process, is kept from run to run."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workers.base_worker import BaseWorker, RunResult
from workers.context import RunContext
from workers.hosts.remote import RemoteWorker

if TYPE_CHECKING:
    from workers.hosts.base import Spec
    from workers.hosts.desk import Desk
    from workers.hosts.pool import ThreadPool
    from workers.hosts.services import Services

log = logging.getLogger(__name__)

_DEATH_S = 0.5  # a process group needs to die


class Cell:
    def __init__(self) -> None:
        self.worker: BaseWorker | None = None
        self.remote: RemoteWorker | None = None
        self._key: object = None
        self._config: Any = None

    def process_for(self, services: Services, spec: Spec) -> RemoteWorker:
        """The one it has, or another where something else is declared by now."""
        key = (spec.agent, spec.generation, spec.config, spec.resources, spec.secrets, spec.env)
        if self.remote is None or self._key != key:
            self.let_go()
            self.remote, self._key = RemoteWorker(services, spec), key
        return self.remote

    def run(self, services: Services, spec: Spec, desk: Desk) -> RunResult | None:
        """In this thread, by the object it has, or another where something else is declared by now."""
        key = (spec.agent, spec.generation, spec.config)
        if self.worker is None or self._key != key:
            self.let_go()
            agent, self._config = services.agents(spec.agent, spec.config)
            worker, context = agent(), RunContext(desk, self._config)
            worker.setup(context)
            self.worker, self._key = worker, key
        else:
            worker, context = self.worker, RunContext(desk, self._config)
        return worker.run(context)

    def let_go(self, *, at_once: bool = False) -> None:
        """Returns when a process is gone; `at_once` without its teardown."""
        remote, self.remote = self.remote, None
        if remote is not None:
            remote.let_go(at_once=at_once)
        worker, self.worker = self.worker, None
        if worker is not None:
            try:
                worker.teardown()
            except Exception:
                log.exception("teardown_failed", extra={"action": "teardown_failed"})


def let_go(cells: Sequence[Cell], pool: ThreadPool, within_s: float) -> None:
    """All of them at once; what is not done in time is killed, where that is possible."""
    until = time.monotonic() + within_s
    remotes = [cell.remote for cell in cells if cell.remote is not None]
    for remote in remotes:
        remote.leave()
    _tear_down([cell for cell in cells if cell.worker is not None], pool, within_s)
    for remote in remotes:
        if not remote.gone(until - time.monotonic() - _DEATH_S):
            remote.kill()
    for remote in remotes:
        remote.gone(max(_DEATH_S, until - time.monotonic()))
        remote.close()


def _tear_down(cells: Sequence[Cell], pool: ThreadPool, within_s: float) -> None:
    done = threading.Event()

    def teardown() -> None:
        for cell in cells:
            cell.let_go()
        done.set()

    if cells:
        pool.submit(teardown)
        done.wait(within_s)
