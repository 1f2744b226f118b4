from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nova.errors import UsageProblem
from workers.windows import Window, Windows

MINUTE = timedelta(minutes=1)
# Around a change of clocks: at 02:00, at midnight, by half an hour, on the other side of the world.
TURNS = [
    ("America/New_York", datetime(2026, 3, 8, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, tzinfo=UTC)),
    ("Europe/London", datetime(2026, 10, 25, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, tzinfo=UTC)),
    ("Africa/Cairo", datetime(2026, 4, 23, tzinfo=UTC)),
    ("Asia/Kolkata", datetime(2026, 6, 1, tzinfo=UTC)),
]


def clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def test_days_are_ranges_or_lists_and_may_go_round_the_week() -> None:
    assert Window.parse("mon-fri 09:00-17:00") == Window(frozenset(range(5)), 540, 1020)
    assert Window.parse("Sat, sunday 10:00-24:00") == Window(frozenset({5, 6}), 600, 1440)
    assert Window.parse("fri-mon 8:30-9:00").days == frozenset({4, 5, 6, 0})
    assert Window.parse("22:00-06:00") == Window(frozenset(range(7)), 1320, 1800)


@pytest.mark.parametrize(
    "text",
    ["", "mon", "09-17", "mon 25:00-26:00", "mon 09:60-10:00", "foo 09:00-10:00", "mon 09:00-09:00", "24:00-02:00"],
)
def test_what_is_no_window_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageProblem) as refusal:
        Window.parse(text)
    assert refusal.value.hint


def test_a_window_over_midnight_belongs_to_the_day_it_begins_on() -> None:
    windows = Windows.parse(["fri 22:00-06:00"], ZoneInfo("UTC"))
    assert windows.hold(datetime(2026, 11, 20, 23, tzinfo=UTC))  # a Friday
    assert windows.hold(datetime(2026, 11, 21, 5, 59, tzinfo=UTC))
    assert not windows.hold(datetime(2026, 11, 21, 6, tzinfo=UTC))
    assert not windows.hold(datetime(2026, 11, 21, 23, tzinfo=UTC))


def test_without_a_window_it_is_always_open() -> None:
    now = datetime(2026, 11, 20, 23, tzinfo=UTC)
    assert Windows.parse([], ZoneInfo("UTC")).opening(now) == now


@settings(max_examples=60, deadline=None)
@given(
    turn=st.sampled_from(TURNS),
    hours=st.integers(-30, 40),
    spans=st.lists(st.tuples(st.integers(0, 287), st.integers(1, 288)), min_size=1, max_size=3),
)
def test_it_opens_at_the_first_minute_that_lies_in_it_whatever_the_clocks_do(
    turn: tuple[str, datetime], hours: int, spans: list[tuple[int, int]]
) -> None:
    texts = [f"{clock(5 * begin)}-{clock(5 * end)}" for begin, end in spans if begin != end]
    windows = Windows.parse(texts, ZoneInfo(turn[0]))
    at = turn[1] + timedelta(hours=hours, minutes=7)
    opening = windows.opening(at)
    minutes = range(int((opening - at) / MINUTE))
    assert windows.hold(opening) and opening >= at
    assert not any(windows.hold(at + minute * MINUTE) for minute in minutes)
