"""What the fork server's child does for a command: it takes the place of the command when it is told which one.

Nothing but the standard library: it is forked for every command.
"""

from __future__ import annotations

import json
import os
import resource
import signal
from typing import NoReturn

REPLY_FD = 3
_CANNOT_START = 126  # as a shell says it
_CHUNK = 65_536


def become(orders: int, output: int, errors: int) -> NoReturn:
    """`orders` tells in one JSON line what to run, and is then the command's descriptor 3, on which answers come."""
    for own, fd in enumerate((orders, output, errors)):
        os.dup2(fd, own)
        os.close(fd)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    told = b""
    while not told.endswith(b"\n"):
        data = os.read(0, _CHUNK)
        if not data:
            os._exit(1)
        told += data
    order = json.loads(told)
    try:
        os.chdir(order["cwd"])
        os.dup2(0, REPLY_FD)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        for kind, soft, hard in order["bounds"]:
            resource.setrlimit(kind, (soft, hard))
        os.execve("/bin/sh", ["/bin/sh", "-c", order["command"]], order["env"])  # noqa: S606 - it is the shell
    except (OSError, ValueError) as problem:
        os.write(2, f"nova: the command could not be started: {problem}\n".encode(errors="replace"))
    finally:
        os._exit(_CANNOT_START)
