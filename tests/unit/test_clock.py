from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova.clock import (
    ManualClock,
    SystemClock,
    format_duration,
    from_us,
    iso,
    parse_duration,
    parse_time,
    to_us,
    window_end,
    window_of,
)
from nova.errors import UsageProblem

INSTANTS = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
ZONES = st.sampled_from(
    [ZoneInfo(key) for key in ("UTC", "Europe/Vienna", "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia")]
)


@given(INSTANTS)
def test_an_instant_survives_writing_and_storing(at: datetime) -> None:
    assert parse_time(iso(at)) == at
    assert from_us(to_us(at)) == at
    assert iso(at).endswith("Z")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T09:30:00Z", datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
        (" 2026-01-31 09:30:00+02:00 ", datetime(2026, 1, 31, 7, 30, tzinfo=UTC)),
    ],
)
def test_a_time_without_an_offset_is_utc(text: str, at: datetime) -> None:
    assert parse_time(text) == at


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "31.01.2026", "0001-01-01T00:00:00+14:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageProblem):
        parse_time(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("5m", 300), ("2h", 7200), ("1d", 86400), ("1.5 h", 5400), ("250ms", 0.25)],
)
def test_durations_have_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "5 minutes", "1h30m", "inf", "nan", "1e3", "40000d", "٥m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageProblem):
        parse_duration(text)


@given(st.integers(0, 10**7))
def test_a_duration_reads_back_as_it_is_shown(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-5)


@given(INSTANTS, ZONES, st.sampled_from(["day", "month"]))
def test_a_window_turns_at_its_end_and_not_before(at: datetime, zone: ZoneInfo, per: str) -> None:
    end = window_end(per, at, zone)
    assert at < end
    assert window_of(per, end, zone) != window_of(per, at, zone)
    assert window_of(per, end - timedelta(microseconds=1), zone) == window_of(per, at, zone)


def test_a_day_is_the_operators_day() -> None:
    at = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
    vienna = ZoneInfo("Europe/Vienna")
    assert window_of("day", at, vienna) == "day:2026-02-01"
    assert window_of("month", at, vienna) == "month:2026-02"
    assert window_end("day", at, vienna) == datetime(2026, 2, 1, 23, tzinfo=UTC)


@pytest.mark.parametrize(("day", "hours"), [(29, 23), (30, 24)])
def test_the_day_of_the_clock_change_is_an_hour_shorter(day: int, hours: int) -> None:
    vienna = ZoneInfo("Europe/Vienna")
    start = datetime(2026, 3, day, tzinfo=vienna).astimezone(UTC)
    assert window_end("day", start, vienna) - start == timedelta(hours=hours)


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2))))
    assert clock.now() == datetime(2026, 1, 1, 10, tzinfo=UTC)
    clock.advance(90)
    assert (clock.now(), clock.monotonic()) == (datetime(2026, 1, 1, 10, 1, 30, tzinfo=UTC), 90)
    clock.set(datetime(2025, 1, 1, tzinfo=UTC))
    assert clock.monotonic() == 90


def test_the_machines_clock_is_utc_and_its_monotonic_one_never_goes_back() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()
