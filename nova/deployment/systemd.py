"""systemctl, asked about one service manager: a user's own, or the system's."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nova.errors import NovaError

_BOOTED = Path("/run/systemd/system")  # as sd_booted(3) tells
_LINGERING = Path("/var/lib/systemd/linger")
_TIMEOUT_S = 330.0  # `start` waits until the manager is up
_ASKED = ("LoadState", "ActiveState", "SubState", "MainPID", "UnitFileState", "NRestarts", "Result", "StatusText")
_SINCE = "ActiveEnterTimestampMonotonic"


class NoSystemd(NovaError):
    """There is no systemd here that could run a service."""


@dataclass(frozen=True, slots=True)
class Systemd:
    """`folder` is where its units are installed."""

    system: bool
    folder: Path

    @classmethod
    def of_this_machine(cls, *, system: bool, environ: Mapping[str, str]) -> Systemd:
        """Raises NoSystemd for a user without a home directory."""
        if system:
            return cls(True, Path("/etc/systemd/system"))
        config = environ.get("XDG_CONFIG_HOME") or "~/.config"
        try:
            return cls(False, Path(config).expanduser() / "systemd" / "user")
        except RuntimeError:
            raise NoSystemd("this user has no home directory, so no units of its own", hint="set HOME") from None

    @property
    def scope(self) -> str:
        return "system" if self.system else "user"

    @property
    def options(self) -> str:
        """As they are typed behind `systemctl` and `journalctl`."""
        return "" if self.system else "--user "

    def missing(self) -> str | None:
        """Why it cannot be used here; None where it can."""
        if not _BOOTED.is_dir() or shutil.which("systemctl") is None:
            return "this machine does not run systemd"
        if self.system:
            return None
        asked = self._run("show-environment")
        if asked.returncode == 0:
            return None
        return f"systemd does not run for this user here: {_last_line(asked.stderr)}"

    def act(self, *words: str) -> None:
        """Raises NovaError with what systemctl says."""
        done = self._run(*words)
        if done.returncode != 0:
            said = _last_line(done.stderr) or f"exit code {done.returncode}"
            raise NovaError(f"systemctl {self.options}{' '.join(words)} failed: {said}")

    def show(self, unit: str) -> dict[str, str]:
        """Its properties; nothing where systemd cannot be asked."""
        done = self._run("show", unit, "--property", ",".join((*_ASKED, _SINCE)))
        pairs = (line.partition("=") for line in done.stdout.splitlines()) if done.returncode == 0 else ()
        return {name: value for name, _, value in pairs}

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        whose = () if self.system else ("--user",)
        try:
            return subprocess.run(
                ["systemctl", *whose, "--no-pager", *words],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as problem:
            return subprocess.CompletedProcess([], 1, "", str(problem))


def lingers(user: str) -> bool | None:
    """Whether this user's services start with the machine and outlive the last log-out; None where nobody says."""
    if not _LINGERING.parent.is_dir():
        return None
    return (_LINGERING / user).exists()


def own_executable(executable: str) -> Path:
    """The `nova` beside this interpreter. Raises NovaError where there is none."""
    path = Path(executable).with_name("nova")
    if not os.access(path, os.X_OK):
        raise NovaError(f"{path} is not there", hint="install nova into a virtual environment of its own")
    return path


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
