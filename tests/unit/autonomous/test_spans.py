from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nova.autonomous.spans import Span
from nova.clock import HOUR_US


@given(st.integers(0, 50 * HOUR_US), st.integers(0, 50 * HOUR_US))
def test_hours_and_edges_cover_a_span_exactly_once(start: int, length: int) -> None:
    span = Span("mailer", start, start + length)
    first, after = span.hours()
    pieces = sorted([*span.edges(), *([(first * HOUR_US, after * HOUR_US)] if first < after else [])])

    assert sum(end - begin for begin, end in pieces) == length
    reached = start
    for begin, end in pieces:
        assert begin == reached
        reached = end
    assert all(end - begin < 2 * HOUR_US for begin, end in span.edges())


@given(st.integers(0, 50 * HOUR_US), st.integers(1, 50 * HOUR_US))
def test_a_whole_end_rounds_up_to_the_hour(start: int, length: int) -> None:
    span = Span("mailer", start, start + length, whole_end=True)
    first, after = span.hours()
    assert after * HOUR_US >= span.end_us or first == after
    assert after * HOUR_US < span.end_us + HOUR_US or first == after
