"""Connections whose every wait is bounded: by the time a whole answer may take, and by the end of who waits for it."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

from platforms.base import Stopped

_SLICE_S = 0.5  # how long an end may go unnoticed


class Transport(httpx.HTTPTransport):
    """For several threads, each with bounds of its own: a server that sends a byte at a time resets httpx's timeouts
    with each of them, in an answer's head as well as in its body.
    """

    def __init__(self, *, verify: ssl.SSLContext, limits: httpx.Limits) -> None:
        super().__init__(verify=verify, trust_env=False, limits=limits)
        self._bounds = Bounds()
        self._pool._network_backend = _Backend(self._pool._network_backend, self._bounds)

    @contextmanager
    def within(self, seconds: float, stopped: Callable[[], bool]) -> Iterator[None]:
        """Reads of this thread raise httpx.ReadTimeout after that, and Stopped once `stopped`."""
        self._bounds.until, self._bounds.stopped = time.monotonic() + seconds, stopped
        try:
            yield
        finally:
            self._bounds.until, self._bounds.stopped = float("inf"), _never


def _never() -> bool:
    return False


class Bounds(threading.local):
    until: float = float("inf")
    stopped: Callable[[], bool] = staticmethod(_never)

    def read(self, read: Callable[[float], bytes], timeout: float | None) -> bytes:
        """In slices, between which it is looked whether to go on."""
        until = min(self.until, time.monotonic() + (float("inf") if timeout is None else timeout))
        while (left_s := until - time.monotonic()) > 0:
            if self.stopped():
                raise Stopped("the answer was not waited for: the run is to end")
            try:
                return read(min(left_s, _SLICE_S))
            except httpcore.ReadTimeout:
                continue
        raise httpcore.ReadTimeout("it took too long")


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, bounds: Bounds) -> None:
        self._inner = inner
        self._bounds = bounds

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._bounds.read(lambda some_s: self._inner.read(max_bytes, some_s), timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._bounds)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, inner: httpcore.NetworkBackend, bounds: Bounds) -> None:
        self._inner = inner
        self._bounds = bounds

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        inner = self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(inner, self._bounds)
