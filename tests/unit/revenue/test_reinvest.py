"""Profit is put back where its next unit brings most, and never more than there is."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from nova.money import Money
from nova.revenue.reinvest import Candidate, last_closed, share_of, share_out

BERLIN = ZoneInfo("Europe/Berlin")


def usd(amount: str) -> Money:
    return Money.parse(amount, "USD")


def candidate(worker: str, marginal: float | None, *, most: str = "5", held: str | None = None) -> Candidate:
    return Candidate(worker, "day", usd("7"), usd("5"), usd(most), marginal, "the step from 1 to 2 replicas", held)


def test_the_best_comes_first_until_the_share_is_gone() -> None:
    shares = share_out([candidate("good", 200), candidate("best", 900), candidate("late", 160)], usd("8"), 150)
    assert [(one.candidate.worker, str(one.amount), str(one.to)) for one in shares] == [
        ("best", "5.00", "10.00"), ("good", "3.00", "8.00"), ("late", "0.00", "5.00"),
    ]  # fmt: skip
    assert "credibly returned at least 900%: $5.00 more a day" in shares[0].reason
    assert "$5.00 if there were more" in shares[1].reason
    assert "nothing is left" in shares[2].reason


def test_those_held_or_too_poor_get_nothing_and_are_told_why() -> None:
    given_ = [candidate("paused", 900, held="it is paused"), candidate("poor", 11), candidate("free", None)]
    reasons = {one.candidate.worker: (str(one.amount), one.reason) for one in share_out(given_, usd("99"), 150)}
    assert reasons == {
        "paused": ("0.00", "it is paused"),
        "poor": ("0.00", "the step from 1 to 2 replicas credibly returned no more than 11%, 150% is needed"),
        "free": ("0.00", "no cost is known"),
    }


def test_the_share_is_of_the_profit_less_what_was_given_and_within_the_day() -> None:
    assert share_of(usd("50"), 20, usd("0"), usd("99")) == usd("10")
    assert share_of(usd("50"), 20, usd("4"), usd("99")) == usd("6")
    assert share_of(usd("50"), 20, usd("12"), usd("99")) == usd("0")
    assert share_of(usd("50"), 20, usd("0"), usd("3")) == usd("3")
    assert share_of(usd("-50"), 20, usd("0"), usd("99")) == usd("0")
    assert share_of(usd("50"), 20, usd("0"), usd("-1")) == usd("0")


def test_periods_are_local_and_closed() -> None:
    at = datetime(2026, 3, 29, 22, 30, tzinfo=UTC)  # half past midnight on the 30th, after a day of 23 hours
    day = last_closed("day", at, BERLIN)
    assert (day.name, (day.until.astimezone(UTC) - day.since.astimezone(UTC)).total_seconds()) == ("2026-03-29", 82800)
    month = last_closed("month", at, BERLIN)
    assert (month.name, month.since.month, month.until.month) == ("2026-02", 2, 3)
    assert month.overlaps(datetime(2026, 2, 28, tzinfo=BERLIN), datetime(2026, 3, 1, tzinfo=BERLIN))
    assert not month.overlaps(day.since, day.until)


amounts = st.integers(0, 10**9).map(lambda micros: str(Money(micros, "USD")))


@given(st.lists(st.tuples(st.none() | st.floats(-100, 1000), amounts, st.none() | st.just("held"))), amounts)
def test_never_more_than_there_is_is_put_back(rows: list[tuple[float | None, str, str | None]], available: str) -> None:
    given_ = [candidate(f"w{n}", low, most=most, held=held) for n, (low, most, held) in enumerate(rows)]
    shares = share_out(given_, usd(available), 0)
    assert Money.total([one.amount for one in shares], "USD") <= usd(available)
    assert all(Money.zero("USD") <= one.amount <= one.candidate.most for one in shares)
    for one in (share.candidate for share in shares if share.amount):
        assert one.held is None
        assert one.marginal is not None and one.marginal >= 0
