from __future__ import annotations

from pathlib import Path

import pytest

from nova.config import Settings, load_settings
from nova.errors import ConfigInvalid, NovaError, Unreachable
from nova.money import Money
from platforms.base import Declined, NotConnected, RateLimited, Stopped
from platforms.line import Line, Patience
from platforms.prices import price_of, prices_of
from tests.hands import QuickHands


def settings(home: Path, **environ: str) -> Settings:
    return load_settings({"NOVA_HOME": str(home), **environ}, home)


def usd(text: str) -> Money:
    return Money.parse(text, "USD")


def test_what_is_set_stands_before_what_is_published(home: Path) -> None:
    assert price_of(settings(home), "twitter", "post") == usd("0.015")
    assert price_of(settings(home), "stripe", "post") is None
    own = settings(
        home, NOVA_CURRENCY="EUR", NOVA_PLATFORM_PRICES="twitter/post=0.5, shop/order=1 USD,twitter/delete=0"
    )
    assert price_of(own, "twitter", "post") == Money.parse("0.5", "EUR")
    assert price_of(own, "twitter", "delete") is None, "0 is free"
    assert price_of(own, "twitter", "user") == usd("0.01")
    assert prices_of(own, "shop") == {"order": usd("1")}


def test_a_whole_platform_may_be_free_but_for_some(home: Path) -> None:
    own = settings(home, NOVA_PLATFORM_PRICES="twitter=0, twitter/post=0.1 USD")
    assert prices_of(own, "twitter") == {"post": usd("0.1")}


@pytest.mark.parametrize("text", ["twitter", "twitter/post=", "twitter/post=-1", "Twitter/post=1", "a/b/c=1", "=1"])
def test_a_price_that_is_none_is_refused(text: str, home: Path) -> None:
    with pytest.raises(ConfigInvalid, match="NOVA_PLATFORM_PRICES"):
        settings(home, NOVA_PLATFORM_PRICES=text)


def line(hands: QuickHands, attempts: int = 1) -> Line:
    patience = Patience(attempts=attempts)
    return Line("p", lambda error: None, hands, patience, lambda: 0.0, prices={"read": usd("0.005")})


def test_a_line_knows_its_prices_and_pays_for_what_was_used() -> None:
    hands = QuickHands()
    assert line(hands).call("read", lambda: [1, 2], units=100, used=len) == [1, 2]
    assert line(hands).call("other", lambda: [3]) == [3]
    assert hands.bill.settled == [usd("0.01")]


def failing(*problems: Exception) -> tuple[QuickHands, type[BaseException] | None]:
    """What a paid call that meets these in turn raises."""
    hands, left = QuickHands(), list(problems)

    def request() -> None:
        raise left.pop(0)

    try:
        line(hands, len(left)).call("read", request)
    except NovaError as problem:
        return hands, type(problem)
    return hands, None


def test_what_may_have_been_carried_out_stays_charged_whatever_follows() -> None:
    assert failing(Declined("no"))[0].bill.settled == [usd("0")]
    assert failing(NotConnected("down"))[0].bill.settled == [usd("0")]
    hands, raised = failing(Unreachable("cut"), RateLimited(retry_after_s=1))
    assert (hands.bill.settled, raised) == ([], Unreachable), "the limit says nothing of the first attempt"


def test_what_was_never_sent_is_sent_again_even_where_it_must_not_be_repeated() -> None:
    hands, tries = QuickHands(), [NotConnected("down"), NotConnected("down")]

    def request() -> str:
        if tries:
            raise tries.pop()
        return "sent"

    assert line(hands, 3).call("send", request, repeatable=False) == "sent"


def test_one_that_is_to_end_tells_what_it_is_unsure_of() -> None:
    def request() -> None:
        raise Unreachable("cut")

    with pytest.raises(Unreachable):
        line(QuickHands(ends=True), 3).call("send", request)
    with pytest.raises(Stopped):
        line(QuickHands(ends=True), 3).call("send", lambda: (_ for _ in ()).throw(RateLimited()))
