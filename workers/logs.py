"""Reading what a deployment has logged: the last lines, and what comes after them."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from nova.errors import NotFound
from workers.logfile import PIECES
from workers.parts import Parts

_LOOK_S = 0.25


def tail(nova: Parts, name: str, n: int) -> list[str]:
    """The last `n` lines, oldest first, also out of older pieces. Raises NotFound for a name that never was."""
    lines: deque[str] = deque(maxlen=max(0, n))
    for path in _pieces(nova, name):
        with path.open("rb") as file:
            lines.extend(line.decode("utf-8", "replace").rstrip("\n") for line in file)
    return list(lines)


def follow(nova: Parts, name: str) -> Iterator[str]:
    """Lines as they are written from now on, for ever; a rotated log is followed into its new file."""
    path = _path(nova, name)
    file = _opened(path, at_end=True)
    rest = b""
    while True:
        data = file.read(65_536) if file else b""
        if data:
            *whole, rest = (rest + data).split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in whole)
            continue
        if file is None or _was_replaced(path, file):
            if file:
                file.close()
            file = _opened(path, at_end=False)
        time.sleep(_LOOK_S)


def _path(nova: Parts, name: str) -> Path:
    path = nova.settings.logs_dir / "workers" / f"{name}.log"
    if "/" in name or (not path.exists() and name not in nova.fleet.snapshot().deployments):
        raise NotFound(f"no deployment is called {name!r}", hint="nova workers status lists them")
    return path


def _pieces(nova: Parts, name: str) -> list[Path]:
    path = _path(nova, name)
    older = [path.with_name(f"{path.name}.{number}") for number in range(PIECES - 1, 0, -1)]
    return [piece for piece in (*older, path) if piece.exists()]


def _opened(path: Path, *, at_end: bool) -> BinaryIO | None:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    if at_end:
        file.seek(0, os.SEEK_END)
    return file


def _was_replaced(path: Path, file: BinaryIO) -> bool:
    try:
        return path.stat().st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False
