"""nova workers start|stop|restart and nova stop: the manager's process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli.output import emit, line
from nova.cli.params import AsJson, Yes
from nova.cli.session import session
from nova.cli.terminal import confirm, note

if TYPE_CHECKING:
    from nova.config import Settings
    from workers.control import Stopped

Department = Annotated[
    str | None, typer.Option("--department", metavar="D", help="Only this department's deployments.")
]
Cycle = Annotated[
    str | None,
    typer.Option("--with-autonomous", metavar="DURATION", help="Also run an autonomous cycle so often, such as 15m."),
]
Timeout = Annotated[str, typer.Option("--timeout", metavar="DURATION", help="How long running work may take to end.")]


def start(
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay, and log to standard error: for containers and systemd.")
    ] = False,
    department: Department = None,
    with_autonomous: Cycle = None,
    json: AsJson = False,
) -> None:
    """Start the manager, which runs what is deployed.

    There is one for each NOVA_HOME and department; while one runs, a second start ends with exit code 75.

    Example:
      nova workers start --with-autonomous 15m
    """
    from nova.clock import parse_duration
    from nova.config import load_settings

    if with_autonomous is not None:
        parse_duration(with_autonomous)
    settings = load_settings()
    if foreground:
        _serve(settings, department, with_autonomous)
    pid = _start(settings, department, with_autonomous)
    if json:
        emit({"pid": pid, "department": department})
    else:
        line(f"the manager runs with process id {pid}")
        _say_when_nothing_is_deployed(department)
        _say_when_systemd_should(settings, department)


def _serve(settings: Settings, department: str | None, with_autonomous: str | None) -> None:
    from nova.clock import parse_duration
    from nova.daemon import leave, serve

    cycle_s = parse_duration(with_autonomous) if with_autonomous else None
    leave(serve(department=department or "", autonomous_s=cycle_s, foreground=True))


def _start(settings: Settings, department: str | None, with_autonomous: str | None) -> int:
    from workers.control import start_background

    return start_background(settings, department=department or "", with_autonomous=with_autonomous)


def _say_when_nothing_is_deployed(department: str | None) -> None:
    with session() as nova:
        deployed = nova.fleet.snapshot().deployments.values()
    if not deployed:
        note("nothing is deployed yet: nova deploy --help")
    elif department and department not in ("all", *(one.department for one in deployed)):
        note(f"nothing is deployed in the department {department} yet")


def _say_when_systemd_should(settings: Settings, department: str | None) -> None:
    import os
    from contextlib import suppress

    from nova.deployment.service import serving
    from nova.deployment.systemd import Systemd
    from nova.errors import NovaError
    from workers.control import managed_department

    asked = managed_department(settings, department or "")
    for system in (False, True):
        with suppress(NovaError):  # the manager has started: a unit that cannot be read is no reason to fail
            systemd = Systemd.of_this_machine(system=system, environ=os.environ)
            if (unit := serving(settings.nova_home, asked, systemd)) is not None:
                back = f"systemctl {systemd.options}restart {unit}"
                note(f"this one is not under systemd, as {unit} is: `nova workers stop`, then `{back}`")


def stop(timeout: Timeout = "30s", department: Department = None, json: AsJson = False) -> None:
    """Stop the manager; what is deployed stays declared.

    No new run is started, what runs is asked to end and, when the time is over, killed. Returns when the manager is
    gone; that none ran is no error.

    Example:
      nova workers stop --timeout 10s
    """
    from nova.clock import parse_duration
    from nova.config import load_settings
    from workers.control import stop as stop_managers

    done = stop_managers(load_settings(), parse_duration(timeout), department)
    if json:
        emit(_stopped(done))
    else:
        line(_stopped_words(done))


def _stopped(done: Stopped) -> dict[str, Any]:
    return {"stopped": done.stopped, "killed": done.killed}


def _stopped_words(done: Stopped) -> str:
    words = [f"the manager with process id {pid} has stopped" for pid in done.stopped]
    words += [f"the manager with process id {pid} did not stop in time and was killed" for pid in done.killed]
    return "; ".join(words) or "no manager was running"


def restart(
    timeout: Timeout = "30s", department: Department = None, with_autonomous: Cycle = None, json: AsJson = False
) -> None:
    """Stop the manager and start it again.

    It starts with the options given here: say --department and --with-autonomous again.

    Example:
      nova workers restart
    """
    from nova.clock import parse_duration
    from nova.config import load_settings
    from workers.control import stop as stop_managers

    settings = load_settings()
    if with_autonomous is not None:
        parse_duration(with_autonomous)
    done = stop_managers(settings, parse_duration(timeout), department or "")
    pid = _start(settings, department, with_autonomous)
    if json:
        emit({**_stopped(done), "pid": pid, "department": department})
    else:
        line(f"{_stopped_words(done)}; the manager runs with process id {pid}")
        _say_when_systemd_should(settings, department)


def stop_everything(
    everything: Annotated[bool, typer.Option("--all", help="Required: it stops the whole fleet.")] = False,
    yes: Yes = False,
    timeout: Timeout = "10s",
    json: AsJson = False,
) -> None:
    """Stop the whole fleet now: no cycle acts, nothing runs.

    The autonomous switch is turned off, every deployment is paused, and the manager is stopped with what runs under it.
    Everything stays declared: `nova workers resume --all` and `nova workers start` bring it back.

    Example:
      nova stop --all --yes
    """
    from nova.clock import parse_duration
    from nova.errors import NovaError, UsageProblem
    from workers.control import stop as stop_managers

    if not everything:
        raise UsageProblem("nova stop needs --all", hint="`nova workers stop` stops the manager only")
    timeout_s = parse_duration(timeout)
    confirm("Turn the engine off, pause every deployment and stop the manager?", yes=yes)
    problem: NovaError | None = None
    with session() as nova:
        paused: list[str] = []
        try:
            paused = _freeze(nova)
        except NovaError as found:  # a fleet that cannot be written is no reason to let its runs go on
            problem = found
        done = stop_managers(nova.settings, timeout_s, None)
    if problem is not None:
        raise problem
    if json:
        emit({"paused": paused, **_stopped(done)})
    else:
        line(f"{len(paused)} paused, autonomy is off, {_stopped_words(done)}")
        note("to go on: nova workers resume --all; nova workers start; nova autonomous enable")


def _freeze(nova: Any) -> list[str]:
    from nova.cli.params import person
    from workers.deployments import pause_all

    nova.fleet.set_autonomous(False)
    return sorted(deployment.name for deployment in pause_all(nova, person(None)))
