"""Installing and taking away, with a systemd that writes down what it is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from nova.config import Settings, load_settings
from nova.deployment import service
from nova.deployment.systemd import NoSystemd, Systemd
from nova.deployment.unit import MARK, Unit
from nova.errors import LockHeld, NotFound, NovaError, Refused
from workers.lock import ManagerInfo, ManagerLock

NOVA = Path("/opt/nova/bin/nova")


class FakeSystemd(Systemd):
    """Remembers what it was asked. `absent` is why it cannot be used, `broken` what it fails at."""

    absent: str | None = None
    broken = ""

    def __init__(self, folder: Path) -> None:
        super().__init__(False, folder)
        object.__setattr__(self, "calls", [])
        object.__setattr__(self, "running", set())

    def missing(self) -> str | None:
        return self.absent

    def act(self, *words: str) -> None:
        self.calls.append(" ".join(words))
        if words[0] == self.broken:
            raise NovaError("systemctl failed")
        if words[0] in ("start", "restart"):
            self.running.add(words[1])

    def show(self, unit: str) -> dict[str, str]:
        up = unit in self.running
        return {"MainPID": "4711" if up else "0", "ActiveState": "active" if up else "inactive"}


@pytest.fixture
def systemd(tmp_path: Path) -> FakeSystemd:
    return FakeSystemd(tmp_path / "units")


@pytest.fixture
def settings(home: Path) -> Settings:
    return load_settings()


def unit(settings: Settings, **more: object) -> Unit:
    return Unit(NOVA, settings.nova_home, **more)


def test_installing_twice_changes_nothing_the_second_time(settings: Settings, systemd: FakeSystemd) -> None:
    first = service.install(unit(settings), settings, systemd, {})
    assert systemd.calls == ["daemon-reload", "enable nova.service", "start nova.service"]
    assert (first.changed, first.pid) == (True, 4711)
    assert first.path.stat().st_mode & 0o777 == 0o644
    systemd.calls.clear()
    assert not service.install(unit(settings), settings, systemd, {}).changed
    assert systemd.calls == ["enable nova.service", "start nova.service"]


def test_other_options_restart_what_runs(settings: Settings, systemd: FakeSystemd) -> None:
    service.install(unit(settings), settings, systemd, {})
    systemd.calls.clear()
    assert service.install(unit(settings, with_autonomous="15m"), settings, systemd, {}).changed
    assert systemd.calls == ["daemon-reload", "enable nova.service", "restart nova.service"]


def test_without_systemd_it_says_what_to_do_instead(
    settings: Settings, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeSystemd, "absent", "this machine does not run systemd")
    with pytest.raises(NoSystemd) as told:
        service.install(unit(settings), settings, systemd, {})
    assert told.value.exit_code == 1
    assert "@reboot" in str(told.value.hint)
    assert not systemd.folder.exists()


def test_a_unit_of_somebody_else_is_left_alone(settings: Settings, systemd: FakeSystemd) -> None:
    systemd.folder.mkdir()
    path = systemd.folder / "nova.service"
    path.write_text("[Service]\nExecStart=/usr/bin/other\n")
    with pytest.raises(Refused, match="was not written by nova"):
        service.install(unit(settings), settings, systemd, {})
    with pytest.raises(Refused, match="was not written by nova"):
        service.uninstall("", systemd)
    assert path.exists()
    assert service.standing(systemd) == []


def test_a_unit_that_serves_another_home_is_not_taken_over(settings: Settings, systemd: FakeSystemd) -> None:
    service.install(unit(settings), settings, systemd, {})
    with pytest.raises(Refused, match="serves another NOVA_HOME"):
        service.install(Unit(NOVA, Path("/elsewhere")), settings, systemd, {})


def test_a_manager_that_runs_already_is_not_run_beside(settings: Settings, systemd: FakeSystemd) -> None:
    lock = ManagerLock(settings.run_dir)
    lock.acquire()
    lock.write(ManagerInfo(1, "m-1", "2026-01-01T00:00:00Z", ""))
    try:
        with pytest.raises(LockHeld, match="process id 1, and not as this service"):
            service.install(unit(settings), settings, systemd, {})
    finally:
        lock.release()
    assert systemd.calls == []


def test_a_manager_that_does_not_come_up_is_no_success(
    settings: Settings, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeSystemd, "broken", "start")
    with pytest.raises(NovaError, match="did not start") as told:
        service.install(unit(settings), settings, systemd, {})
    assert "journalctl --user -u nova.service" in str(told.value.hint)


def test_settings_that_the_service_would_not_see_are_named_and_their_values_are_not(
    settings: Settings, systemd: FakeSystemd, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("NOVA_CURRENCY=EUR\n")
    done = service.install(unit(settings), settings, systemd, {"STRIPE_API_KEY": "sk_test_secret", "NOVA_HOME": "/x"})
    words = "\n".join(done.notes)
    assert "STRIPE_API_KEY" in words
    assert str(tmp_path / ".env") in words
    assert "sk_test" not in words
    assert "NOVA_HOME" not in words


def test_uninstalling_stops_it_and_is_idempotent(settings: Settings, systemd: FakeSystemd) -> None:
    service.install(unit(settings, department="sales"), settings, systemd, {})
    systemd.calls.clear()
    assert not service.uninstall("", systemd)
    assert service.uninstall("sales", systemd)
    assert systemd.calls == ["disable --now nova-sales.service", "daemon-reload"]
    assert not service.uninstall("sales", systemd)
    assert list(systemd.folder.iterdir()) == []


def test_status_tells_each_unit(settings: Settings, systemd: FakeSystemd) -> None:
    service.install(unit(settings, department="sales"), settings, systemd, {})
    (row,) = service.standing(systemd)
    assert row["unit"] == "nova-sales.service"
    assert row["department"] == "sales"
    assert row["home"] == str(settings.nova_home)
    assert (row["state"], row["pid"]) == ("active", 4711)
    assert service.serving(settings.nova_home, "sales", systemd) == "nova-sales.service"
    assert service.serving(settings.nova_home, "", systemd) is None
    assert (systemd.folder / row["unit"]).read_text().startswith(MARK)


def test_a_system_unit_needs_a_folder_of_its_user(
    settings: Settings, systemd: FakeSystemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_PRIVATE", ())
    with pytest.raises(NotFound, match="no user"):
        service.install(unit(settings, user="nobody-by-that-name"), settings, systemd, {})
    with pytest.raises(NotFound, match="is not there"):
        service.install(unit(settings, user="root", writable=(tmp_path / "gone",)), settings, systemd, {})
    with pytest.raises(Refused, match="does not belong to"):
        service.install(unit(settings, user="daemon"), settings, systemd, {})


def test_a_system_unit_cannot_use_what_is_in_tmp(settings: Settings, systemd: FakeSystemd) -> None:
    hidden = Unit(Path("/var/tmp/nova/bin/nova"), settings.nova_home, user="root")
    with pytest.raises(Refused, match="a /var/tmp of its own"):
        service.install(hidden, settings, systemd, {})
    assert systemd.calls == []


def test_a_user_without_a_home_directory_has_no_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(NoSystemd, match="no home directory"):
        Systemd.of_this_machine(system=False, environ={})
    assert Systemd.of_this_machine(system=False, environ={"XDG_CONFIG_HOME": "/c"}).folder == Path("/c/systemd/user")
