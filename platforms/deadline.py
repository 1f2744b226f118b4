"""A limit on the whole of an answer: a client's own timeout only says how long a socket may be silent."""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import requests


class _Until(io.RawIOBase):
    """Reads a socket, never beyond an instant. Raises TimeoutError."""

    def __init__(self, raw: Any, sock: socket.socket, total_s: float) -> None:
        super().__init__()
        self._raw, self._sock = raw, sock
        self._silent_s = sock.gettimeout()
        self._until = time.monotonic() + total_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer took too long")
        self._sock.settimeout(left_s if self._silent_s is None else min(left_s, self._silent_s))
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def response_within(total_s: float) -> type[http.client.HTTPResponse]:
    """The `response_class` of a connection whose answers, heads and bodies, have come after so many seconds."""

    class Response(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
            super().__init__(sock, *args, **options)
            self.fp = io.BufferedReader(_Until(self.fp.detach(), sock, total_s))

    return Response


def session_within(total_s: float, connections: int = 16) -> requests.Session:
    """A session of requests, for several threads, that gives up an answer which has not come after so many seconds."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    response = response_within(total_s)

    def limited(pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
        connection = type("Connection", (pool.ConnectionCls,), {"response_class": response})
        return type(pool.__name__, (pool,), {"ConnectionCls": connection})

    pools = {"http": limited(HTTPConnectionPool), "https": limited(HTTPSConnectionPool)}

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, **options)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
            manager = super().proxy_manager_for(*args, **options)
            manager.pool_classes_by_scheme = pools
            return manager

    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, Adapter(pool_maxsize=connections))
    return session
