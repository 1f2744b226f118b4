"""The way of a request: how long what passes is waited out, what is repeated, what is paid, and what is told of it."""

from __future__ import annotations

import pytest

from nova.errors import BudgetExceeded, NovaError, Unreachable
from nova.money import Money
from platforms.base import Declined, InvalidRequest, RateLimited, problem_of, retry_after_seconds
from platforms.line import Line, Patience, Stopped
from platforms.pace import Paces
from tests.hands import QuickHands

PRICE = Money.parse("0.01", "USD")


class Server:
    """Fails a number of times, then answers."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return "answer"


def line(run: QuickHands, patience: Patience | None = None) -> Line:
    return Line("p", lambda error: Declined("no") if isinstance(error, KeyError) else None, run, patience, lambda: 0.0)


def limited(asks_s: float | None = None) -> RateLimited:
    return RateLimited(retry_after_s=asks_s)


def test_it_waits_as_long_as_it_is_asked_to() -> None:
    run = QuickHands()
    assert line(run).call("get", Server(3, limited(4))) == "answer"
    assert sum(run.slept) == 12


def test_without_a_word_waits_double() -> None:
    run = QuickHands()
    line(run).call("get", Server(3, Unreachable("down")))
    assert run.slept == [0.25, 0.5, 1.0]


def test_all_waits_together_have_an_end() -> None:
    run = QuickHands()
    with pytest.raises(RateLimited):
        line(run, Patience(attempts=99, longest_s=30, total_s=100)).call("get", Server(99, limited(30)))
    assert sum(run.slept) <= 100


def test_attempts_have_an_end() -> None:
    server = Server(99, limited())
    with pytest.raises(RateLimited):
        line(QuickHands(), Patience(attempts=4)).call("get", server)
    assert server.calls == 4


def test_what_may_have_been_done_is_repeated_only_where_that_is_harmless() -> None:
    server = Server(1, Unreachable("cut"))
    with pytest.raises(Unreachable):
        line(QuickHands()).call("send", server, repeatable=False)
    assert server.calls == 1
    server = Server(1, limited(0))
    assert line(QuickHands()).call("send", server, repeatable=False) == "answer", "what was limited was not done"


def test_what_the_platform_refuses_is_not_repeated_and_errors_are_translated() -> None:
    for error, kind in ((InvalidRequest("no"), InvalidRequest), (KeyError("k"), Declined), (ValueError(), ValueError)):
        server = Server(1, error)
        with pytest.raises(kind):
            line(QuickHands()).call("get", server)
        assert server.calls == 1


def test_a_limit_that_was_met_holds_everybody_of_the_same_hands() -> None:
    run = QuickHands()
    with pytest.raises(RateLimited):
        line(run, Patience(attempts=1)).call("get", Server(1, limited(7)))
    assert run.pace("p") == pytest.approx(7)
    assert run.pace("q") == 0


def test_a_run_that_is_to_end_waits_for_nobody() -> None:
    with pytest.raises(Stopped):
        line(QuickHands(ends=True)).call("get", Server(1, limited(1)))


def test_a_price_is_asked_for_before_and_settled_by_what_came_of_it() -> None:
    with pytest.raises(BudgetExceeded):
        line(QuickHands(poor=True)).call("post", Server(0, limited()), price=PRICE)
    for error, settled in (
        (None, [PRICE]),
        (InvalidRequest("no"), [Money.zero("USD")]),
        (limited(), [Money.zero("USD")]),
        (Unreachable("cut"), []),  # it may have been charged
    ):
        run = QuickHands()
        server = Server(0 if error is None else 99, error or limited())
        try:
            line(run, Patience(attempts=1)).call("post", server, price=PRICE, repeatable=False)
        except NovaError:
            assert error is not None
        assert run.bill.settled == settled


def test_each_call_is_told_with_what_came_of_it() -> None:
    run = QuickHands()
    line(run).call("get", Server(1, limited(0)))
    assert run.outcomes == ["RateLimited", None]


def test_paces_count_every_lane_by_its_own_limits() -> None:
    now = [0.0]
    paces = Paces({"p": ((2, 1),), "p/write": ((1, 60),)}, lambda: now[0])
    assert [paces.take("p"), paces.take("p")] == [0, 0]
    assert 0 < paces.take("p") <= 1.001
    assert paces.take("p/write") == 0
    assert 59 < paces.take("p/write") <= 60.001
    now[0] = 1.01
    assert paces.take("p") == 0
    assert paces.take("unknown") == 0
    paces.hold("p", 5)
    assert paces.take("p/write") >= 5 or paces.take("p/write") > 50


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, "InvalidRequest", 1), (401, "PlatformRefused", 5), (403, "Forbidden", 5), (404, "Missing", 3),
        (409, "Conflicting", 1), (422, "InvalidRequest", 1), (429, "RateLimited", 69), (500, "Unreachable", 69),
        (503, "Unreachable", 69),
    ],
)  # fmt: skip
def test_every_status_is_an_error_of_its_kind(status: int, kind: str, code: int) -> None:
    problem = problem_of("p", status, "said", key="P_KEY")
    assert (type(problem).__name__, problem.exit_code) == (kind, code)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0.5", 0.5), (None, None), ("Wed, 21 Oct 2015 07:28:00 GMT", None), ("-1", None), ("nan", None)],
)
def test_retry_after_is_read_in_seconds(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header) == seconds
