from __future__ import annotations

import errno
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from filelock import FileLock

from nova.clock import ManualClock
from nova.errors import LockHeld, NovaError
from nova.fleet import file as fleet_file
from nova.fleet.documents import BudgetLimit, Declaration
from nova.fleet.fleet import Fleet
from nova.fleet.terms import Breaker, HealthRules
from nova.money import Money

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def fleet_in(folder: Path) -> Fleet:
    return Fleet(folder / "fleet.json", ManualClock(START), "USD")


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    fleet = fleet_in(tmp_path)
    fleet.deploy(Declaration("mailer", "sales", "shell", config={"command": "true"}))
    return fleet


def edit(fleet: Fleet, change: dict[str, object]) -> None:
    content = json.loads(fleet.path.read_text())
    content["deployments"]["mailer"].update(change)
    fleet.path.write_text(json.dumps(content))


def test_what_another_process_wrote_is_seen_however_fast_it_came(fleet: Fleet) -> None:
    other = fleet_in(fleet.path.parent)
    seen = set()
    for replicas in [2, 3] * 50:
        fleet.scale("mailer", replicas)
        seen.add(other.token())
        assert other.get("mailer").replicas == replicas
    assert len(seen) == 100


def test_the_token_changes_although_the_clock_goes_back(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fleet.path.stat().st_mtime_ns
    monkeypatch.setattr(time, "time_ns", lambda: before - 3_600_000_000_000)
    fleet.scale("mailer", 2)
    assert fleet.path.stat().st_mtime_ns > before


def test_what_has_not_changed_is_not_read_again(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fleet.snapshot()
    monkeypatch.setattr(json, "loads", None)
    assert fleet.snapshot() is first


def test_an_edit_by_hand_is_taken(fleet: Fleet) -> None:
    edit(fleet, {"replicas": 7})
    assert fleet.get("mailer").replicas == 7
    assert fleet.scale("mailer", 8).replicas == 8


def test_what_a_newer_nova_keeps_in_a_document_stays(fleet: Fleet) -> None:
    edit(fleet, {"mood": "good"})
    fleet.scale("mailer", 2)
    assert json.loads(fleet.path.read_text())["deployments"]["mailer"]["mood"] == "good"


def test_a_newer_format_is_refused(fleet: Fleet) -> None:
    content = json.loads(fleet.path.read_text())
    fleet.path.write_text(json.dumps({**content, "format": 2}))
    for attempt in (fleet.snapshot, lambda: fleet.kill("mailer")):
        with pytest.raises(NovaError, match="newer nova"):
            attempt()


@pytest.mark.parametrize(
    "wrong",
    [
        {"replicas": "three"},
        {"replicas": None},
        {"state": "asleep"},
        {"every_s": -1},
        {"every_s": "soon"},
        {"created_at": "yesterday"},
        {"budget": [{"per": "day"}]},
        {"budget": [{"per": "week", "limit": "1"}]},
        {"config": []},
        {"last_step": {}},
    ],
)
def test_a_document_edited_into_nonsense_is_named(fleet: Fleet, wrong: dict[str, object]) -> None:
    edit(fleet, wrong)
    with pytest.raises(NovaError, match="'mailer' makes no sense"):
        fleet.snapshot()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"deployments": []}', '{"deployments": {"mailer": 1}}', "\x00"]
)
def test_what_is_no_fleet_is_refused_with_the_command_that_restores(fleet: Fleet, content: str) -> None:
    fleet.scale("mailer", 2)
    fleet.path.write_text(content)
    with pytest.raises(NovaError) as told:
        fleet.snapshot()
    command = (told.value.hint or "").partition(": ")[2]
    subprocess.run(["/bin/sh", "-c", command], check=True)
    assert fleet.get("mailer").replicas == 1


def test_a_file_that_is_gone_is_no_empty_fleet(fleet: Fleet) -> None:
    fleet.scale("mailer", 2)
    fleet.path.unlink()
    for attempt in (fleet.snapshot, lambda: fleet.kill("mailer")):
        with pytest.raises(NovaError, match="is missing"):
            attempt()


def test_a_lock_that_is_held_is_told_and_reading_goes_on(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_file, "LOCK_TIMEOUT_S", 0.05)
    with FileLock(fleet.path.with_name("fleet.json.lock")):
        with pytest.raises(LockHeld) as told:
            fleet.scale("mailer", 2)
        assert fleet.get("mailer").replicas == 1
    assert told.value.exit_code == 75


