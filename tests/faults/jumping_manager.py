"""A manager whose wall clock is the machine's plus the seconds in a file: `jumping_manager.py FILE [DEPARTMENT]`.

Its monotonic clock goes on as it does where an operator, NTP or a suspended machine sets the time.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
from datetime import datetime, timedelta
from pathlib import Path

from nova.bootstrap import build
from nova.clock import SystemClock
from nova.config import load_settings
from nova.daemon import build_manager, configure_logging, leave


class JumpingClock(SystemClock):
    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._seconds = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)

    def now(self) -> datetime:
        (seconds,) = struct.unpack("d", self._seconds[:8])
        return super().now() + timedelta(seconds=seconds)


def main(path: str, department: str = "") -> int:
    os.umask(0o077)
    nova = build(load_settings(), JumpingClock(Path(path)), grouped=True)
    configure_logging(nova, foreground=False)
    manager = build_manager(nova, department, None)
    signal.signal(signal.SIGTERM, lambda *_: manager.ask_to_stop())
    manager.run()
    nova.close()
    return 0


if __name__ == "__main__":
    leave(main(*sys.argv[1:]))
