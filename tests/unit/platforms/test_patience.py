"""How long a rate limit is waited out."""

from __future__ import annotations

import pytest

from platforms.base import Patience, RateLimited, patiently, retry_after_seconds


class Server:
    """Refuses a number of times, then answers."""

    def __init__(self, refusals: int, asks_s: float | None = None) -> None:
        self.refusals, self.asks_s, self.calls = refusals, asks_s, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.refusals:
            raise RateLimited(retry_after_s=self.asks_s)
        return "answer"


def test_it_waits_as_long_as_it_is_asked_to() -> None:
    slept: list[float] = []
    assert patiently(Server(3, asks_s=4), Patience(), slept.append) == "answer"
    assert slept == [4, 4, 4]


def test_all_waits_together_have_an_end() -> None:
    slept: list[float] = []
    with pytest.raises(RateLimited):
        patiently(Server(99, asks_s=30), Patience(attempts=99, longest_s=30, total_s=100), slept.append)
    assert slept == [30, 30, 30]


def test_attempts_have_an_end() -> None:
    server = Server(99)
    with pytest.raises(RateLimited):
        patiently(server, Patience(attempts=4), lambda _: None)
    assert server.calls == 4


def test_other_errors_are_not_waited_out() -> None:
    def broken() -> None:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        patiently(broken, Patience(), lambda _: None)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0.5", 0.5), (None, None), ("Wed, 21 Oct 2015 07:28:00 GMT", None), ("-1", None), ("nan", None)],
)
def test_retry_after_is_read_in_seconds(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header) == seconds