@pytest.mark.parametrize("call", ["fsync", "open", "link"])
def test_a_full_disk_changes_nothing_and_leaves_nothing_behind(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    before = fleet.path.read_bytes()

    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        patch.setattr("shutil.copyfile", full)
        with pytest.raises(NovaError, match="No space left"):
            fleet.scale("mailer", 2)
    assert fleet.path.read_bytes() == before
    assert {path.name for path in fleet.path.parent.glob("fleet.json*")} <= {"fleet.json", "fleet.json.lock"}
    assert fleet.scale("mailer", 2).revision == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_really_is_full_loses_nothing(small_disk: Path) -> None:
    fleet = fleet_in(small_disk)
    kept = []
    with pytest.raises(NovaError, match="No space left"):
        for number in range(1000):
            fleet.deploy(Declaration(f"w{number}", "sales", "shell", config={"command": "x" * 500}))
            kept.append(f"w{number}")
    assert kept
    assert list(fleet_in(small_disk).snapshot().deployments) == sorted(kept)
    fleet.path.with_name("fleet.json.bak").unlink()
    fleet.retire(kept[-1])
    assert len(fleet_in(small_disk).snapshot().deployments) == len(kept) - 1


def test_a_missing_home_is_made_for_its_owner_only(tmp_path: Path) -> None:
    fleet_in(tmp_path / "new").set_autonomous(True)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_a_file_system_without_hard_links_keeps_a_copy_too(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*args: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    before = fleet.path.read_bytes()
    fleet.scale("mailer", 2)
    copy = fleet.path.with_name("fleet.json.bak")
    assert copy.read_bytes() == before
    assert copy.stat().st_mode & 0o777 == 0o600


def test_a_command_line_of_any_bytes_is_kept(fleet: Fleet) -> None:
    command = os.fsdecode(b"cat /srv/\xff/\xc3\xa9")
    fleet.configure("mailer", {"command": command}, {})
    assert fleet_in(fleet.path.parent).get("mailer").config == {"command": command}


def test_every_value_of_a_deployment_survives_its_document(fleet: Fleet) -> None:
    limits = (BudgetLimit.parse("0.000412/run", "USD"), BudgetLimit.parse("20/day", "USD"))
    odd = fleet.change("mailer", lambda one: replace(one, budget=limits, every_s=0.5, evidence_since=START))
    assert fleet_in(fleet.path.parent).get("mailer") == odd


def test_a_budget_keeps_its_currency_when_the_reporting_one_changes(fleet: Fleet) -> None:
    fleet.set_budget("worker:mailer", "day", Money.parse("20", "USD"))
    euros = Fleet(fleet.path, ManualClock(START), "EUR")
    assert euros.get("mailer").budget[0].limit == Money.parse("20", "USD")


def test_ten_thousand_deployments_are_changed_in_a_moment(tmp_path: Path) -> None:
    fleet = fleet_in(tmp_path)
    one = fleet.deploy(Declaration("w0", "sales", "shell", config={"command": "true"})).deployment
    with fleet._changing() as db:
        documents = {f"w{i}": replace(one, name=f"w{i}").to_document() for i in range(10_000)}
        fleet._file.replace({"deployments": documents})
        assert len(db.documents("deployments").names()) == 10_000
    fleet.snapshot()
    fastest = 9.0
    for turn in range(5):
        start = time.process_time()
        fleet.scale("w5", 2 + turn)
        fastest = min(fastest, time.process_time() - start)
    assert fastest < 0.25


def test_what_is_by_default_is_not_written_and_what_was_set_back_does_not_stay(tmp_path: Path) -> None:
    fleet = fleet_in(tmp_path)
    plain = Declaration("w", "sales", "shell", config={"command": "true"})
    kept = fleet.deploy(plain).deployment
    assert not {"health", "resources", "schedule", "breaker", "secrets", "tried"} & kept.to_document().keys()
    asked = replace(plain, health=HealthRules(velocity=5.0), secrets=("TOKEN",))
    fleet.deploy(asked)
    assert json.loads((tmp_path / "fleet.json").read_text())["deployments"]["w"]["health"] == {"velocity": 5.0}
    fleet.trip("w", Breaker("no_progress"), None)
    fleet.resume("w", override=True)
    fleet.deploy(plain)
    for found in (fleet.get("w"), fleet_in(tmp_path).get("w")):
        assert (found.health, found.secrets, found.breaker) == (HealthRules(), (), None)
    fleet.trip("w", Breaker("no_progress"), None)
    refused = fleet.change_each(
        [("w", fleet.get("w").revision, lambda one: replace(one, breaker=None, state="active"))]
    )
    assert refused == {} and fleet_in(tmp_path).get("w").breaker is None
