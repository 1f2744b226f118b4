"""nova service install|status|uninstall: the manager as a systemd unit."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli import render
from nova.cli.commands.manager import Cycle, Department
from nova.cli.output import Column, emit, line, table
from nova.cli.params import AsJson
from nova.cli.terminal import note

if TYPE_CHECKING:
    from nova.config import Settings
    from nova.deployment.systemd import Systemd
    from nova.deployment.unit import Unit

SystemWide = Annotated[
    bool, typer.Option("--system", help="A unit of the whole machine (needs root), not of this user.")
]


def install(
    system: SystemWide = False,
    user: Annotated[
        str | None,
        typer.Option("--user", metavar="NAME", help="With --system: who it runs as; who called sudo if left out."),
    ] = None,
    department: Department = None,
    with_autonomous: Cycle = None,
    write: Annotated[
        list[Path] | None,
        typer.Option("--write", metavar="DIR", help="With --system: a folder the workers may write to; repeatable."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the unit and change nothing.")] = False,
    json: AsJson = False,
) -> None:
    """Let systemd keep the manager running.

    Installs, enables and starts the unit nova, or nova-D for a department: it starts with the machine and comes back
    when it dies or stands still. Doing it again changes nothing; with other options it changes the unit. A system
    unit's workers can write only to NOVA_HOME, to a /tmp of their own and to each --write DIR; in neither kind of unit
    can a worker gain rights, so sudo does not work there.

    Example:
      nova service install --with-autonomous 15m
    """
    from nova.deployment.service import install as put

    unit, settings = _unit(system, user, department, with_autonomous, write or [])
    if dry_run:
        _print(unit, _systemd(system), json)
        return
    if system:
        _require_root()
    done = put(unit, settings, _systemd(system), os.environ)
    if json:
        emit({"unit": done.unit, "path": done.path, "changed": done.changed, "pid": done.pid, "notes": done.notes})
        return
    what = "installed" if done.changed else "is installed as it should be"
    line(f"{done.unit} {what}; the manager runs with process id {done.pid}")
    for text in done.notes:
        note(f"note: {text}")


def _print(unit: Unit, systemd: Systemd, json: bool) -> None:
    if json:
        emit({"unit": unit.name, "path": systemd.folder / unit.name, "text": unit.text()})
    else:
        for text in unit.text().splitlines():
            line(text)


def _unit(
    system: bool, user: str | None, department: str | None, with_autonomous: str | None, writable: list[Path]
) -> tuple[Unit, Settings]:
    from nova.clock import parse_duration
    from nova.config import load_settings
    from nova.deployment.service import account, home_of
    from nova.deployment.systemd import own_executable
    from nova.deployment.unit import Unit
    from nova.errors import UsageProblem
    from workers.control import managed_department

    if not system and (user is not None or writable):
        hint = "a user's own unit runs with that user's rights"
        raise UsageProblem("--user and --write belong to --system", hint=hint)
    if with_autonomous is not None:
        parse_duration(with_autonomous)
    environ = dict(os.environ)
    if system:
        user = user or environ.get("SUDO_USER")
        if user is None:
            raise UsageProblem("say as whom it is to run: --user NAME", hint="root only if its workers need that")
        account(user)
        environ.setdefault("NOVA_HOME", str(home_of(user)))
    settings = load_settings(environ)
    if system and settings.ledger_path.parent != settings.nova_home:
        writable = [*writable, settings.ledger_path.parent]
    unit = Unit(
        nova=own_executable(sys.executable),
        home=settings.nova_home.absolute(),
        department=managed_department(settings, department or ""),
        with_autonomous=with_autonomous,
        user=user,
        writable=tuple(path.absolute() for path in writable),
    )
    return unit, settings


def _systemd(system: bool) -> Systemd:
    from nova.deployment.systemd import Systemd

    return Systemd.of_this_machine(system=system, environ=os.environ)


def _require_root() -> None:
    from nova.errors import NovaError

    if os.geteuid() != 0:
        raise NovaError("only root installs and removes units of the whole machine", hint="call it with sudo")


def status(json: AsJson = False) -> None:
    """Show the units that run a manager here, this user's and the system's.

    Example:
      nova service status
    """
    from nova.deployment.service import standing

    rows = [row for system in (False, True) for row in standing(_systemd(system))]
    if json:
        emit({"services": rows})
    elif not rows:
        note("no service is installed: nova service install")
    else:
        heads = ("unit", "scope", "state", "starts itself", "process id", "up", "restarts")
        columns = (*(Column(head, state=head == "state") for head in heads), Column("says", wrap=True))
        table(columns, [_row(row) for row in rows])


def _row(row: dict[str, Any]) -> list[str]:
    state = row["state"] if row["state"] != "failed" else f"failed ({row['result']})"
    enabled = {True: "yes", False: "no", None: render.NOTHING}[row["enabled"]]
    numbers = [render.NOTHING if row[name] is None else str(row[name]) for name in ("pid", "restarts")]
    up = render.duration(row["uptime_s"])
    return [row["unit"], row["scope"], state or "unknown", enabled, numbers[0], up, numbers[1], row["says"] or ""]


def uninstall(system: SystemWide = False, department: Department = None, json: AsJson = False) -> None:
    """Stop the manager's service and take its unit away.

    What is deployed stays declared. Without such a unit nothing is done, which is no error.

    Example:
      nova service uninstall
    """
    from nova.deployment.service import uninstall as take_away
    from nova.deployment.unit import unit_name

    if system:
        _require_root()
    removed = take_away(department or "", _systemd(system))
    name = unit_name(department or "")
    if json:
        emit({"unit": name, "removed": removed})
    else:
        line(f"{name} is gone" if removed else f"{name} was not installed")
