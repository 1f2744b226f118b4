"""What systemd is told, and what is kept from workers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from nova.deployment.notify import Notifier


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


def told(listening: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(listening.recv(4096).decode())
        except BlockingIOError:
            return found


def test_life_from_readiness_to_the_end(systemd: socket.socket) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": systemd.getsockname()})
    notifier.ready()
    notifier.stopping()
    ready, stopping = told(systemd)
    assert ready.splitlines() == ["READY=1", f"MAINPID={os.getpid()}"]
    assert stopping.startswith("STOPPING=1\n")


def test_the_watchdog_hears_of_turns_several_times_in_its_time_and_not_of_each(systemd: socket.socket) -> None:
    clock = Clock()
    notifier = Notifier(systemd.getsockname(), 8.0, clock)
    for clock.now in (0.0, 0.5, 1.9, 2.0, 2.1, 4.0):
        notifier.turned("well")
    assert [text.splitlines() for text in told(systemd)] == [["WATCHDOG=1", "STATUS=well"], *[["WATCHDOG=1"]] * 2]


def test_a_status_that_changes_at_each_turn_is_told_now_and_then(systemd: socket.socket) -> None:
    clock = Clock()
    notifier = Notifier(systemd.getsockname(), None, clock)
    for clock.now in range(12):
        notifier.turned(f"turn {clock.now}")
    assert told(systemd) == ["STATUS=turn 0", "STATUS=turn 5", "STATUS=turn 10"]


def test_an_abstract_socket_is_spoken_to() -> None:
    name = f"nova-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        try:
            listening.bind(f"\0{name}")
        except OSError:
            pytest.skip("no abstract sockets here")
        listening.setblocking(False)
        Notifier.from_environment({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert len(told(listening)) == 1


def test_what_systemd_gave_is_taken_from_workers() -> None:
    given = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
    environ = {"PATH": "/bin", **given}
    assert Notifier.from_environment(environ).listening
    assert environ == {"PATH": "/bin"}


@pytest.mark.parametrize(
    "given",
    [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}],
)
def test_without_a_watchdog_of_its_own_it_gives_no_sign_of_life(systemd: socket.socket, given: dict[str, str]) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": systemd.getsockname(), **given})
    notifier.turned("")
    assert told(systemd) == []


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all"])
def test_where_nobody_listens_nothing_happens(address: str) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address})
    notifier.ready()
    notifier.turned("well")
    notifier.stopping()


def test_a_restart_is_told_on_one_line(systemd: socket.socket) -> None:
    Notifier(systemd.getsockname(), None, lambda: 1.5).restarting("too many\nhung threads")
    assert told(systemd) == ["RELOADING=1\nMONOTONIC_USEC=1500000\nSTATUS=too many hung threads"]
