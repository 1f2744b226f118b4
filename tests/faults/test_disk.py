"""The ledger's disk is full, read-only or gives its lock to somebody else, and the power goes."""

from __future__ import annotations

import os
import random
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from zoneinfo import ZoneInfo

import psutil
import pytest
from sqlalchemy import select

from nova.clock import SystemClock
from nova.errors import NovaError
from nova.ledger.ledger import Ledger
from nova.ledger.schema import entries

from .rig import Rig, lives, until, usd

PRICE = "0.000100"
PAYER = f"""
number = ctx.state.get(ctx.instance, 0)
ctx.spend("{PRICE}", "step")
tell("{{journal}}", number)
ctx.state[ctx.instance] = number + 1
"""
MOMENTS = 10  # of a power cut
CHECKPOINT = 15_000_000  # bytes of log, which is before the first one


def mounted(home: Path, *options: str) -> Iterator[Rig]:
    if os.geteuid() != 0 or subprocess.run(["mount", *options, home], capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a disk")
    try:
        rig = Rig(home)
        yield rig
        rig.close()
    finally:
        subprocess.run(["umount", "-l", home], check=True)


@pytest.fixture
def on_a_small_disk(home: Path) -> Iterator[Rig]:
    yield from mounted(home, "-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs")


@pytest.fixture
def on_its_own_disk(home: Path) -> Iterator[Rig]:
    yield from mounted(home, "--bind", str(home))


def fill(home: Path) -> None:
    with (home / "filler").open("ab", buffering=0) as filler:
        try:
            while filler.write(b"x" * 4096):
                continue
        except OSError:
            return


def takes_nothing(rig: Rig, size: int) -> bool:
    """Whether a value of this size is refused; another each time, because what is written over needs no room."""
    fill(rig.home)
    try:
        rig.ledger.state.set("probe", secrets.token_hex(8), "x" * size)
    except NovaError as problem:
        return "no space is left" in problem.message
    return False


def test_a_full_disk_holds_up_what_cannot_be_recorded_and_loses_nothing(on_a_small_disk: Rig, tmp_path: Path) -> None:
    rig, journal = on_a_small_disk, tmp_path / "journal"  # which is on another disk
    rig.python("payer", PAYER.format(journal=journal), every_s=0.05)
    manager = rig.start()
    until(lambda: rig.succeeded("payer") >= 3, "it pays")
    until(lambda: takes_nothing(rig, 100_000), "the ledger takes nothing large")
    until(lambda: takes_nothing(rig, 100), "nor anything small, in the room that was left of that")
    told = len(rig.lines(str(journal)))
    with pytest.raises(NovaError, match="space"):
        rig.fleet.pause("payer", "operator")
    threading.Event().wait(1.0)
    assert len(rig.lines(str(journal))) <= told + 1, "it goes on although nothing can be recorded"
    assert lives(manager)
    (rig.home / "filler").unlink()
    before = rig.succeeded("payer")
    until(lambda: rig.succeeded("payer") > before + 3, "it pays again")
    assert rig.stop() == ()
    assert rig.state("payer") == "active"
    assert [run.error for run in rig.runs("payer") if run.crash] == []
    assert rig.booked("payer", "cost") == usd(PRICE) * len(rig.lines(str(journal)))
    rig.check()


def test_a_read_only_disk_is_said_in_one_line_and_ends_nothing(on_its_own_disk: Rig) -> None:
    rig = on_its_own_disk
    rig.bystander()
    manager = rig.start()
    rig.still_works()
    subprocess.run(["mount", "--bind", rig.home, rig.home], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", rig.home], check=True)
    try:
        for command in (["workers", "pause", "bystander"], ["workers", "start", "--department", "other"]):
            done = nova(rig, *command)
            assert done.returncode in (1, 69), done
            assert "read-only" in done.stderr.lower()
            assert "Traceback" not in done.stderr
        assert lives(manager)
    finally:
        subprocess.run(["umount", "-l", rig.home], check=True)
    assert nova(rig, "workers", "start", "--department", "other").returncode == 0
    rig.still_works()
    assert rig.stop() == ()
    rig.check()


def nova(rig: Rig, *args: str) -> subprocess.CompletedProcess[str]:
    binary = Path(sys.executable).with_name("nova")
    return subprocess.run([binary, *args], capture_output=True, text=True, check=False, timeout=60, cwd="/")


def test_out_of_descriptors_holds_up_new_runs_only_and_leaks_none(rig: Rig) -> None:
    rig.shell("long", "sleep 2; exit 0")
    rig.bystander(replicas=4)
    manager = rig.start(WORKER_MAX_CRASHES="100000")
    rig.still_works()
    usual = psutil.Process(manager).num_fds()
    before = resource.prlimit(manager, resource.RLIMIT_NOFILE)
    resource.prlimit(manager, resource.RLIMIT_NOFILE, (usual - 4, before[1]))
    failed = until(lambda: [run for run in rig.runs("bystander") if run.status != "succeeded"], "runs cannot begin")
    assert any("Too many open files" in (run.error or "") for run in failed), failed[0]
    assert rig.ended("long").status == "succeeded"
    resource.prlimit(manager, resource.RLIMIT_NOFILE, before)
    rig.still_works()
    rig.fleet.pause("bystander", "operator")
    until(lambda: psutil.Process(manager).num_fds() <= usual, "no descriptor is left over")
    assert rig.stop() == ()
    rig.check()


CHECKPOINTER = """
import sqlite3, sys, time
conn = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)
while True:
    conn.execute("PRAGMA wal_checkpoint(PASSIVE)")
    time.sleep(0.01)
"""
SELLER = """
for _ in range(5):
    number = ctx.state.get(ctx.instance, 0)
    ctx.state[ctx.instance] = number + 1
    ctx.spend("0.0001", "step")
    ctx.earn("0.01", f"{ctx.instance}-{number}")
    tell("journal", f"{ctx.instance}-{number}")
"""


def test_the_files_of_a_power_cut_open_and_hold_all_that_was_confirmed(rig: Rig, tmp_path: Path) -> None:
    """The manager is frozen at a random instant; a torn end of the log is what was not yet on the disk."""
    chance = random.Random(20261121)
    rig.python("seller", SELLER, every_s=0.1, replicas=2)
    manager = rig.start()
    until(lambda: len(rig.lines("journal")) > 10, "it sells")
    for moment in range(MOMENTS):
        threading.Event().wait(chance.uniform(0.0, 0.1))
        copy, told = frozen_copy(rig, tmp_path / str(moment), [manager])
        assert told <= holds(copy)
        log = copy.with_name(f"{copy.name}-wal")
        if log.stat().st_size > CHECKPOINT:  # from here on a part of it is in the ledger's own file
            assert moment > 2
            break
        tear(log, chance)
        assert holds(copy)
    with subprocess.Popen([sys.executable, "-c", CHECKPOINTER, rig.settings.ledger_path]) as checkpointer:
        try:
            for moment in range(MOMENTS):
                threading.Event().wait(chance.uniform(0.0, 0.1))
                copy, told = frozen_copy(rig, tmp_path / f"moved-{moment}", [manager, checkpointer.pid])
                assert told <= holds(copy)
        finally:
            checkpointer.kill()
    assert rig.stop() == ()
    rig.check()


def frozen_copy(rig: Rig, folder: Path, writers: list[int]) -> tuple[Path, set[str]]:
    """The ledger's files as they are on the disk at this instant, and what its workers knew to be booked before."""
    for pid in writers:
        os.kill(pid, signal.SIGSTOP)
    try:
        for pid in writers:
            until(lambda pid=pid: psutil.Process(pid).status() == psutil.STATUS_STOPPED, "it stands still")
        folder.mkdir()
        path = rig.settings.ledger_path
        for name in (path.name, f"{path.name}-wal"):
            shutil.copy(path.with_name(name), folder / name)
        return folder / path.name, set(rig.lines("journal"))
    finally:
        for pid in writers:
            os.kill(pid, signal.SIGCONT)


def tear(log: Path, chance: random.Random) -> None:
    """Its end had not reached the disk."""
    size = log.stat().st_size
    with log.open("r+b") as file:
        file.seek(file.truncate(chance.randrange(size // 2, size)))
        file.write(chance.randbytes(chance.randrange(5000)))


def holds(copy: Path) -> set[str]:
    """What a ledger that was cut off has of the workers' sales; it must open and agree with itself."""
    scratch = copy.parent / "opened"
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(copy.parent, scratch)
    zone, clock = ZoneInfo("UTC"), SystemClock()
    with closing(Ledger.open(f"sqlite:///{scratch / copy.name}", currency="USD", zone=zone, clock=clock)) as ledger:
        verified = ledger.verify()
        assert verified.ok, verified.first_bad
        with ledger.read() as conn:
            return set(conn.execute(select(entries.c.id).where(entries.c.kind == "revenue")).scalars())
