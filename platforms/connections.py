"""What a process keeps open to the platforms: each client's connections, shared by all runs and threads."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
log = logging.getLogger(__name__)

_CONNECT_S, _READ_S = 5.0, 30.0


class Connections:
    """One of each name. What is kept here must bear many threads; who asks for it never closes it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, tuple[Any, Callable[[], object]]] = {}

    def of(self, name: str, make: Callable[[], T], close: Callable[[T], object]) -> T:
        """The one that is there, or a new one."""
        with self._lock:
            if name not in self._open:
                made = make()
                self._open[name] = (made, lambda: close(made))
            found: T = self._open[name][0]
        return found

    def http(self, platform: str) -> httpx.Client:
        """An httpx client without address or key: pass whole addresses and the headers with each request."""
        return self.of(f"{platform} httpx", _http, lambda client: client.close())

    def close(self) -> None:
        """What is asked for later is opened anew."""
        with self._lock:
            closing, self._open = list(self._open.values()), {}
        for _, close in closing:
            try:
                close()
            except Exception:
                log.exception("close_failed", extra={"action": "close_failed"})


def _http() -> httpx.Client:
    import httpx

    return httpx.Client(
        timeout=httpx.Timeout(_READ_S, connect=_CONNECT_S), headers={"User-Agent": "nova"}, follow_redirects=False
    )
