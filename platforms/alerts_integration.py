"""Alerts to wherever the operator reads them, through apprise: sent from a thread of their own, never in the way."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nova.clock import Clock, SystemClock

log = logging.getLogger(__name__)

QUIET_S = 600.0
_MOST_WAITING = 200
_MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class _Alert:
    event: str
    title: str
    body: str


class Alerts:
    """Where there is no URL nothing happens. The URLs hold secrets: they are never logged."""

    def __init__(self, urls: Sequence[str], clock: Clock | None = None, *, quiet_s: float = QUIET_S) -> None:
        self._urls = tuple(urls)
        self._clock = clock or SystemClock()
        self._quiet_s = quiet_s
        self._lock = threading.Lock()
        self._told: dict[str, float] = {}
        self._waiting: queue.Queue[_Alert | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._closed = False

    def send(self, event: str, title: str, body: str, key: str | None = None) -> bool:
        """Hands the alert to the thread. False: no URL, closed, too many waiting, or the key was told within `quiet_s`.

        Without a key the event and the title are the key. Never raises and never waits.
        """
        if not self._urls or not self._due(key or f"{event}:{title}"):
            return False
        try:
            self._waiting.put_nowait(_Alert(event, title, body))
        except queue.Full:
            log.warning("alert_dropped", extra={"action": "alert_dropped", "event": event})
            return False
        return True

    def close(self, timeout_s: float = 5.0) -> bool:
        """Sends what waits, for at most `timeout_s`; True when all of it went. Later alerts are not taken."""
        with self._lock:
            self._closed, thread = True, self._thread
        if thread is None:
            return True
        try:
            self._waiting.put(None, timeout=timeout_s)
        except queue.Full:
            return False
        thread.join(timeout_s)
        return not thread.is_alive()

    def _due(self, key: str) -> bool:
        with self._lock:
            now = self._clock.monotonic()
            last = self._told.get(key)
            if self._closed or (last is not None and now - last < self._quiet_s):
                return False
            if len(self._told) >= _MOST_REMEMBERED:
                self._told = {told: at for told, at in self._told.items() if now - at < self._quiet_s}
            self._told[key] = now
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="nova-alerts", daemon=True)
                self._thread.start()
            return True

    def _work(self) -> None:
        notify: Callable[[str, str], bool] | None = None
        while (alert := self._waiting.get()) is not None:
            error = None
            try:
                notify = notify or _notifier(self._urls)
                sent = notify(f"nova: {alert.title}", alert.body)
            except Exception as problem:  # noqa: BLE001 - a notifier must not end the thread
                sent, error = False, type(problem).__name__
            action = "alert_sent" if sent else "alert_failed"
            level = logging.INFO if sent else logging.WARNING
            log.log(level, action, extra={"action": action, "event": alert.event, "error": error})


def _notifier(urls: Sequence[str]) -> Callable[[str, str], bool]:
    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it quotes the URLs
    target = apprise.Apprise()
    unusable = sum(not target.add(url) for url in urls)
    if unusable:
        log.warning("alert_url_unusable", extra={"action": "alert_url_unusable", "urls": unusable})
    return lambda title, body: bool(len(target)) and bool(target.notify(title=title, body=body))
