"""Profit is put back where it earned best, and never more than there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nova.money import Money
from nova.revenue.reinvest import Candidate, share_out


def usd(amount: str) -> Money:
    return Money.parse(amount, "USD")


def candidate(
    worker: str, revenue: str, cost: str, *, replicas: int = 1, to: int = 2, held: str | None = None
) -> Candidate:
    return Candidate(worker, replicas, to, usd(revenue), usd(cost), 100, 100.0, held)


def test_the_best_comes_first_until_the_profit_is_gone() -> None:
    shares = share_out([candidate("good", "30", "6"), candidate("best", "80", "8")], usd("10"), 150, "7d")
    assert [(one.candidate.worker, str(one.amount)) for one in shares] == [("best", "8.00"), ("good", "2.00")]
    assert "ROI 900% over 7d and 100 runs" in shares[0].reason and "$6.00 if there were more" in shares[1].reason


def test_a_step_costs_what_the_added_replicas_will() -> None:
    assert candidate("one", "90", "9", replicas=3, to=6).step == usd("9")
    assert candidate("one", "90", "9", replicas=3, to=4).step == usd("3")


def test_those_held_or_too_poor_get_nothing_and_are_told_why() -> None:
    given = [
        candidate("paused", "90", "9", held="it is paused"),
        candidate("poor", "10", "9"),
        candidate("free", "5", "0"),
    ]
    reasons = {one.candidate.worker: (str(one.amount), one.reason) for one in share_out(given, usd("99"), 150, "7d")}
    assert reasons == {
        "paused": ("0.00", "it is paused"),
        "poor": ("0.00", "ROI 11.1% is below 150%"),
        "free": ("0.00", "no cost is known"),
    }


amounts = st.integers(0, 10**9).map(lambda micros: str(Money(micros, "USD")))


@given(st.lists(st.tuples(amounts, amounts, st.integers(1, 5), st.integers(1, 10)), max_size=8), amounts)
def test_never_more_than_there_is_is_put_back(rows: list[tuple[str, str, int, int]], available: str) -> None:
    given_ = [candidate(f"w{n}", r, c, replicas=k, to=max(k, to)) for n, (r, c, k, to) in enumerate(rows)]
    shares = share_out(given_, usd(available), 0, "7d")
    assert Money.total([one.amount for one in shares], "USD") <= usd(available)
    assert all(Money.zero("USD") <= one.amount <= one.candidate.step for one in shares)
