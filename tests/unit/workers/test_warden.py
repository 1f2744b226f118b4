"""What guards a worker's process holds by itself too, where nobody else is there to sweep up after it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

GUARDED = """
import os, signal, socket, sys, time
from workers.hosts.warden import ward

def work():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
    time.sleep(10)

control, lifeline = map(int, sys.argv[1:])
ward(socket.socket(fileno=control), lifeline, (), work)
"""


@contextmanager
def guarded() -> Iterator[tuple[subprocess.Popen[bytes], psutil.Process, socket.socket, socket.socket]]:
    """A warden, what it guards, and the manager's and the fork server's ends of what it listens to."""
    control, control_there = socket.socketpair()
    lifeline, lifeline_there = socket.socketpair()
    with control, lifeline, control_there, lifeline_there:
        ends = (control_there.fileno(), lifeline_there.fileno())
        command = [sys.executable, "-c", GUARDED, *map(str, ends)]
        with subprocess.Popen(command, pass_fds=ends) as warden:
            control_there.close()
            lifeline_there.close()
            born = json.loads(control.makefile("rb").readline())
            try:
                yield warden, psutil.Process(born["worker"]), control, lifeline
            finally:
                warden.kill()


def family(worker: psutil.Process) -> list[psutil.Process]:
    """What it has started, once there is something."""
    while not (started := worker.children()):
        threading.Event().wait(0.005)
    return started


def gone(one: psutil.Process) -> bool:
    try:
        return one.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def all_gone(processes: list[psutil.Process], within_s: float = 5.0) -> bool:
    end = time.monotonic() + within_s
    while not all(map(gone, processes)) and time.monotonic() < end:
        threading.Event().wait(0.01)
    return all(map(gone, processes))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no death signal")
def test_a_worker_dies_with_its_warden() -> None:
    with guarded() as (warden, worker, _control, _lifeline):
        (started,) = family(worker)
        warden.kill()
        try:
            assert all_gone([worker])
        finally:
            started.kill()  # for whom there is a fork server otherwise, which adopts it


@pytest.mark.parametrize("whose", ["manager", "fork server"])
def test_a_worker_that_nobody_wants_any_more_is_ended_with_all_it_started(whose: str) -> None:
    with guarded() as (warden, worker, control, lifeline):
        started = family(worker)
        (control if whose == "manager" else lifeline).shutdown(socket.SHUT_RDWR)
        assert warden.wait(5) == 0
        assert all_gone([worker, *started], 0)
