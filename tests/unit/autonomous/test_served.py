from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova.autonomous.served import Turn, served_us


@pytest.mark.parametrize(
    ("turns", "served"),
    [
        ([], 4 * 100),
        ([Turn(60, replicas=2)], 2 * 60 + 4 * 40),
        ([Turn(60, replicas=2), Turn(30, replicas=1)], 1 * 30 + 2 * 30 + 4 * 40),
        ([Turn(60, ran=False)], 4 * 40),
        ([Turn(60, ran=False), Turn(20, replicas=2, ran=True)], 2 * 20 + 4 * 40),
        ([Turn(130, replicas=3)], 3 * 100),  # after the window: it says what there was within
        ([Turn(-5, replicas=3)], 4 * 100),
    ],
)
def test_served_time_follows_what_was_declared(turns: list[Turn], served: int) -> None:
    assert served_us(turns, 4, True, 0, 100) == served


def test_what_rests_now_served_until_it_was_paused() -> None:
    assert served_us([Turn(70, ran=True)], 2, False, 0, 100) == 140
    assert served_us([], 2, False, 0, 100) == 0


@given(st.lists(st.tuples(st.integers(-10, 110), st.integers(1, 9), st.booleans()), max_size=6), st.integers(0, 100))
def test_pieces_of_a_span_add_up(made: list[tuple[int, int, bool]], cut: int) -> None:
    turns = [Turn(*one) for one in made]
    whole = served_us(turns, 4, True, 0, 100)
    assert served_us(turns, 4, True, 0, cut) + served_us(turns, 4, True, cut, 100) == whole
