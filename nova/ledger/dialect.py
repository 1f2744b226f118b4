"""What is particular to SQLite: how a connection is set up, how transactions begin, what the driver's errors mean."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from nova.errors import ConfigInvalid, NovaError, Unreachable, UsageProblem

WRITES = "nova_writes"  # the execution option of a connection whose transactions write
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
)
# A manager has several connections for months: their caches must not outgrow it, and the system has one too.
# A checkpoint every 16 MB of log is rare enough to stay out of a commit's 99th percentile.
_SINGLE = ("PRAGMA cache_size=-2000", "PRAGMA wal_autocheckpoint=4000")
# With random keys every batch touches most pages of an index: fewer and larger steps write each of them less often.
_BULK = ("PRAGMA cache_size=-64000", "PRAGMA wal_autocheckpoint=20000")
_TURN_S = 0.001
_LITTLE_SPACE = 256 * 1024


def path_of(url: str) -> Path:
    """The file of a `sqlite:///` address. Raises ConfigInvalid for any other."""
    try:
        made = make_url(url)
    except ArgumentError:
        raise ConfigInvalid("NOVA_DATABASE_URL is not a database address") from None
    if made.get_backend_name() != "sqlite" or made.database in (None, "", ":memory:"):
        raise ConfigInvalid(
            "NOVA_DATABASE_URL must name a SQLite file", hint="write it as sqlite:////path/to/ledger.db"
        )
    return Path(str(made.database))


def make_engine(path: Path, busy_timeout_s: float) -> Engine:
    """An engine over the file, which is created empty with mode 0600 where it is missing."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise Unreachable(f"the ledger {path} cannot be opened: {error.strerror}") from error
    engine = create_engine(
        f"sqlite:///{path}",
        connect_args={"timeout": busy_timeout_s, "cached_statements": 256},
        pool_size=5,
        max_overflow=20,
    )
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", partial(_begin, busy_timeout_s))
    return engine


def _set_up(driver: sqlite3.Connection, _record: object) -> None:
    driver.isolation_level = None
    for pragma in (*_PRAGMAS, *_SINGLE):
        driver.execute(pragma)


def _begin(busy_timeout_s: float, conn: Connection) -> None:
    # A transaction that turns to writing later can fail with "locked" whatever the timeout: writers lock at once.
    if not conn.get_execution_options().get(WRITES):
        conn.exec_driver_sql("BEGIN")
        return
    driver = driver_of(conn)
    driver.execute("PRAGMA busy_timeout=0")
    try:
        if not _locked(driver, time.monotonic() + busy_timeout_s):
            conn.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        driver.execute(f"PRAGMA busy_timeout={int(busy_timeout_s * 1000)}")


def _locked(driver: sqlite3.Connection, until: float) -> bool:
    """Takes the writers' lock; False when it could not be had in time.

    SQLite looks for it at longer and longer intervals, so that one busy writer keeps the others out for seconds. Many
    short waits give each its turn.
    """
    while time.monotonic() < until:
        try:
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                return False
            time.sleep(_TURN_S)
        else:
            return True
    return False


def expect_bulk(conn: Connection) -> None:
    """Sets the connection up for hundreds of thousands of rows; undone by `expect_single_writes`."""
    for pragma in _BULK:
        conn.exec_driver_sql(pragma)


def expect_single_writes(conn: Connection) -> None:
    for pragma in _SINGLE:
        conn.exec_driver_sql(pragma)


# Where somebody else checkpoints meanwhile, a commit does it only when the log has grown beyond measure.
_CHECKPOINTED_BESIDE = ("PRAGMA wal_autocheckpoint=40000",)
_LOG_GROWN = 8 * 1024 * 1024


def expect_checkpoints_beside(conn: Connection) -> None:
    """So that no commit waits for one. Somebody has to call `checkpoint` now and then."""
    for pragma in _CHECKPOINTED_BESIDE:
        conn.exec_driver_sql(pragma)


def checkpoint(engine: Engine, path: Path) -> None:
    """Moves what stands in a log that has grown into the database, while others go on reading and writing."""
    try:
        if path.with_name(f"{path.name}-wal").stat().st_size < _LOG_GROWN:
            return
    except OSError:
        return
    raw = engine.raw_connection()
    try:
        assert raw.driver_connection is not None
        raw.driver_connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    finally:
        raw.close()


def driver_of(conn: Connection) -> sqlite3.Connection:
    driver: Any = conn.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def translated(error: BaseException, path: Path) -> BaseException:
    """The NovaError that says what a driver's error means to the operator; any other comes back as it is."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, UnicodeEncodeError):
        return UsageProblem("the text holds half a character (a lone surrogate)")
    if not isinstance(cause, sqlite3.Error):
        return error
    code = getattr(cause, "sqlite_errorcode", None) or 0
    if code == sqlite3.SQLITE_CONSTRAINT_CHECK:
        return NovaError("the sums would grow beyond what the ledger can hold; nothing was recorded")
    match code & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Unreachable(f"the ledger {path} is locked by another process", hint="try again when it has finished")
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return NovaError(
                f"{path} is damaged or is no ledger: {cause}", hint="put back a backup with `nova ledger restore FILE`"
            )
        case sqlite3.SQLITE_FULL:
            return _full(path)
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return _full(path) if _no_space(path) else Unreachable(f"the ledger {path} cannot be used: {cause}")
    return error


def is_busy(error: DBAPIError) -> bool:
    return (getattr(error.orig, "sqlite_errorcode", 0) & 0xFF) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_missing_table(error: DBAPIError) -> bool:
    return str(error.orig).startswith("no such table")


def _full(path: Path) -> NovaError:
    return NovaError(
        f"no space is left for the ledger {path}", hint="free some space and try again; what was recorded is safe"
    )


def _no_space(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < _LITTLE_SPACE
    except OSError:
        return False
