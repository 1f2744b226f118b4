"""Leash and fork server stand in for each other when a manager falls silent: here each of them is on its own."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

LEASH = "from workers.hosts import leash; leash.SELF_FENCE_S = 0.2; leash.main('m-nobody')"
NURSERY = "import sys; from workers.hosts import nursery; nursery.SELF_FENCE_S = 0.2; nursery.main(int(sys.argv[1]))"


@contextmanager
def leashed() -> Iterator[tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]]:
    """A leash, and the leader of a group that it knows."""
    with (
        subprocess.Popen(["sleep", "10"], start_new_session=True) as group,
        subprocess.Popen([sys.executable, "-c", LEASH], stdin=subprocess.PIPE, bufsize=0) as leash,
    ):
        assert leash.stdin is not None
        leash.stdin.write(b"+%d\n" % group.pid)
        try:
            yield leash, group
        finally:
            group.kill()
            leash.stdin.close()


@pytest.mark.parametrize("how", ["silence", "death"])
def test_a_leash_ends_its_groups_when_the_manager_falls_silent_or_dies(how: str) -> None:
    with leashed() as (leash, group):
        assert leash.stdin is not None
        if how == "silence":
            leash.stdin.write(b"=\n")
        else:
            leash.stdin.close()
        assert group.wait(5) == -signal.SIGKILL


def test_a_leash_without_a_beat_waits_for_as_long_as_it_takes() -> None:
    with leashed() as (_leash, group), pytest.raises(subprocess.TimeoutExpired):
        group.wait(0.5)


def test_a_fork_server_ends_when_the_manager_falls_silent() -> None:
    here, there = socket.socketpair()
    with here, there:
        command = [sys.executable, "-c", NURSERY, str(there.fileno())]
        with subprocess.Popen(command, pass_fds=(there.fileno(),)) as server, here.makefile("rb") as told:
            there.close()
            assert told.readline() == b"ready\n"
            here.sendall(b".")
            try:
                assert server.wait(5) == 0
            finally:
                server.kill()
            assert told.read() == b"silence\n"
