from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nova.errors import UsageProblem
from nova.fleet.terms import Schedule
from workers.schedule import Timetable, checked, next_run, timetable_of

ZONE = ZoneInfo("UTC")
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)  # a Friday
HOUR = timedelta(hours=1)
TURNS = [
    ("America/New_York", datetime(2026, 3, 8, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, tzinfo=UTC)),
    ("Europe/Vienna", datetime(2026, 3, 29, tzinfo=UTC)),
    ("Europe/Vienna", datetime(2026, 10, 25, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, tzinfo=UTC)),
    ("Africa/Cairo", datetime(2026, 4, 23, tzinfo=UTC)),
    ("America/Santiago", datetime(2026, 9, 6, tzinfo=UTC)),
    ("Asia/Kolkata", datetime(2026, 6, 1, tzinfo=UTC)),
]


def table(cron: str | None = "0 9 * * *", zone: str = "UTC", **more: Any) -> Timetable:
    return Timetable(Schedule(cron=cron, timezone=zone, **more), 60.0, ZONE)


def at(table: Timetable, last: datetime | None, now: datetime, since: datetime = NOON) -> datetime | None:
    due = table.due("w#1", last, since, now)
    return due.at if due else None


def test_the_first_run_is_at_the_first_time_after_the_declaration() -> None:
    assert at(table(), None, NOON) == datetime(2026, 11, 21, 9, tzinfo=UTC)


def test_another_schedule_makes_up_for_nothing_that_was_before_it() -> None:
    yesterday = NOON - 24 * HOUR
    assert at(table("0 11 * * *"), yesterday, NOON, since=NOON) == datetime(2026, 11, 21, 11, tzinfo=UTC)


def test_what_was_missed_is_one_run() -> None:
    hourly, later = table("0 * * * *"), NOON + 5 * HOUR + timedelta(minutes=20)
    due = hourly.due("w#1", NOON, NOON, later)
    assert due is not None and due.slot == NOON + 5 * HOUR and due.at <= later
    assert at(hourly, due.slot, later) == NOON + 6 * HOUR


def test_what_was_missed_is_skipped_where_that_is_declared_but_not_what_is_a_little_late() -> None:
    hourly = table("0 * * * *", at_most=0)
    assert at(hourly, NOON, NOON + 5 * HOUR + timedelta(minutes=20)) == NOON + 6 * HOUR
    assert at(hourly, NOON, NOON + 5 * HOUR + timedelta(seconds=20)) == NOON + 5 * HOUR


