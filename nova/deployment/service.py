"""Putting the manager under systemd, taking it away again, and saying how it stands there."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nova.config import VARIABLES, Settings, ensure_home
from nova.deployment.systemd import NoSystemd, Systemd, lingers
from nova.deployment.unit import MARK, Unit, cron_line, department_of, home_in, unit_name
from nova.errors import LockHeld, NotFound, NovaError, Refused
from workers.control import running_managers

_PRIVATE = ("/tmp", "/var/tmp")  # noqa: S108 - of which a system unit has its own


@dataclass(frozen=True, slots=True)
class Installed:
    """`changed`: the unit was written. `notes` are what the operator should know besides."""

    unit: str
    path: Path
    changed: bool
    pid: int | None
    notes: tuple[str, ...] = ()


def install(unit: Unit, settings: Settings, systemd: Systemd, environ: Mapping[str, str]) -> Installed:
    """Writes the unit, enables it and starts it; what is there already and runs is left as it is.

    Raises NoSystemd, Refused for a unit that is not nova's or serves another NOVA_HOME, LockHeld where a manager runs
    that is not the service's, and NovaError where it does not come up.
    """
    text, path = unit.text(), systemd.folder / unit.name
    if (why := systemd.missing()) is not None:
        raise NoSystemd(why, hint=f"without systemd, cron can start it; add with `crontab -e`:\n{cron_line(unit)}")
    before = _read(path)
    _check_ours(path, before, unit)
    _check_home(unit, settings)
    running = _pid(systemd.show(unit.name))
    _check_free(settings, unit.department, running)
    if before != text:
        _write(path, text)
        systemd.act("daemon-reload")
    systemd.act("enable", unit.name)
    _bring_up(systemd, unit.name, again=running is not None and before != text)
    pid = _pid(systemd.show(unit.name))
    return Installed(unit.name, path, before != text, pid, tuple(_notes(unit, environ)))


def uninstall(department: str, systemd: Systemd) -> bool:
    """Stops it and takes the unit away; False when there was none. Raises Refused for a unit that is not nova's."""
    name = unit_name(department)
    path = systemd.folder / name
    text = _read(path)
    if text is None:
        return False
    if not text.startswith(MARK):
        raise Refused(f"{path} was not written by nova", hint="remove it by hand if it is not needed")
    reachable = systemd.missing() is None
    if reachable:
        systemd.act("disable", "--now", name)
    _removed(path)
    if reachable:
        systemd.act("daemon-reload")
    return True


def standing(systemd: Systemd) -> list[dict[str, Any]]:
    """Every unit of nova's, as JSON; what systemd alone knows is null where it cannot be asked."""
    units = sorted(systemd.folder.glob("nova*.service"))
    asked = units and systemd.missing() is None
    found = []
    for path in units:
        text = _read(path)
        if text is not None and text.startswith(MARK):
            found.append(_row(path, text, systemd, systemd.show(path.name) if asked else {}))
    return found


def _row(path: Path, text: str, systemd: Systemd, seen: Mapping[str, str]) -> dict[str, Any]:
    since = int(seen.get("ActiveEnterTimestampMonotonic") or 0)
    active = seen.get("ActiveState")
    return {
        "unit": path.name,
        "scope": systemd.scope,
        "path": str(path),
        "home": home_in(text),
        "department": department_of(path.name),
        "enabled": None if not seen else seen.get("UnitFileState") == "enabled",
        "state": active,
        "sub_state": seen.get("SubState"),
        "pid": _pid(seen),
        "uptime_s": round(time.monotonic() - since / 1e6, 1) if active == "active" and since else None,
        "restarts": int(seen["NRestarts"]) if seen.get("NRestarts", "").isdigit() else None,
        "result": seen.get("Result"),
        "says": (seen.get("StatusText") or None) if active == "active" else None,
    }


def serving(home: Path, department: str, systemd: Systemd) -> str | None:
    """The unit that is installed to run this manager, if there is one."""
    name = unit_name(department)
    text = _read(systemd.folder / name)
    return name if text is not None and text.startswith(MARK) and home_in(text) == str(home) else None


