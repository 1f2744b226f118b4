"""What systemd is told of a process it started: sd_notify(3), in the few lines it takes."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, MutableMapping

log = logging.getLogger(__name__)

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_SEND_S = 1.0  # systemd reads at once; one that does not must not hold up the manager
_STATUS_S = 5.0
_BEATS = 4  # signs of life in the time after which the watchdog bites


class Notifier:
    """Speaks to the socket that systemd gave, or to nobody. Nothing it does raises: the manager is not there for it."""

    def __init__(
        self, address: str = "", watchdog_s: float | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._every_s = watchdog_s / _BEATS if watchdog_s else None
        self._monotonic = monotonic
        self._beaten = self._told = float("-inf")
        self._status = ""

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> Notifier:
        """Takes the variables out of the environment, so that no worker's command speaks in the manager's name."""
        taken = {name: environ.pop(name) for name in _VARIABLES if name in environ}
        address = taken.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            address = ""
        return cls(address, _watchdog_s(taken) if address else None)

    @property
    def listening(self) -> bool:
        return bool(self._address)

    def ready(self) -> None:
        self._send(f"READY=1\nMAINPID={os.getpid()}")

    def turned(self, status: str) -> None:
        """To be called at each turn of the loop whose standing still is what the watchdog is to notice."""
        if not self._address:
            return
        now = self._monotonic()
        words = []
        if self._every_s is not None and now - self._beaten >= self._every_s:
            self._beaten = now
            words.append("WATCHDOG=1")
        if status != self._status and now - self._told >= _STATUS_S:
            self._status, self._told = status, now
            words.append(f"STATUS={status}")
        if words:
            self._send("\n".join(words))

    def stopping(self) -> None:
        self._send("STOPPING=1\nSTATUS=stopping: what runs is asked to end")

    def restarting(self, why: str) -> None:
        """This process is about to become a new one by exec, under the same process id, which says READY again."""
        now_us = int(self._monotonic() * 1e6)
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now_us}\nSTATUS={' '.join(why.split())}")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(_SEND_S)
                sender.sendto(text.encode(), self._address)
        except OSError as problem:
            log.warning("systemd_not_told", extra={"action": "systemd_not_told", "error": str(problem)})


def _watchdog_s(taken: MutableMapping[str, str]) -> float | None:
    """None where there is no watchdog, or where it is meant for another process."""
    if taken.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        microseconds = int(taken.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return microseconds / 1e6 if microseconds > 0 else None
