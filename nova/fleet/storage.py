"""The fleet's file: TinyDB's storage, made safe for many processes and for sudden death."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from filelock import FileLock, Timeout
from tinydb import TinyDB
from tinydb.storages import Storage
from tinydb.table import Document, Table

from nova.errors import LockHeld, NovaError

LOCK_TIMEOUT_S = 30.0


class AtomicJsonStorage(Storage):
    """A JSON file that is replaced whole or not at all; `.bak` beside it is the last good one before.

    Reading needs no lock, because a rename is atomic. Who changes what was read holds `locked()` around both.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.copy = path.with_name(path.name + ".bak")
        self._lock = FileLock(path.with_name(path.name + ".lock"), mode=0o600)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Raises LockHeld when another process keeps the lock for half a minute."""
        try:
            self._lock.acquire(timeout=LOCK_TIMEOUT_S)
        except Timeout:
            raise LockHeld(f"another process is changing {self.path}", hint="try again") from None
        except OSError as problem:
            raise _unwritable(self.path, problem) from problem
        try:
            yield
        finally:
            self._lock.release()

    def read(self) -> dict[str, dict[str, Any]] | None:
        """None where there is no file yet. Raises NovaError where the file is no fleet."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            if self.copy.exists():
                raise NovaError(f"{self.path} is missing, but its copy is there", hint=self._restore()) from None
            return None
        except OSError as problem:
            raise NovaError(f"{self.path} cannot be read: {problem.strerror}") from problem
        try:
            found = json.loads(content)
        except ValueError as problem:
            raise NovaError(f"{self.path} cannot be parsed: {problem}", hint=self._restore()) from problem
        if not isinstance(found, dict) or not all(isinstance(table, dict) for table in found.values()):
            raise NovaError(f"{self.path} is not a fleet", hint=self._restore())
        return found

    def write(self, data: dict[str, dict[str, Any]]) -> None:
        """Durable when it returns; on an error the old file stands as it was."""
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as out:
                out.write(json.dumps(data, indent=1, ensure_ascii=False))
                out.flush()
                os.fsync(out.fileno())
            self._keep_copy()
            fresh.replace(self.path)
            _sync_folder(self.path.parent)
        except OSError as problem:
            with suppress(OSError):
                fresh.unlink()
            raise _unwritable(self.path, problem) from problem

    def _keep_copy(self) -> None:
        """The file that is about to be replaced was read and parsed under the lock: it is good."""
        if not self.path.exists():
            return
        link = self.copy.with_name(self.copy.name + ".new")
        link.unlink(missing_ok=True)
        try:
            os.link(self.path, link)
        except OSError:  # a file system without hard links
            shutil.copyfile(self.path, link)
            link.chmod(0o600)
        link.replace(self.copy)

    def _restore(self) -> str:
        if not self.copy.exists():
            return f"mend it by hand, or move it away to begin anew: mv {shlex.quote(str(self.path))} {shlex.quote(str(self.path))}.broken"
        return f"restore the last good copy: cp {shlex.quote(str(self.copy))} {shlex.quote(str(self.path))}"


class Documents(Table):
    """A table whose documents are kept under their own names: no two processes can give out the same number."""

    document_id_class = cast(type[int], str)

    def find(self, name: str) -> Document | None:
        found = self.get(doc_id=cast(int, name))
        return found if isinstance(found, Document) else None

    def put(self, name: str, content: dict[str, Any]) -> bool:
        """Whether it changed anything."""
        if self.find(name) == content:
            return False
        self.upsert(Document(content, doc_id=cast(int, name)))
        return True

    def drop(self, names: list[str]) -> None:
        self.remove(doc_ids=cast(list[int], names))

    def names(self) -> list[str]:
        return [str(one.doc_id) for one in self.all()]


class FleetDB(TinyDB):
    """TinyDB over an open storage. One for each change: TinyDB keeps what another process may have outdated."""

    table_class = Documents

    def __init__(self, storage: AtomicJsonStorage) -> None:
        super().__init__(storage=lambda: storage)

    def documents(self, name: str) -> Documents:
        return cast(Documents, self.table(name))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritable(path: Path, problem: OSError) -> NovaError:
    return NovaError(
        f"{path} cannot be written: {problem.strerror}",
        hint="nothing was changed; free some space or mend the permissions, then try again",
    )
