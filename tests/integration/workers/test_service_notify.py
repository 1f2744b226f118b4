"""The manager under something that speaks systemd's protocol: readiness, signs of life, the end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nova.bootstrap import build
from nova.config import load_settings
from nova.fleet.documents import Declaration

from .conftest import until


class Init:
    """Listens as systemd does."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(0.05)
        self.heard: list[str] = []

    def listen(self) -> None:
        try:
            self.heard += self._socket.recv(4096).decode().splitlines()
        except TimeoutError:
            return

    def hears(self, word: str, seconds: float = 15.0, more: int = 1) -> None:
        """Fails unless `word` is told `more` times more."""
        wanted = self.heard.count(word) + more
        deadline = time.monotonic() + seconds
        while self.heard.count(word) < wanted:
            assert time.monotonic() < deadline, f"not told within {seconds} s: {word}; {self.heard}"
            self.listen()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def init(tmp_path: Path) -> Iterator[Init]:
    found = Init(tmp_path / "notify")
    yield found
    found.close()


@contextmanager
def manager(tmp_path: Path, watchdog_us: int, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    given = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": str(watchdog_us)}
    process = subprocess.Popen(
        [sys.executable, "-m", "nova.daemon", "--foreground"],
        env={**os.environ, **given, **more},
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_manager_says_when_it_is_up_while_it_lives_and_when_it_ends(home: Path, init: Init, tmp_path: Path) -> None:
    nova = build(load_settings())
    seen = tmp_path / "seen"
    command = f"env > {seen}.new; mv {seen}.new {seen}; sleep 300"
    nova.fleet.deploy(Declaration("look", "d", "shell", config={"command": command}))
    nova.close()
    with manager(tmp_path, 400_000) as process:
        init.hears("READY=1")
        assert f"MAINPID={process.pid}" in init.heard
        init.hears("WATCHDOG=1", more=3)
        assert "STATUS=deployments: 1, instances to run: 1" in init.heard
        process.send_signal(signal.SIGSTOP)
        init.listen()
        stood = init.heard.count("WATCHDOG=1")
        deadline = time.monotonic() + 0.6
        while time.monotonic() < deadline:
            init.listen()
        assert init.heard.count("WATCHDOG=1") - stood <= 1, "one may have been under way"
        process.send_signal(signal.SIGCONT)
        init.hears("WATCHDOG=1")
        until(seen.exists, "the command has told what it sees", 60)
        process.terminate()
        init.hears("STOPPING=1")
        assert process.wait(30) == 0
    assert "NOTIFY_SOCKET" not in seen.read_text()


def test_a_manager_that_begins_anew_says_so_and_when_it_is_up_again(home: Path, init: Init, tmp_path: Path) -> None:
    (home / "agents").mkdir()
    (home / "agents" / "hang.py").write_text(
        "import time\nfrom workers import BaseWorker\n\n"
        "class Hang(BaseWorker):\n    def run(self, ctx):\n        time.sleep(300)\n"
    )
    nova = build(load_settings())
    nova.fleet.deploy(Declaration("hang", "d", "hang.py:Hang", replicas=2, every_s=0.2, timeout_s=0.2))
    nova.close()
    with manager(tmp_path, 60_000_000, WORKER_MAX_HUNG="1") as process:
        init.hears("READY=1")
        init.hears("RELOADING=1")
        init.hears("READY=1")
        assert init.heard.count(f"MAINPID={process.pid}") == 2
        assert any(word.startswith("STATUS=2 runs hang") for word in init.heard)
        assert "STOPPING=1" not in init.heard
        process.terminate()
        init.hears("STOPPING=1")
        assert process.wait(30) == 0


def test_a_watchdog_that_bites_leaves_the_stack_of_every_thread_in_the_journal(init: Init, tmp_path: Path) -> None:
    with manager(tmp_path, 60_000_000) as process:
        init.hears("READY=1")
        process.send_signal(signal.SIGABRT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGABRT
    assert b"Current thread" in said
