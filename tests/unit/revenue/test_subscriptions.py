"""What a platform tells of subscriptions reaches the ledger, and stops no money."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from nova.clock import ManualClock
from nova.errors import Unreachable
from nova.ledger.ledger import Ledger
from nova.money import Money
from nova.revenue.subscriptions import cursor_of, follow
from platforms.events import SubscriptionFact, SubscriptionPlatform, monthly

NOW = datetime(2026, 5, 1, tzinfo=UTC)
OVERLAP = timedelta(days=3)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(
        f"sqlite:///{tmp_path}/ledger.db", currency="USD", zone=ZoneInfo("UTC"), clock=ManualClock(NOW)
    )
    yield opened
    opened.close()


class Shop:
    """Tells what it is given, and fails behind it where it is to."""

    def __init__(self, facts: list[SubscriptionFact], fails: bool = False) -> None:
        self.facts, self.fails, self.asked = facts, fails, list[datetime | None]()

    def subscription_facts(self, since: datetime | None) -> Iterator[SubscriptionFact]:
        self.asked.append(since)
        yield from self.facts
        if self.fails:
            raise Unreachable("the shop is closed")


def fact(id: str = "sub_1") -> SubscriptionFact:
    return SubscriptionFact(
        "shop", id, NOW - timedelta(days=9), "started", "anna@example.com", "plan", Money.of(9, "USD")
    )


def test_facts_are_kept_without_the_customers_name(ledger: Ledger) -> None:
    shop = Shop([fact()])
    assert isinstance(shop, SubscriptionPlatform)
    follow(ledger, shop, "shop", OVERLAP)
    (kept,) = ledger.subscriptions.all()
    assert kept.subject is not None
    assert "anna" not in kept.subject


def test_the_next_reading_goes_on_where_the_last_began(ledger: Ledger) -> None:
    shop = Shop([fact()])
    follow(ledger, shop, "shop", OVERLAP)
    follow(ledger, shop, "shop", OVERLAP)
    assert shop.asked == [None, NOW - OVERLAP]
    assert len(ledger.subscriptions.all()) == 1


def test_a_reading_that_failed_is_made_again_and_raises_nothing(ledger: Ledger) -> None:
    shop = Shop([fact()], fails=True)
    follow(ledger, shop, "shop", OVERLAP)
    assert ledger.cursors.get(cursor_of("shop")).error == "the shop is closed"
    again = Shop([fact()])
    follow(ledger, again, "shop", OVERLAP)
    assert again.asked == [None]
    assert len(ledger.subscriptions.all()) == 1


@pytest.mark.parametrize(
    ("price", "per", "every", "expected"),
    [
        ("120", "year", 1, "10.00"),
        ("30", "month", 3, "10.00"),
        ("10", "week", 1, "43.333333"),
        ("1", "day", 1, "30.416667"),
    ],
)
def test_prices_are_brought_to_a_month(price: str, per: str, every: int, expected: str) -> None:
    assert str(monthly(Money.parse(price, "USD"), per, every)) == expected
