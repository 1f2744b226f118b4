"""An event that a signal handler may set too: a lock there could wait for the very thread it interrupted."""

from __future__ import annotations

import os
import select


class Wakeup:
    """`set` from any thread or signal handler; `wait` from one thread."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._poll = select.poll()
        self._poll.register(self._read, select.POLLIN)

    def set(self) -> None:
        try:
            os.write(self._write, b"!")
        except BlockingIOError:  # full: it is set
            return

    def wait(self, timeout_s: float) -> bool:
        """True, and not set any more, when it was set within the time."""
        if not self._poll.poll(max(0.0, timeout_s) * 1000):
            return False
        try:
            while os.read(self._read, 4096):
                continue
        except BlockingIOError:
            return True
        return True

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)
