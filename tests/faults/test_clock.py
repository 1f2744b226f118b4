"""The wall clock jumps, and the hour is set forward and back."""

from __future__ import annotations

import struct
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nova.fleet.terms import Schedule

from .rig import Rig, until, usd

SCRIPT = Path(__file__).with_name("jumping_manager.py")
DAY_S = 86_400.0


class Clock:
    """A manager's, from outside: set in one write, as a machine's is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(struct.pack("d", 0.0))

    def set(self, at: datetime) -> None:
        self.jump((at - datetime.now(UTC)).total_seconds())

    def jump(self, seconds: float) -> None:
        """So far from the machine's."""
        with self.path.open("r+b", buffering=0) as file:
            file.write(struct.pack("d", seconds))

    def start(self, rig: Rig) -> None:
        """A manager that goes by this clock."""
        process = subprocess.Popen([sys.executable, SCRIPT, self.path], stdin=subprocess.DEVNULL)
        process.returncode = 0  # it is the rig's to end
        until(rig.managers, "the manager is there")


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


def test_runs_keep_their_pace_when_the_clock_jumps_and_what_was_passed_over_is_one_run(rig: Rig, clock: Clock) -> None:
    rig.python("thread", "return None", every_s=0.3)
    rig.shell("command", "exit 0", every_s=0.3)
    rig.shell("daily", "exit 0", schedule=Schedule(cron="0 9 * * *", timezone="UTC"))
    clock.start(rig)
    until(lambda: rig.succeeded("thread") and rig.succeeded("command"), "both run")
    daily = len(rig.runs("daily"))
    for jump in (3 * DAY_S, -10 * DAY_S, 3 * DAY_S):
        clock.jump(jump)
        rig.paced(0.3, "thread", "command")
    until(lambda: len(rig.runs("daily")) == daily + 1, "three times were passed over, and made up for once")
    rig.paced(0.3, "thread")
    assert len(rig.runs("daily")) == daily + 1
    assert rig.stop() == ()
    rig.check(one_time=False)


def test_half_past_two_comes_once_on_the_days_on_which_the_hour_is_changed(rig: Rig, clock: Clock) -> None:
    """In spring it falls into the hour that is left out, in autumn into the one that comes twice."""
    rig.shell("nightly", "exit 0", schedule=Schedule(cron="30 2 * * *", timezone="Europe/Vienna", at_most=0))
    rig.shell("witness", "exit 0", schedule=Schedule(cron="0,30 * * * *", timezone="UTC", at_most=0))
    for seen, (at, nights) in enumerate(
        [
            (datetime(2027, 3, 28, 1, 0, tzinfo=UTC), 1),  # 02:00 becomes 03:00 in Vienna
            (datetime(2027, 10, 31, 0, 30, tzinfo=UTC), 2),  # 02:30, summer time
            (datetime(2027, 10, 31, 1, 30, tzinfo=UTC), 2),  # 02:30 again, winter time
        ]
    ):
        clock.set(at - timedelta(seconds=2))
        clock.start(rig)
        until(lambda seen=seen: len(rig.runs("witness")) == seen + 1, f"{at} has come")
        until(lambda nights=nights: len(rig.runs("nightly")) >= nights, f"the run of {at}", 5)
        assert rig.stop() == ()
        starts = [run.started_at for run in rig.runs("nightly")]
        assert len(starts) == nights
        assert nights != seen + 1 or abs((starts[0] - at).total_seconds()) < 5
    rig.check()


def test_a_day_has_one_budget_however_often_it_comes(rig: Rig, clock: Clock) -> None:
    rig.python("payer", 'ctx.spend("0.10", "step")', every_s=0.05, budget={"day": "0.50"})
    clock.set(datetime(2027, 3, 10, 12, tzinfo=UTC))
    clock.start(rig)
    until(lambda: rig.fleet.get("payer").pause_reason == "budget", "its budget is used up")
    assert rig.booked("payer", "cost") == usd("0.50")
    clock.set(datetime(2027, 3, 11, 12, tzinfo=UTC))
    until(lambda: rig.booked("payer", "cost") == usd("1.00"), "the next day has its own")
    for day in (10, 11, 10):
        clock.set(datetime(2027, 3, day, 13, tzinfo=UTC))
        rig.fleet.resume("payer")
        until(lambda: rig.fleet.get("payer").pause_reason == "budget", "that day's is used up")
    assert rig.booked("payer", "cost") == usd("1.00")
    assert rig.stop() == ()
    rig.check(one_time=False)
