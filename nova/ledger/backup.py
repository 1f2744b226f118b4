"""A copy of the ledger while it is in use, and putting one back."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from nova.errors import NotFound, NovaError, UsageProblem
from nova.ledger.dialect import translated
from nova.ledger.migrations import newest, schema_of

if TYPE_CHECKING:
    from nova.ledger.store import Store

REPLACED = ".before-restore"
_SIDE_FILES = ("-wal", "-shm")
_PAGES = 2000  # copied between two looks at whether somebody writes


def backup(store: Store, path: Path, *, force: bool = False) -> None:
    """Writes a whole, consistent copy to `path` (0600), also while others write. An existing file needs `force`."""
    if path.exists() and not force:
        raise UsageProblem(f"{path} exists already", hint="choose another name, or pass --force")
    if path.resolve() == store.path.resolve():
        raise UsageProblem("a ledger cannot be its own backup")
    _copy(store.path, path)


def restore(path: Path, into: Path) -> Path | None:
    """Puts the backup `path` in the place of the ledger `into`, and returns where the replaced one was kept.

    Refused when the backup is damaged or newer than this nova. The caller sees to it that nobody has the ledger open.
    """
    if not path.exists():
        raise NotFound(f"no backup {path}")
    check(path)
    kept = into.with_name(into.name + REPLACED) if into.exists() else None
    fresh = into.with_name(into.name + ".restoring")
    _copy(path, fresh)
    if kept is not None:
        for end in ("", *_SIDE_FILES):
            _move(into.with_name(into.name + end), kept.with_name(kept.name + end))
    fresh.replace(into)
    _sync_directory(into.parent)
    return kept


def check(path: Path) -> None:
    """Raises NovaError when the file is no whole ledger, or one of a newer nova."""
    try:
        with closing(_connect(path, "ro")) as source:
            problem = source.execute("PRAGMA integrity_check(1)").fetchone()[0]
            rows = dict(source.execute("SELECT key, value FROM meta"))
    except sqlite3.Error as error:
        raise NovaError(f"{path} is no ledger, or a damaged one: {error}") from error
    if problem != "ok":
        raise NovaError(f"{path} is damaged: {problem}")
    if not 1 <= schema_of(rows) <= newest():
        raise NovaError(f"{path} was written by a newer nova (schema {schema_of(rows)}, this one knows {newest()})")


def _copy(source: Path, target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with closing(_connect(source, "rw")) as from_, closing(sqlite3.connect(partial)) as to:
            from_.backup(to, pages=_PAGES, sleep=0.01)
            to.execute("PRAGMA journal_mode=DELETE")
        with partial.open("rb+") as done:
            os.fsync(done.fileno())
        partial.replace(target)
        _sync_directory(target.parent)
    except sqlite3.Error as error:
        problem = translated(error, partial)
        raise problem from (None if problem is error else error)
    except OSError as error:
        raise NovaError(f"the copy {target} could not be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, timeout=30)


def _move(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    if source.exists():
        source.replace(target)


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
