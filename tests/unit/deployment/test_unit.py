"""The text of the unit: what it says, and that systemd reads it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nova.deployment.unit import MARK, Unit, cron_line, department_of, home_in, unit_name
from nova.errors import UsageProblem
from tests.conftest import missing

NOVA = Path("/opt/nova/.venv/bin/nova")
HOME = Path("/home/dana/.local/share/nova")


def settings(unit: Unit) -> dict[str, str]:
    """The last word for each key of the unit."""
    return dict(line.split("=", 1) for line in unit.text().splitlines() if "=" in line and not line.startswith("#"))


def test_a_users_unit_waits_for_readiness_and_is_watched() -> None:
    found = settings(Unit(NOVA, HOME, with_autonomous="15m"))
    assert found["ExecStart"] == f"{NOVA} workers start --foreground --with-autonomous 15m"
    assert found["Type"] == "notify"
    assert found["Restart"] == "on-failure"
    assert found["WantedBy"] == "default.target"
    assert int(found["WatchdogSec"]) > 60
    assert found["NoNewPrivileges"] == "yes"
    assert "User" not in found


def test_a_users_unit_has_nothing_that_a_users_service_manager_may_not_do() -> None:
    found = settings(Unit(NOVA, HOME))
    assert not {name for name in found if name.startswith(("Protect", "Private", "Capability", "ReadWrite"))}


def test_a_system_unit_can_write_where_it_was_told_only() -> None:
    found = settings(Unit(NOVA, HOME, user="dana", writable=(Path("/srv/my out"),)))
    assert found["User"] == "dana"
    assert found["ProtectSystem"] == "strict"
    assert found["ReadWritePaths"] == f'"{HOME}" "/srv/my out"'
    assert found["WantedBy"] == "multi-user.target"


def test_a_department_has_a_unit_of_its_own() -> None:
    unit = Unit(NOVA, HOME, department="sales")
    assert unit.name == unit_name("sales") == "nova-sales.service"
    assert "--department sales" in settings(unit)["ExecStart"]
    assert department_of(unit.name) == "sales"
    assert department_of(unit_name()) == "all"


@pytest.mark.parametrize("home", ["/srv/a b", "/srv/100%", '/srv/"q"', "/srv/back\\slash", "/srv/dollar$x", "/srv/é"])
def test_any_path_survives_the_unit(home: str) -> None:
    text = Unit(NOVA, Path(home)).text()
    assert text.startswith(MARK)
    assert home_in(text) == home
    assert f"WorkingDirectory={home.replace('%', '%%')}\n" in text


@pytest.mark.parametrize("home", ["/srv/two\nlines", "/srv/end\\", "/srv/blank "])
def test_a_path_that_no_unit_can_hold_is_refused(home: str) -> None:
    with pytest.raises(UsageProblem, match="cannot hold"):
        Unit(NOVA, Path(home)).text()


def test_variables_in_an_argument_are_no_variables() -> None:
    unit = Unit(Path("/opt/$HOME/100%/nova"), HOME)
    assert settings(unit)["ExecStart"].startswith('"/opt/$$HOME/100%%/nova" workers')


def test_cron_does_nearly_the_same() -> None:
    line = cron_line(Unit(NOVA, Path("/srv/a b"), with_autonomous="15m"))
    assert line == f"@reboot NOVA_HOME='/srv/a b' {NOVA} workers start --with-autonomous 15m"


@pytest.mark.parametrize("user", [None, "root"])
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path, user: str | None) -> None:
    if shutil.which("systemd-analyze") is None:
        missing("systemd-analyze")
    unit = Unit(Path(sys.executable).with_name("nova"), tmp_path / "a home", user=user, with_autonomous="15m")
    path = tmp_path / unit.name
    path.write_text(unit.text())
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *([] if user else ["--user"]), str(path)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "nova" not in done.stderr
