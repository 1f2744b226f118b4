"""The installed `nova`, run as an operator or cron would: no terminal, no HOME, nothing of this machine's settings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

NOVA = Path(sys.executable).with_name("nova")
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"

T = TypeVar("T")


def until(what: str, probe: Callable[[], T], seconds: float = 20.0) -> T:
    """What `probe` returns once it is true; fails after a deadline."""
    deadline = time.monotonic() + seconds
    while not (found := probe()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return found


@dataclass
class Home:
    path: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": f"{NOVA.parent}:{SYSTEM_PATH}", "NOVA_HOME": str(self.path), **self.env}

    def start(self, *args: str, **options: Any) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [str(NOVA), *args], env=self.environment, cwd=self.path.parent, text=True, **{**pipes, **options}
        )

    def run(self, *args: str, code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(NOVA), *args],
            env={**self.environment, **env},
            cwd=self.path.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == code, f"nova {' '.join(args)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *args: str, code: int = 0, **env: str) -> Any:
        return json.loads(self.run(*args, "--json", code=code, **env).stdout)

    def deploy(self, name: str, command: str, *options: str) -> None:
        self.run("deploy", "research", "shell", "--name", name, "--set", f"command={command}", *options)

    def worker(self, name: str) -> dict[str, Any]:
        rows = {row["name"]: row for row in self.json("workers", "status")["workers"]}
        found: dict[str, Any] = rows[name]
        return found

    def manager(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json("workers", "status")["manager"]
        return found

    def close(self) -> None:
        for info in (self.path / "run").glob("manager*.json"):
            pid = json.loads(info.read_text())["pid"]
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


@pytest.fixture
def nova(home: Path) -> Iterator[Home]:
    if not NOVA.exists():
        pytest.fail(f"{NOVA} is not installed: pip install -e .")
    found = Home(home)
    yield found
    found.close()
