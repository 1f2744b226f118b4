"""The writer thread of a long-lived process: it commits what waits together, so that many writers share one fsync."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from nova.errors import NovaError, Unreachable
from nova.ledger.dialect import WRITES, driver_of, translated
from nova.ledger.fence import Fenced

log = logging.getLogger(__name__)

LAG_S = 0.1
MOST_IN_A_GROUP = 500
MOST_WAITING = 100_000
_RETRY_S = 1.0


@dataclass(slots=True, eq=False)
class _Item:
    work: Callable[[Connection], Any]
    future: Future[Any] | None  # None: submitted, nobody waits
    since: float
    always: bool = False  # also when this process was fenced
    sink: Callable[[Connection, Sequence[Any]], None] | None = None  # takes records that follow one another at once
    record: Any = None
    value: Any = None
    error: BaseException | None = None


class GroupWriter:
    """Runs every piece of work in a savepoint of its own, inside one transaction for all that waits.

    Work that raises takes only its own changes back. When the commit itself fails, those who wait are told and what
    was submitted is kept for the next attempt.
    """

    def __init__(
        self, engine: Engine, path: Path, is_fenced: Callable[[Connection], bool] = lambda _conn: False
    ) -> None:
        self._engine = engine
        self._path = path
        self._is_fenced = is_fenced
        self._waiting: deque[_Item] = deque()
        self._urgent = 0
        self._wake = threading.Condition()
        self._closing_at: float | None = None
        self._thread = threading.Thread(target=self._loop, name="nova-ledger-writer", daemon=True)
        self._thread.start()

    def apply(self, work: Callable[[Connection], Any], *, always: bool = False) -> Any:
        if threading.current_thread() is self._thread:
            raise RuntimeError("a transaction cannot wait for another one: pass its connection on")
        return self.post(work, always=always).result()

    def post(self, work: Callable[[Connection], Any], *, always: bool = False) -> Future[Any]:
        future: Future[Any] = Future()
        self._add(_Item(work, future, time.monotonic(), always))
        return future

    def submit(self, work: Callable[[Connection], Any]) -> None:
        self._add(_Item(work, None, time.monotonic()))

    def collect(self, sink: Callable[[Connection, Sequence[Any]], None], record: Any) -> None:
        def alone(conn: Connection) -> None:
            sink(conn, [record])

        self._add(_Item(alone, None, time.monotonic(), sink=sink, record=record))

    def close(self, timeout_s: float) -> None:
        """Writes what waits, for at most `timeout_s`; what is left then is logged and its waiters are told."""
        with self._wake:
            if self._closing_at is None:
                self._closing_at = time.monotonic() + timeout_s
            self._wake.notify()
        self._thread.join(timeout_s + 1)
        with self._wake:
            left = list(self._waiting)
            self._waiting.clear()
        for item in left:
            if item.future is not None:
                item.future.set_exception(Unreachable(f"the ledger {self._path} was closed before this was written"))
        if left or self._thread.is_alive():
            log.error("ledger_flush_incomplete", extra={"action": "ledger_flush_incomplete", "left": len(left)})

    def _add(self, item: _Item) -> None:
        with self._wake:
            if self._closing_at is not None:
                raise NovaError("the ledger is closed")
            if len(self._waiting) >= MOST_WAITING:
                raise Unreachable(f"the ledger {self._path} cannot be written: {MOST_WAITING} records wait already")
            self._waiting.append(item)
            self._urgent += item.future is not None
            # An idle writer sleeps without end, and a lagging one until its lag is over.
            if item.future is not None or len(self._waiting) in (1, MOST_IN_A_GROUP):
                self._wake.notify()

    def _loop(self) -> None:
        conn: Connection | None = None
        while group := self._next_group():
            try:
                if conn is None:
                    conn = self._engine.connect().execution_options(**{WRITES: True})
                self._write(conn, group)
            except BaseException as error:  # noqa: BLE001 - whatever happens, those who wait are told
                self._drop(conn)
                conn = None
                self._failed(group, translated(error, self._path))
            else:
                self._resolve(group)
        if conn is not None:
            conn.close()

    def _next_group(self) -> list[_Item]:
        """Waits until something is due; an empty group means the end."""
        with self._wake:
            while not self._due():
                if self._closing_at is not None:
                    return []
                first = self._waiting[0] if self._waiting else None
                self._wake.wait(None if first is None else max(first.since + LAG_S - time.monotonic(), 0.001))
            # Behind what a failed commit left, who waits would never have a turn: then all of it is tried together.
            failed = self._waiting[0].since > time.monotonic()
            most = len(self._waiting) if failed else min(len(self._waiting), MOST_IN_A_GROUP)
            group = [self._waiting.popleft() for _ in range(most)]
            self._urgent -= sum(item.future is not None for item in group)
            return group

    def _due(self) -> bool:
        if not self._waiting:
            return False
        if self._closing_at is not None:
            return time.monotonic() < self._closing_at
        waited_s = time.monotonic() - self._waiting[0].since  # negative: a commit failed, and its time is to come
        return self._urgent > 0 or waited_s >= (0 if len(self._waiting) >= MOST_IN_A_GROUP else LAG_S)

    def _write(self, conn: Connection, group: list[_Item]) -> None:
        transaction = conn.begin()
        try:
            driver = driver_of(conn)
            fenced = self._is_fenced(conn)
            for sink, found in groupby(group, key=lambda item: item.sink):
                items = list(found)
                if fenced or sink is None or not self._run_together(conn, driver, items, sink):
                    for item in items:
                        if fenced and not item.always:
                            item.value, item.error = None, Fenced()
                        else:
                            self._run(conn, driver, item)
            transaction.commit()
        except BaseException:
            transaction.rollback()
            raise

    def _run(self, conn: Connection, driver: sqlite3.Connection, item: _Item) -> None:
        item.value = None
        item.error = _in_savepoint(driver, lambda: setattr(item, "value", item.work(conn)))

    def _run_together(
        self,
        conn: Connection,
        driver: sqlite3.Connection,
        items: Sequence[_Item],
        sink: Callable[[Connection, Sequence[Any]], None],
    ) -> bool:
        """False, with nothing written, where one of them is refused: then each is written for itself."""
        for item in items:
            item.value = item.error = None
        return _in_savepoint(driver, lambda: sink(conn, [item.record for item in items])) is None

    def _resolve(self, group: list[_Item]) -> None:
        for item in group:
            error = None if item.error is None else translated(item.error, self._path)
            if item.future is None:
                if error is not None and not isinstance(error, Fenced):
                    log.error("ledger_write_failed", exc_info=error, extra={"action": "ledger_write_failed"})
            elif error is None:
                item.future.set_result(item.value)
            else:
                item.future.set_exception(error)

    def _failed(self, group: list[_Item], error: BaseException) -> None:
        kept = [item for item in group if item.future is None]
        log.error(
            "ledger_commit_failed",
            extra={"action": "ledger_commit_failed", "error": str(error), "items": len(group), "kept": len(kept)},
        )
        for item in group:
            if item.future is not None:
                item.future.set_exception(error)
        with self._wake:
            again = time.monotonic() + _RETRY_S
            for item in reversed(kept):
                item.since = again
                self._waiting.appendleft(item)
            if self._closing_at is not None and kept:
                self._wake.wait(min(_RETRY_S / 10, max(self._closing_at - time.monotonic(), 0)))

    def _drop(self, conn: Connection | None) -> None:
        """A connection on which a commit failed is not used again."""
        if conn is not None:
            try:
                conn.invalidate()
                conn.close()
            except Exception:
                log.warning("ledger_connection_lost", exc_info=True, extra={"action": "ledger_connection_lost"})


def _in_savepoint(driver: sqlite3.Connection, act: Callable[[], object]) -> BaseException | None:
    """What it raised, and then nothing of it is written. Raises where the whole transaction is gone."""
    refused: BaseException | None = None
    driver.execute("SAVEPOINT item")
    try:
        act()
    except BaseException as error:
        if not driver.in_transaction:
            cause = error.orig if isinstance(error, DBAPIError) else error
            raise (cause or error) from error
        driver.execute("ROLLBACK TO item")
        refused = error
    driver.execute("RELEASE item")
    return refused
