"""The text of a systemd unit that runs a manager. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nova.errors import UsageProblem

MARK = "# Written by `nova service install`, taken away by `nova service uninstall`."
_HOME = 'Environment="NOVA_HOME='
_PLAIN = re.compile(r"[A-Za-z0-9@+,./:=_-]+")

# A turn of the manager may wait 30 s for a locked ledger, and more than once: that is no reason to kill it.
_WATCHDOG_S = 120
# Its own order takes eight seconds for what runs and a few more to put things in order.
_STOP_S = 45
# The first start after an update may migrate a large ledger.
_START_S = 300

# What holds for a user's own units everywhere. The rest of systemd's sandbox needs rights that a user's service manager
# has on some systems only; there it would keep the unit from starting.
_CAREFUL = (
    "NoNewPrivileges=yes",
    "LockPersonality=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
)
# Not here, because workers may be anything a person runs: MemoryDenyWriteExecute (node, Java), RestrictNamespaces
# (browsers), SystemCallFilter, and any limit on the network.
_STRICT = (
    "ProtectSystem=strict",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
)


@dataclass(frozen=True, slots=True)
class Unit:
    """A manager under systemd: a user's own, or with `user` one of the system that runs as that user.

    `writable` are folders beside NOVA_HOME that a system unit's workers may write to.
    """

    nova: Path
    home: Path
    department: str = ""
    with_autonomous: str | None = None
    user: str | None = None
    writable: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        return unit_name(self.department)

    @property
    def command(self) -> tuple[str, ...]:
        options = ("--department", self.department) if self.department else ()
        cycle = ("--with-autonomous", self.with_autonomous) if self.with_autonomous else ()
        return (str(self.nova), "workers", "start", "--foreground", *options, *cycle)

    def text(self) -> str:
        """Raises UsageProblem for a path that no unit can hold."""
        return "\n".join([*self._head(), "", *self._service(), "", "[Install]", f"WantedBy={self._wanted_by}", ""])

    @property
    def _wanted_by(self) -> str:
        return "multi-user.target" if self.user else "default.target"

    def _head(self) -> Iterator[str]:
        whose = f" for {self.department}" if self.department else ""
        yield MARK
        yield "[Unit]"
        yield f"Description=nova: supervises the workers{whose} of {_literal(str(self.home))}"
        if self.user:
            yield "Wants=network-online.target"
            yield "After=network-online.target"

    def _service(self) -> Iterator[str]:
        yield "[Service]"
        yield "Type=notify"
        yield "NotifyAccess=main"
        if self.user:
            yield f"User={self.user}"
        yield f"ExecStart={' '.join(_argument(word) for word in self.command)}"
        yield f"WorkingDirectory={_literal(str(self.home))}"
        yield f"Environment={_quoted(f'NOVA_HOME={self.home}')}"
        yield f"Environment={_quoted(f'PATH={self.nova.parent}:/usr/local/bin:/usr/bin:/bin')}"
        yield "UMask=0077"
        yield f"TimeoutStartSec={_START_S}"
        yield f"TimeoutStopSec={_STOP_S}"
        yield f"WatchdogSec={_WATCHDOG_S}"
        yield "Restart=on-failure"
        yield "RestartSec=5"
        # Wrong usage and a wrong configuration do not mend themselves.
        yield "RestartPreventExitStatus=2 78"
        # The manager ends its workers in order; what it leaves is killed with it.
        yield "KillMode=mixed"
        # A worker that is killed for its memory is the manager's to deal with.
        yield "OOMPolicy=continue"
        yield "LimitCORE=0"
        yield from _CAREFUL
        if self.user:
            yield from _STRICT
            yield f"ReadWritePaths={' '.join(_quoted(str(path)) for path in (self.home, *self.writable))}"


def unit_name(department: str = "") -> str:
    return f"nova-{department}.service" if department else "nova.service"


def department_of(name: str) -> str:
    """The department that the unit of this name is for; `all` for the whole fleet."""
    return name.removesuffix(".service").removeprefix("nova").removeprefix("-") or "all"


def home_in(text: str) -> str | None:
    """The NOVA_HOME that a unit's text names."""
    for line in text.splitlines():
        if line.startswith(_HOME):
            (assignment,) = shlex.split(line.removeprefix("Environment="))
            return assignment.removeprefix("NOVA_HOME=").replace("%%", "%")
    return None


def cron_line(unit: Unit) -> str:
    """What does nearly the same without systemd."""
    command = [word for word in unit.command if word != "--foreground"]
    return f"@reboot NOVA_HOME={shlex.quote(str(unit.home))} {shlex.join(command)}"


def _literal(text: str) -> str:
    """A value that runs to the end of its line. Raises UsageProblem where it cannot."""
    if not text.isprintable() or text != text.strip() or text.endswith("\\"):
        raise UsageProblem(
            f"a systemd unit cannot hold the path {text!r}", hint="use a path without control characters"
        )
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    escaped = _literal(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _argument(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else _quoted(text.replace("$", "$$"))