def test_what_was_missed_is_caught_up_oldest_first_and_at_most_so_often() -> None:
    hourly, now = table("0 * * * *", at_most=3), NOON + 10 * HOUR + timedelta(minutes=1)
    last, served = NOON, []
    while (due := hourly.due("w#1", last, NOON, now)) and due.at <= now:
        last = due.slot
        served.append((due.slot - NOON) // HOUR)
    assert served == [8, 9, 10]


def test_years_of_missed_seconds_are_not_counted_one_by_one() -> None:
    now = NOON.replace(year=2036)
    assert at(table("* * * * * *"), NOON, now) == now


def test_a_clock_set_back_a_little_repeats_no_run_and_one_set_back_by_days_begins_anew() -> None:
    hourly = table("0 * * * *")
    assert at(hourly, NOON + HOUR, NOON + HOUR - timedelta(minutes=10)) == NOON + 2 * HOUR
    assert at(hourly, NOON + 240 * HOUR, NOON + timedelta(minutes=1)) == NOON + HOUR


def test_the_hour_that_summer_time_leaves_out_comes_right_after_it_and_the_double_one_once() -> None:
    zone = ZoneInfo("America/New_York")
    nightly = table("30 2 * * *", "America/New_York")
    spring = list(islice(nightly.occurrences(datetime(2026, 3, 7, 12, tzinfo=UTC)), 2))
    assert [f"{one.astimezone(zone):%d %H:%M %Z}" for one in spring] == ["08 03:00 EDT", "09 02:30 EDT"]
    autumn = list(
        islice(table("30 1 * * *", "America/New_York").occurrences(datetime(2026, 10, 31, 12, tzinfo=UTC)), 2)
    )
    assert [f"{one.astimezone(zone):%d %H:%M %Z}" for one in autumn] == ["01 01:30 EDT", "02 01:30 EST"]


def test_a_run_waits_for_its_window_to_open() -> None:
    table_ = table("0 * * * *", windows=("mon-fri 09:00-17:00",))
    friday_evening = datetime(2026, 11, 20, 17, 30, tzinfo=UTC)
    assert at(table_, friday_evening - HOUR / 2, friday_evening) == datetime(2026, 11, 23, 9, tzinfo=UTC)


@pytest.mark.parametrize(("opens", "runs"), [("22:00", (2,)), ("21:30", (2, 3))])
@pytest.mark.parametrize("at_most", [0, 1])
def test_what_waited_for_a_window_is_one_run_however_it_is_spread(
    opens: str, runs: tuple[int, ...], at_most: int
) -> None:
    spread = table("0 * * * *", windows=(f"{opens}-06:00",), jitter_s=3000.0, at_most=at_most)
    for index in range(10):
        now, last, begun = NOON, NOON - 7 * HOUR, list[datetime]()
        while (due := spread.due(f"w#{index}", last, last, now)) and due.at < NOON + 18 * HOUR:
            if due.at <= now:
                last = due.slot
                begun.append(now)
            now = max(now, due.at)
        assert len([at for at in begun if at < NOON + 12 * HOUR]) in runs


def test_the_jitter_is_the_same_for_a_run_and_another_for_every_instance() -> None:
    spread = table("0 * * * *", jitter_s=600.0)
    found = {spread.jitter(f"w#{index}", NOON) for index in range(20)}
    assert len(found) > 15 and all(timedelta(0) <= one < timedelta(minutes=10) for one in found)
    assert spread.jitter("w#1", NOON) == table("0 * * * *", jitter_s=600.0).jitter("w#1", NOON)


def test_a_plain_interval_needs_no_timetable() -> None:
    assert timetable_of(Schedule(), 60.0, ZONE) is None
    assert timetable_of(Schedule(once=True), 60.0, ZONE) is None
    assert next_run(Schedule(), 60.0, ZONE, "w#1", NOON, NOON, NOON) == NOON + timedelta(minutes=1)


def test_the_next_run_of_an_interval_with_a_window_is_in_the_window() -> None:
    night = Schedule(windows=("22:00-06:00",))
    assert next_run(night, 60.0, ZONE, "w#1", NOON, NOON, NOON) == NOON + 10 * HOUR


@pytest.mark.parametrize(
    "wrong",
    [
        Schedule(cron="x"),
        Schedule(cron=""),
        Schedule(cron="61 * * * *"),
        Schedule(cron="0 0 30 2 *"),
        Schedule(cron="@reboot"),
        Schedule(cron="0 9 * * fri-mon"),
        Schedule(cron="* * * * *", timezone="Mars/Olympus"),
        Schedule(cron="* * * * *", timezone="../etc/passwd"),
        Schedule(cron="* * * * *", timezone="Europe"),
        Schedule(cron="* * * * *", jitter_s=60.0),
        Schedule(cron="* * * * *", at_most=100_000),
        Schedule(jitter_s=60.0),
        Schedule(at_most=0),
        Schedule(timezone="UTC"),
        Schedule(windows=("often",)),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused_in_words(wrong: Schedule) -> None:
    with pytest.raises(UsageProblem):
        checked(wrong, 60.0, ZONE, NOON, every_given=False)


def test_cron_takes_the_place_of_every() -> None:
    with pytest.raises(UsageProblem, match="--every and --cron"):
        checked(Schedule(cron="@daily"), 60.0, ZONE, NOON, every_given=True)
    assert checked(Schedule(cron="@daily"), 60.0, ZONE, NOON, every_given=False).cron == "@daily"


@settings(max_examples=80, deadline=None)
@given(turn=st.sampled_from(TURNS), hour=st.integers(0, 23), minute=st.integers(0, 59), shift=st.integers(0, 47))
def test_a_daily_time_comes_once_on_every_day_of_the_calendar(
    turn: tuple[str, datetime], hour: int, minute: int, shift: int
) -> None:
    zone, begin = ZoneInfo(turn[0]), turn[1] - timedelta(days=3) + timedelta(hours=shift)
    daily = table(f"{minute} {hour} * * *", turn[0])
    found = list(takewhile(lambda one: one < begin + timedelta(days=7), daily.occurrences(begin)))
    days = [one.astimezone(zone).date() for one in found]
    assert len(days) == len(set(days)) and (days[-1] - days[0]).days == len(days) - 1
    for one in found:
        local = one.astimezone(zone)
        left_out = local.replace(hour=hour, minute=minute, fold=0)
        moved = left_out.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != left_out.replace(tzinfo=None)
        assert (local.hour, local.minute) == (hour, minute) or moved


@settings(max_examples=80, deadline=None)
@given(
    turn=st.sampled_from(TURNS),
    cron=st.sampled_from(
        ["*/15 * * * *", "30 2 * * *", "0,30 1-3 * * *", "0 * * * *", "15 */6 * * *", "*/40 * * * * *"]
    ),
    at_most=st.integers(0, 3),
    jitter_s=st.sampled_from([0.0, 30.0]),
    windows=st.sampled_from([(), ("01:30-03:30",), ("22:00-02:15", "mon-sun 12:00-13:00")]),
    naps=st.lists(st.integers(1, 20_000), min_size=3, max_size=40),
)
def test_every_run_is_for_a_later_time_never_early_never_outside_a_window_and_no_more_than_declared_are_made_up_for(
    turn: tuple[str, datetime], cron: str, at_most: int, jitter_s: float, windows: tuple[str, ...], naps: list[int]
) -> None:
    schedule = Timetable(Schedule(cron, turn[0], at_most, jitter_s, windows), 60.0, ZONE)
    since = now = turn[1] - timedelta(hours=12)
    last: datetime | None = None
    for nap in naps:
        now += timedelta(seconds=nap)
        made = 0
        while (due := schedule.due("w#1", last, since, now)) and due.at <= now:
            assert last is None or due.slot > last
            assert due.slot <= due.at and schedule.place(due.at, timedelta(0)) == due.at
            last = due.slot
            made += 1
        assert made <= max(1, at_most)
        assert due is None or due.at > now
