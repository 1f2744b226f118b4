from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from workers.hosts.leash_client import Leash
from workers.hosts.process import Process
from workers.hosts.watch import Server, Watch
from workers.hosts.wire import Channel


@pytest.mark.skipif(sys.platform != "linux", reason="a process is watched by its descriptor")
def test_a_warden_whose_end_is_told_before_it_is_seen_is_not_waited_for_for_ever() -> None:
    worker = subprocess.Popen(["sleep", "100"], start_new_session=True)
    here, there = socket.socketpair()
    control, warden = socket.socketpair()
    channel, _other = socket.socketpair()
    output, printed = os.pipe()
    os.set_blocking(output, False)
    watch = Watch(Leash("m-none"))
    try:
        watch.serve(Server(subprocess.Popen(["true"]), here, "mark"))
        there.sendall(b"swept 4711\n")
        warden.close()
        os.close(printed)
        process = Process("mark", 4711, worker.pid, control, Channel(channel), output)
        watch.add(process)
        assert process.dead.wait(10)
        assert process.exit is not None and not process.exit.wanted
        assert worker.wait(10) == -9
    finally:
        worker.kill()
        there.close()
        watch.close()
        channel.close()
        _other.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to start what belongs to somebody else")
def test_what_belongs_to_somebody_else_is_left_and_nobody_waits_for_it(tmp_path: Path) -> None:
    """As a process that sudo started: it cannot be killed, and must not hold up what guards others."""
    script = """
import os, time
from workers.hosts.descent import adopt_orphans, end_descendants
adopt_orphans()
root = os.fork()
if root == 0:
    time.sleep(1.5)
    os._exit(0)
mine = os.fork()
if mine == 0:
    os.setuid(65534)
    time.sleep(1000)
os.setresuid(65534, 65534, 65534)
time.sleep(0.1)
end_descendants()
print(os.waitpid(root, os.WNOHANG)[0])
try:
    os.waitpid(mine, os.WNOHANG)
except ChildProcessError:
    print("reaped")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False)
    assert ended.stdout.split() == ["0", "reaped"], ended.stderr
