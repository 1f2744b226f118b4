from __future__ import annotations

from workers.vigil import BEAT_S, RUN_LEASE_S, TTL_S, Vigil


def watched(seconds: float, *, others: dict[str, int], vigil: Vigil, since: float = 0.0) -> set[str]:
    """Looks twice a second, with an own beat in every second one; what is silent at the end."""
    now, silent = since, set()
    while now <= since + seconds:
        if (now - since) % BEAT_S == 0:
            vigil.beat(now)
        silent = vigil.silent(now, others)
        now += 0.5
    return silent


def test_who_does_not_beat_for_as_long_as_it_may_is_silent() -> None:
    vigil = Vigil()
    assert watched(TTL_S - 0.5, others={"a": 3, "b": 1}, vigil=vigil) == set()
    assert vigil.silent(TTL_S, {"a": 3, "b": 2}) == {"a"}


def test_a_beat_is_heard_whichever_count_it_brings() -> None:
    vigil = Vigil()
    watched(TTL_S - 0.5, others={"a": 3}, vigil=vigil)
    assert vigil.silent(TTL_S - 0.5, {"a": 1}) == set()
    assert vigil.silent(TTL_S + 1, {"a": 1}) == set()


def test_who_is_seen_for_the_first_time_has_its_whole_time() -> None:
    vigil = Vigil()
    watched(20.0, others={}, vigil=vigil)
    assert vigil.silent(20.0, {"a": 0}) == set()
    assert watched(TTL_S, others={"a": 0}, vigil=vigil, since=20.0) == {"a"}


def test_where_the_own_beats_do_not_come_through_nobody_is_silent() -> None:
    vigil = Vigil()
    watched(4.0, others={"a": 1}, vigil=vigil)
    for half_seconds in range(8, 68):  # the ledger is locked for thirty seconds
        assert vigil.silent(half_seconds / 2, {"a": 1}) == set() or half_seconds / 2 <= 4 + 2 * BEAT_S
    vigil.beat(34.0)
    assert vigil.silent(34.0, {"a": 1}) == set()
    assert watched(TTL_S - 0.5, others={"a": 1}, vigil=vigil, since=34.0) == set()
    assert watched(0.5, others={"a": 1}, vigil=vigil, since=34.0 + TTL_S) == {"a"}


def test_an_observer_that_was_itself_stopped_begins_to_count_anew() -> None:
    vigil = Vigil()
    watched(2.0, others={"a": 1}, vigil=vigil)
    vigil.beat(60.0)
    assert vigil.silent(60.0, {"a": 1}) == set()
    assert watched(TTL_S - 0.5, others={"a": 1}, vigil=vigil, since=60.0) == set()


def test_before_its_first_own_beat_it_judges_nobody() -> None:
    vigil = Vigil()
    assert vigil.silent(0.0, {"a": 1}) == set()
    assert vigil.silent(100.0, {"a": 1}) == set()


def test_a_manager_begins_nothing_more_before_others_may_take_over() -> None:
    assert RUN_LEASE_S + 1 < TTL_S
    assert TTL_S + BEAT_S <= 10
