"""Reading what a deployment has logged: the last lines, and what comes after them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from nova.errors import NotFound
from workers.logfile import last_lines
from workers.parts import Parts

_LOOK_S = 0.25
_BLOCK = 65_536


def tail(nova: Parts, name: str, n: int) -> list[str]:
    """The last `n` lines, oldest first, also out of older pieces. Raises NotFound for a name that never was."""
    return last_lines(_path(nova, name), n)


def follow(nova: Parts, name: str, n: int = 0, wait: Callable[[float], object] = time.sleep) -> Iterator[str]:
    """The last `n` lines and then every further one, for ever; a log that is rotated is followed into its new file.

    `wait` is called when there is nothing more; what it raises ends the following. Raises NotFound as `tail` does.
    """
    path = _path(nova, name)
    file = _opened(path)
    try:
        yield from last_lines(path, n, None if file is None else file.seek(0, os.SEEK_END))
        rest = b""
        while True:
            replaced = file is None or _was_replaced(path, file)  # looked at first: nothing of the old is missed
            data = file.read(_BLOCK) if file is not None else b""
            if data:
                *whole, rest = (rest + data).split(b"\n")
                yield from (_text(line) for line in whole)
            elif not replaced:
                wait(_LOOK_S)
            else:
                if file is not None:
                    file.close()
                file = _opened(path)
                if file is None:
                    wait(_LOOK_S)
    finally:
        if file is not None:
            file.close()


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")


def _path(nova: Parts, name: str) -> Path:
    path = nova.settings.logs_dir / "workers" / f"{name}.log"
    if "/" in name or "\0" in name or (not path.exists() and name not in nova.fleet.snapshot().deployments):
        raise NotFound(f"no deployment is called {name!r}", hint="nova workers status lists them")
    return path


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _was_replaced(path: Path, file: BinaryIO) -> bool:
    try:
        return path.stat().st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False