def account(name: str) -> pwd.struct_passwd:
    """Raises NotFound."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise NotFound(f"there is no user {name!r} on this machine") from None


def home_of(user: str) -> Path:
    """Where that user's nova keeps its files, as long as NOVA_HOME says nothing else."""
    return Path(account(user).pw_dir) / ".local" / "share" / "nova"


def _check_ours(path: Path, text: str | None, unit: Unit) -> None:
    if text is None:
        return
    if not text.startswith(MARK):
        raise Refused(f"{path} was not written by nova", hint="move it away, then run this again")
    serves = home_in(text)
    if serves != str(unit.home):
        raise Refused(
            f"{unit.name} serves another NOVA_HOME, {serves}",
            hint="take it away with `nova service uninstall` first; one user has one such service for each department",
        )


def _check_home(unit: Unit, settings: Settings) -> None:
    """A system unit's folder must be its user's: root would leave files there that the user cannot write. Nor can it be
    in /tmp, of which such a unit sees one of its own.
    """
    if unit.user is None:
        ensure_home(settings)
        return
    user = account(unit.user)
    for path in (unit.nova, unit.home, *unit.writable):
        hidden = next((folder for folder in _PRIVATE if path.is_relative_to(folder)), None)
        if hidden is not None:
            raise Refused(f"a system unit cannot see {path}: it has a {hidden} of its own", hint="move it elsewhere")
    for folder in (unit.home, *unit.writable):
        if not folder.is_dir():
            raise NotFound(
                f"{folder} is not there", hint=f"make it as that user: sudo -u {unit.user} mkdir -p {folder}"
            )
    if unit.home.stat().st_uid != user.pw_uid:
        raise Refused(f"{unit.home} does not belong to {unit.user}", hint="say with NOVA_HOME and --user whose it is")


def _check_free(settings: Settings, department: str, service_pid: int | None) -> None:
    for info in running_managers(settings):
        if info.department == department and info.pid != service_pid:
            raise LockHeld(
                f"a manager runs already, with process id {info.pid}, and not as this service",
                hint="stop it with `nova workers stop`, then run this again",
            )


def _bring_up(systemd: Systemd, name: str, *, again: bool) -> None:
    try:
        systemd.act("restart" if again else "start", name)
    except NovaError as problem:
        hint = f"`journalctl {systemd.options}-u {name} -n 30` says why"
        raise NovaError(f"{name} is installed but did not start", hint=hint) from problem


def _notes(unit: Unit, environ: Mapping[str, str]) -> list[str]:
    notes = []
    hidden = [name for name in VARIABLES if name != "NOVA_HOME" and environ.get(name, "").strip()]
    if hidden:
        notes.append(f"the service does not see this shell's {', '.join(hidden)}: set them in {unit.home / '.env'}")
    if Path(".env").is_file() and Path.cwd() != unit.home:
        notes.append(f"the service does not read {Path.cwd() / '.env'}, only {unit.home / '.env'}")
    if unit.user is None:
        name = pwd.getpwuid(os.getuid()).pw_name
        if lingers(name) is False:
            notes.append(
                f"it ends when you log out, and does not start with the machine: loginctl enable-linger {name}"
            )
    return notes


def _pid(seen: Mapping[str, str]) -> int | None:
    pid = seen.get("MainPID", "")
    return int(pid) if pid.isdigit() and int(pid) > 0 else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as problem:
        raise NovaError(f"{path} cannot be read: {problem}") from problem


def _write(path: Path, text: str) -> None:
    """Whole or not at all. Others may read it: systemd does, and it holds no secret."""
    scratch = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(text, encoding="utf-8")
        scratch.chmod(0o644)
        scratch.replace(path)
    except OSError as problem:
        raise NovaError(f"{path} cannot be written: {problem.strerror}") from problem


def _removed(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as problem:
        raise NovaError(f"{path} cannot be removed: {problem.strerror}") from problem
