from __future__ import annotations

from datetime import UTC, datetime, timedelta

from workers.enforcement import CrashPolicy, CrashWindow, Verdict, replayed

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = CrashPolicy(max_crashes=5, cooldown=timedelta(seconds=300))


def crash(window: CrashWindow, seconds: float, ran: float = 0.5) -> Verdict:
    at = START + timedelta(seconds=seconds)
    return window.crashed(at, at - timedelta(seconds=ran))


def test_five_crashes_within_ten_minutes_cool_down() -> None:
    window = CrashWindow(POLICY)
    assert [crash(window, n) for n in range(5)] == [Verdict.RETRY] * 4 + [Verdict.COOL_DOWN]


def test_the_next_five_park() -> None:
    window = CrashWindow(POLICY)
    for n in range(5):
        crash(window, n)
    assert [crash(window, 305 + n) for n in range(5)] == [Verdict.RETRY] * 4 + [Verdict.PARK]


def test_five_crashes_spread_over_more_than_ten_minutes_do_nothing() -> None:
    window = CrashWindow(POLICY)
    assert {crash(window, 151 * n) for n in range(40)} == {Verdict.RETRY}


def test_ten_clean_minutes_forget_them() -> None:
    window = CrashWindow(POLICY)
    for n in range(4):
        crash(window, n)
    assert [crash(window, 4 + 601 + n) for n in range(5)] == [Verdict.RETRY] * 4 + [Verdict.COOL_DOWN]


def test_ten_clean_minutes_after_the_cooldown_forget_that_there_was_one() -> None:
    window = CrashWindow(POLICY)
    for n in range(5):
        crash(window, n)
    after = 4 + 300 + 601
    assert [crash(window, after + n) for n in range(5)][-1] is Verdict.COOL_DOWN


def test_a_long_cooldown_is_not_a_clean_time() -> None:
    window = CrashWindow(CrashPolicy(cooldown=timedelta(hours=2)))
    for n in range(5):
        crash(window, n)
    assert [crash(window, 7205 + n) for n in range(5)][-1] is Verdict.PARK


def test_runs_that_had_begun_before_the_cooldown_do_not_count_towards_parking() -> None:
    window = CrashWindow(POLICY)
    for n in range(5):
        crash(window, n)
    assert [crash(window, 10 + n, ran=60) for n in range(20)] == [Verdict.RETRY] * 20


def test_without_auto_restart_the_first_crash_parks() -> None:
    assert crash(CrashWindow(CrashPolicy(auto_restart=False)), 0) is Verdict.PARK


def test_a_restarted_manager_remembers_what_the_ledger_tells() -> None:
    times = [START + timedelta(seconds=n) for n in range(4)]
    window = replayed(POLICY, [(at - timedelta(seconds=0.1), at) for at in times])
    assert crash(window, 10) is Verdict.COOL_DOWN


def test_crashes_from_before_the_clock_was_set_back_do_not_count() -> None:
    window = CrashWindow(POLICY)
    for n in range(4):
        crash(window, 3600 + n)
    assert [crash(window, n) for n in range(5)] == [Verdict.RETRY] * 4 + [Verdict.COOL_DOWN]


def test_crashes_that_are_told_out_of_order_count() -> None:
    window = CrashWindow(POLICY)
    assert [crash(window, n) for n in (0, 2, 1, 4, 3)] == [Verdict.RETRY] * 4 + [Verdict.COOL_DOWN]


def test_a_clock_that_is_set_back_during_the_cooldown_does_not_lengthen_it() -> None:
    window = CrashWindow(POLICY)
    for n in range(5):
        crash(window, 3600 + n)
    assert [crash(window, n) for n in range(5)] == [Verdict.RETRY] * 4 + [Verdict.COOL_DOWN]
