from __future__ import annotations

from math import inf

import pytest

from workers.instance import GRACE_S, Backoff, Instance, Intent, Order, State


def new(
    every: float = 60, timeout: float = 300, ago: float | None = None, now: float = 1000.0, **more: object
) -> Instance:
    return Instance(every, timeout, now=now, last_start_ago=ago, **more)  # type: ignore[arg-type]


def test_an_instance_that_never_ran_is_due_at_once() -> None:
    instance = new()
    assert instance.step(1000)[0] is Order.START
    assert instance.state is State.STARTING
    instance.began()
    assert instance.state is State.RUNNING


def test_it_is_due_one_every_after_the_last_recorded_start_also_across_restarts() -> None:
    instance = new(every=60, ago=45)
    assert instance.step(1000) == (Order.NONE, 1015)
    assert instance.state is State.WAITING
    assert instance.step(1014.9)[0] is Order.NONE
    assert instance.step(1015)[0] is Order.START


def test_missed_runs_coalesce_into_one() -> None:
    instance = new(every=60, ago=3600)
    assert instance.step(1000)[0] is Order.START
    instance.ended(1001, crash=False)
    assert instance.step(1001) == (Order.NONE, 1060)


def test_a_last_start_in_the_future_after_the_clock_was_set_back_waits_one_every_and_no_longer() -> None:
    assert new(every=60, ago=-3600).step(1000) == (Order.NONE, 1060)


def test_a_run_longer_than_every_is_followed_at_once_and_never_overlapped() -> None:
    instance = new(every=1, timeout=300)
    instance.step(1000)
    instance.began()
    assert instance.step(1050)[0] is Order.NONE
    instance.ended(1100, crash=False)
    assert instance.step(1100)[0] is Order.START


@pytest.mark.parametrize(("crashes", "delay"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (500, 60)])
def test_the_backoff_doubles_from_one_second_to_a_minute(crashes: int, delay: float) -> None:
    assert Backoff().delay(crashes) == delay


def test_a_crash_is_retried_after_the_backoff_whatever_every_is_and_success_forgets_it() -> None:
    instance = new(every=3600)
    now = 1000.0
    for delay in (1.0, 2.0, 4.0):
        assert instance.step(now)[0] is Order.START
        instance.ended(now, crash=True)
        assert instance.step(now) == (Order.NONE, now + delay)
        assert instance.state is State.BACKING_OFF
        now += delay
    instance.step(now)
    instance.ended(now, crash=False)
    assert instance.step(now) == (Order.NONE, now + 3600)
    assert instance.state is State.WAITING


def test_without_backoff_a_crash_is_retried_at_once() -> None:
    instance = new(every=3600, backoff=Backoff(base_s=0))
    instance.step(1000)
    instance.ended(1000, crash=True)
    assert instance.step(1000)[0] is Order.START


def test_a_thread_past_its_timeout_is_hung_and_gets_no_other_until_it_ends() -> None:
    instance = new(every=1, timeout=10)
    instance.step(1000)
    instance.began()
    assert instance.step(1010)[0] is Order.ABANDON
    assert instance.state is State.HUNG
    assert instance.step(5000) == (Order.NONE, inf)
    instance.ended(5001, crash=True)
    assert instance.step(5002)[0] is Order.START


def test_a_process_group_past_its_timeout_is_asked_then_killed_then_given_up() -> None:
    instance = new(timeout=10)
    instance.step(1000, killable=True)
    instance.began()
    assert instance.step(1010, killable=True) == (Order.TERMINATE, 1010 + GRACE_S)
    assert instance.step(1010 + GRACE_S, killable=True) == (Order.KILL, 1010 + 2 * GRACE_S)
    assert instance.step(1010 + 2 * GRACE_S, killable=True)[0] is Order.ABANDON
    assert instance.state is State.HUNG


def test_draining_lets_the_run_end_and_then_stops() -> None:
    instance = new()
    instance.step(1000)
    instance.began()
    instance.declare(60, 300, Intent.DRAIN)
    assert instance.step(1001)[0] is Order.NONE
    assert instance.state is State.STOPPING
    instance.ended(1002, crash=False)
    assert instance.step(1002) == (Order.NONE, inf)
    assert instance.state is State.STOPPED


def test_an_instance_wanted_again_while_draining_goes_on() -> None:
    instance = new()
    instance.step(1000)
    instance.began()
    instance.declare(60, 300, Intent.DRAIN)
    instance.step(1001)
    instance.declare(60, 300, Intent.RUN)
    instance.step(1002)
    assert instance.state is State.RUNNING


def test_ending_asks_the_run_once() -> None:
    instance = new()
    instance.step(1000)
    instance.began()
    instance.declare(60, 300, Intent.END)
    assert instance.step(1001)[0] is Order.ASK
    assert instance.step(1002)[0] is Order.NONE


def test_a_killed_thread_is_stopping_for_the_grace_and_then_hung() -> None:
    instance = new()
    instance.step(1000)
    instance.began()
    instance.kill(1005)
    instance.declare(60, 300, Intent.DRAIN)
    assert instance.step(1005)[0] is Order.TERMINATE
    assert instance.state is State.STOPPING
    assert instance.step(1005 + GRACE_S)[0] is Order.ABANDON
    assert instance.state is State.HUNG


def test_killing_a_waiting_instance_stops_it() -> None:
    instance = new(ago=10)
    instance.step(1000)
    instance.kill(1001)
    instance.step(1001)
    assert instance.state is State.STOPPED


def test_another_every_moves_the_next_run() -> None:
    instance = new(every=60, ago=45)
    instance.step(1000)
    instance.declare(20, 300, Intent.RUN)
    assert instance.step(1000)[0] is Order.START


def running(**more: object) -> Instance:
    instance = new(**more)  # type: ignore[arg-type]
    instance.step(1000)
    instance.began()
    return instance


def test_a_run_without_a_sign_of_life_is_ended_like_one_past_its_timeout() -> None:
    instance = running()
    assert instance.step(1000, silent_at=1020) == (Order.NONE, 1020)
    assert instance.step(1020, silent_at=1090) == (Order.NONE, 1090), "it gave one meanwhile"
    assert instance.step(1090, silent_at=1090)[0] is Order.ABANDON
    assert instance.silent and instance.state is State.HUNG
    instance.ended(1100, crash=True)
    assert not instance.silent


def test_a_silent_command_is_asked_to_end_and_then_killed() -> None:
    instance = running()
    assert instance.step(1020, killable=True, silent_at=1020)[0] is Order.TERMINATE
    assert instance.step(1020 + GRACE_S, killable=True, silent_at=1020)[0] is Order.KILL


def test_a_run_past_its_timeout_is_not_called_silent() -> None:
    instance = running(timeout=10)
    assert instance.step(1010, silent_at=1005)[0] is Order.ABANDON
    assert not instance.silent


def test_a_run_can_be_cut_short_and_never_made_longer() -> None:
    instance = running(timeout=10)
    instance.cut(1099)
    assert instance.step(1000) == (Order.NONE, 1010)
    instance.cut(1004)
    instance.cut(1004, grace_s=1.0)
    assert instance.step(1004, killable=True)[0] is Order.TERMINATE
    assert instance.step(1005, killable=True)[0] is Order.KILL
