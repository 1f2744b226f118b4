"""The fleet's file: read at any time, replaced whole or not at all, safe for many writers and for sudden death."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nova.errors import LockHeld, NovaError

FORMAT = 1
LOCK_TIMEOUT_S = 30.0

Document = dict[str, Any]
Tables = dict[str, dict[str, Document]]
Token = tuple[int, int, int] | None

_write = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


class FleetFile:
    """JSON, one document a line. `fleet.json.bak` beside it is the last good one before.

    Reading needs no lock, because a rename is atomic. Who changes what was read holds `locked()` around both.
    What it hands out is also what it remembers: documents are replaced, never changed in place.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.copy = path.with_name(path.name + ".bak")
        self._seen: tuple[Token, Tables] = (None, {})
        self._lines: dict[int, tuple[Document, str]] = {}

    def token(self) -> Token:
        """Changes whenever the file does, because every write moves its time on; costs one look at it."""
        try:
            return _token(self.path.stat())
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise NovaError(f"{self.path} cannot be read: {problem.strerror}") from problem

    def read(self) -> tuple[Token, Tables]:
        """What stands, with its token; nothing where there is no file yet. Raises NovaError where it is no fleet."""
        try:
            with self.path.open("rb") as file:
                token: Token = _token(os.fstat(file.fileno()))
                if token != self._seen[0]:
                    self._seen = (token, self._parsed(file.read()))
        except FileNotFoundError:
            if self.copy.exists():
                raise NovaError(f"{self.path} is missing, but its copy is there", hint=self._restore()) from None
            self._seen = (None, {})
        except OSError as problem:
            raise NovaError(f"{self.path} cannot be read: {problem.strerror}") from problem
        token, tables = self._seen
        return token, dict(tables)

    def replace(self, tables: Tables) -> None:
        """Durable when it returns; on an error the old file stands as it was. Only under `locked()`."""
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            content = self._written(tables).encode("utf-8", "surrogatepass")  # a command line may hold any bytes
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as out:
                out.write(content)
                out.flush()
                self._move_time_on(out.fileno())
                os.fsync(out.fileno())
                token = _token(os.fstat(out.fileno()))
            self._keep_copy()
            fresh.replace(self.path)
        except OSError as problem:
            for left_over in (fresh, self._fresh_copy()):
                with suppress(OSError):
                    left_over.unlink()
            raise _unwritable(self.path, problem) from problem
        self._seen = (token, dict(tables))
        _sync_folder(self.path.parent)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Raises LockHeld when another process keeps the lock for half a minute."""
        from filelock import FileLock, Timeout  # here, because reading the fleet needs no lock

        lock = FileLock(self.path.with_name(self.path.name + ".lock"), mode=0o600, poll_interval=0.01)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock.acquire(timeout=LOCK_TIMEOUT_S)
        except Timeout:
            raise LockHeld(f"another process is changing {self.path}", hint="try again") from None
        except OSError as problem:
            raise _unwritable(self.path, problem) from problem
        try:
            yield
        finally:
            lock.release()

    def _parsed(self, content: bytes) -> Tables:
        try:
            found = json.loads(content)
        except (ValueError, RecursionError) as problem:
            raise NovaError(f"{self.path} cannot be parsed: {problem}", hint=self._restore()) from problem
        written_by = found.pop("format", FORMAT) if isinstance(found, dict) else None
        if not isinstance(written_by, int) or not all(map(_is_table, found.values())):
            raise NovaError(f"{self.path} is not a fleet", hint=self._restore())
        if written_by > FORMAT:
            raise NovaError(
                f"{self.path} was written by a newer nova (format {written_by})", hint="use that one, or a newer"
            )
        tables: Tables = found
        return tables

    def _written(self, tables: Tables) -> str:
        """What has not changed since it was last written is not put into words again."""
        lines: dict[int, tuple[Document, str]] = {}
        parts = [f'"format": {FORMAT}']
        for name, table in tables.items():
            rows = []
            for key, document in table.items():
                known = self._lines.get(id(document))
                text = known[1] if known is not None and known[0] is document else f"{_write(key)}: {_write(document)}"
                lines[id(document)] = (document, text)
                rows.append(text)
            parts.append(f"{_write(name)}: {{\n" + ",\n".join(rows) + "\n}")
        self._lines = lines
        return "{" + ",\n".join(parts) + "}\n"

    def _move_time_on(self, descriptor: int) -> None:
        """Else two writes within one tick of the file system's clock, or around a step back of it, look the same."""
        before = self.token()
        if before is not None:
            at = max(time.time_ns(), before[1] + 1)
            os.utime(descriptor, ns=(at, at))

    def _keep_copy(self) -> None:
        """The file that is about to be replaced was read and parsed under the lock: it is good."""
        if not self.path.exists():
            return
        link = self._fresh_copy()
        link.unlink(missing_ok=True)
        try:
            os.link(self.path, link)
        except OSError:  # a file system without hard links
            shutil.copyfile(self.path, link)
            link.chmod(0o600)
        link.replace(self.copy)

    def _fresh_copy(self) -> Path:
        return self.copy.with_name(self.copy.name + ".new")

    def _restore(self) -> str:
        here, copy = shlex.quote(str(self.path)), shlex.quote(str(self.copy))
        if not self.copy.exists():
            return f"mend it by hand, or begin anew: mv {here} {shlex.quote(str(self.path) + '.broken')}"
        return f"restore the last good copy, from before the last change: cp {copy} {here}"


def _token(stat: os.stat_result) -> tuple[int, int, int]:
    return (stat.st_ino, stat.st_mtime_ns, stat.st_size)


def _is_table(found: object) -> bool:
    return isinstance(found, Mapping) and all(isinstance(document, dict) for document in found.values())


def _sync_folder(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as problem:
        raise NovaError(
            f"the change is made, but may not survive a power cut: {folder}: {problem.strerror}"
        ) from problem


def _unwritable(path: Path, problem: OSError) -> NovaError:
    return NovaError(
        f"{path} cannot be written: {problem.strerror}",
        hint="nothing was changed; free some space or mend the permissions, then try again",
    )
