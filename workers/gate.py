"""The fence of a run: once it was ended, nothing of it may touch money or state any more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from nova.errors import Refused


class LateRun(Refused):
    """This run was ended; what it does now no longer counts."""


class Gate:
    """Calls pass while it is open; closing waits for those inside, so that a run's account is complete."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._inside = 0
        self._closed: str | None = None

    @property
    def closed(self) -> bool:
        return self._closed is not None

    @property
    def busy(self) -> bool:
        """Whether a call is inside."""
        return self._inside > 0

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Raises LateRun when it is closed."""
        with self._condition:
            if self._closed is not None:
                raise LateRun(f"this run was ended: {self._closed}")
            self._inside += 1
        try:
            yield
        finally:
            with self._condition:
                self._inside -= 1
                self._condition.notify_all()

    def close(self, why: str, wait_s: float = 10.0) -> bool:
        """True for the one call that closed it; then also waits for the calls that are inside."""
        with self._condition:
            if self._closed is not None:
                return False
            self._closed = why
            self._condition.wait_for(lambda: self._inside == 0, wait_s)
            return True
