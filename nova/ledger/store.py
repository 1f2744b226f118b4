"""The ledger's database: every write goes through `apply` or `submit`, every read through `read`."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from nova.clock import Clock, from_us, to_us
from nova.errors import NovaError
from nova.ledger.dialect import (
    WRITES,
    checkpoint,
    expect_checkpoints_beside,
    make_engine,
    path_of,
    translated,
)
from nova.ledger.fence import Fence, Fenced
from nova.ledger.group import GroupWriter
from nova.ledger.migrations import bring_up_to_date
from nova.ledger.usage import QUARTER_US

T = TypeVar("T")
R = TypeVar("R")
_MOST_CACHED = 200_000


class Store:
    """Open with `Store.open`. `grouped` is for long-lived processes: one writer thread commits for all its threads."""

    def __init__(self, engine: Engine, path: Path, currency: str, zone: ZoneInfo, clock: Clock, grouped: bool) -> None:
        self.path = path
        self.currency = currency
        self.zone = zone
        self.clock = clock
        self._engine = engine
        self._lock = threading.Lock()
        self._windows: dict[int, tuple[str, str]] = {}
        self._fence: Fence | None = None
        self._group = GroupWriter(engine, path, self._is_fenced) if grouped else None

    @classmethod
    def open(
        cls,
        url: str,
        *,
        currency: str,
        zone: ZoneInfo,
        clock: Clock,
        grouped: bool = False,
        busy_timeout_s: float = 30.0,
        manages: bool = True,
    ) -> Store:
        """Creates or migrates the ledger where needed. `manages`: a `grouped` one is a manager's.

        Raises ConfigInvalid when money is booked in another currency, Unreachable when the database is locked, and
        NovaError when it is damaged or newer than this nova.
        """
        path = path_of(url)
        engine = make_engine(path, busy_timeout_s)
        try:
            bring_up_to_date(engine, path, currency, zone, clock.now(), busy_timeout_s, manages=grouped and manages)
        except DBAPIError as error:
            engine.dispose()
            raise translated(error, path) from error
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, path, currency, zone, clock, grouped)

    def guard(self, manager: str) -> None:
        """From now on nothing is written that does not say `always`, once this manager was fenced: `Fenced` instead.

        For as long as the process lives, or until it guards the next manager: what waits to be written is an end's too.
        """
        self._fence = Fence(manager)

    def _is_fenced(self, conn: Connection) -> bool:
        return self._fence is not None and self._fence.closed(conn)

    def apply(self, work: Callable[[Connection], T], *, always: bool = False) -> T:
        """Runs `work` in a transaction of its own (grouped: a savepoint of a shared one); durable when it returns.

        `work` may run again only after it failed, never twice with effect; what it raises undoes it and is raised here.
        `always` is for money that is gone: it is written even by a manager that was fenced.
        """
        if self._group is not None:
            result: T = self._group.apply(work, always=always)
            return result
        try:
            with self._lock, self._engine.connect() as conn, conn.execution_options(**{WRITES: True}).begin():
                if not always and self._is_fenced(conn):
                    raise Fenced
                return work(conn)
        except (DBAPIError, UnicodeEncodeError) as error:
            raise translated(error, self.path) from error

    def submit(self, work: Callable[[Connection], Any]) -> None:
        """Grouped: `work` is written within 100 ms or at the next `apply`, in order, and its failure is logged.

        Otherwise the same as `apply`.
        """
        if self._group is not None:
            self._group.submit(work)
        else:
            self.apply(work)

    def collect(self, sink: Callable[[Connection, Sequence[R]], None], record: R) -> None:
        """As `submit`; grouped, records that follow one another go to their `sink` together."""
        if self._group is not None:
            self._group.collect(sink, record)
        else:
            self.apply(lambda conn: sink(conn, [record]))

    def post(self, work: Callable[[Connection], T]) -> Future[T]:
        """As `apply`, for who will not wait for it without end; only a grouped store returns before it is written."""
        if self._group is not None:
            return self._group.post(work)
        done: Future[T] = Future()
        try:
            done.set_result(self.apply(work))
        except NovaError as problem:
            done.set_exception(problem)
        return done

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one consistent state for as long as the block lasts."""
        try:
            with self._engine.connect() as conn, conn.begin():
                yield conn
        except (DBAPIError, UnicodeEncodeError) as error:
            raise translated(error, self.path) from error

    def checkpoint_beside(self) -> None:
        """From now on no commit of this process waits for a checkpoint: `checkpoint` is called by another thread."""
        self.apply(expect_checkpoints_beside)

    def checkpoint(self) -> None:
        """Does nothing where there is little to do."""
        try:
            checkpoint(self._engine, self.path)
        except (DBAPIError, sqlite3.Error) as error:
            raise translated(error, self.path) from error

    def close(self, timeout_s: float = 10.0) -> None:
        """Writes what was submitted, for at most `timeout_s`. Closing twice is harmless."""
        if self._group is not None:
            self._group.close(timeout_s)
        self._engine.dispose()

    def now_us(self) -> int:
        return to_us(self.clock.now())

    def windows(self, at_us: int) -> tuple[str, str]:
        """The names of the day and the month, in the operator's zone, that hold the instant."""
        quarter = at_us // QUARTER_US
        found = self._windows.get(quarter)
        if found is None:
            if len(self._windows) >= _MOST_CACHED:
                self._windows.clear()
            local = from_us(at_us).astimezone(self.zone).isoformat()
            found = (f"day:{local[:10]}", f"month:{local[:7]}")
            self._windows[quarter] = found
        return found
