"""What is read: search, mentions, profiles and figures, page by page; and the limits that X tells."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from nova.errors import NovaError
from platforms.base import InvalidRequest, Missing, PlatformRefused, RateLimited
from platforms.twitter_integration import Twitter
from platforms.twitter_keys import Keys
from tests.emulators.faults import Fault, Faulty, each_fault, hold_reading, seconds_for
from tests.emulators.twitter import BEARER, OWN_ID, OWN_NAME, PATHS, TwitterEmulator
from tests.integration.twitter.conftest import KEYS, SHORT, Published, Remembering

Connect = Callable[..., Twitter]


def test_search_goes_through_the_pages_while_they_are_asked_for(client: Twitter, x: TwitterEmulator) -> None:
    ids = [x.says("ann", f"tea number {number}") for number in range(250)]
    found = list(client.search("tea from:ann", most=230))
    assert [post.id for post in found] == ids[:-231:-1]
    assert (found[0].author, found[0].url) == ("ann", f"https://x.com/ann/status/{ids[-1]}")
    assert x.requests.count("GET /2/tweets/search/recent") == 3
    assert [post.id for post in client.search("tea", since_id=ids[-3])] == ids[:-3:-1]
    assert list(client.search("coffee")) == []
    next(client.search("tea", most=200))
    assert x.requests.count("GET /2/tweets/search/recent") == 6


def test_mentions_are_those_since_the_last_one(client: Twitter, x: TwitterEmulator) -> None:
    first = x.says("ann", f"@{OWN_NAME} hello")
    x.says("bob", "to nobody")
    second = x.says("bob", f"what about @{OWN_NAME}? https://example.com/x")
    found = list(client.mentions(since_id=first))
    assert [(post.id, post.author, post.links) for post in found] == [(second, "bob", ("https://example.com/x",))]
    assert found[0].plain == f"what about @{OWN_NAME}? https://example.com/x"
    assert x.auths[-1] == "user"  # by the account's own limits and prices, although a bearer token is there


def test_profiles_by_name_and_id(client: Twitter, x: TwitterEmulator) -> None:
    ann = x.someone("ann")
    by_name, by_id = client.user("@Ann"), client.user(ann)
    assert by_name == by_id and by_name.followers == 7 and by_name.description == "ann & friends"
    assert client.me().id == client.own_id == OWN_ID
    assert [user.username for user in client.users(["ann", "nobody_there"])] == ["ann"]
    with pytest.raises(Missing, match="nobody_there"):
        client.user("nobody_there")
    with pytest.raises(InvalidRequest):
        client.user("ann/../../me")


def test_posts_and_their_figures(client: Twitter, x: TwitterEmulator) -> None:
    mine = client.post("mine https://example.com/long").id
    x.says("ann", "so true", reply_to=mine)
    x.posts[mine].likes.add("7")
    x.posts[mine].impressions = 90
    figures = client.metrics([mine, "12345"])
    assert set(figures) == {mine}
    assert (figures[mine].likes, figures[mine].replies, figures[mine].impressions) == (1, 1, 90)
    assert client.post_of(f"https://x.com/i/status/{mine}").plain == "mine https://example.com/long"
    assert client.posts([mine, mine], own=True)[0].metrics.impressions == 90
    with pytest.raises(Missing):
        client.post_of("12345")
    assert len(client.metrics([str(number) for number in range(1, 151)])) == 0


def test_either_set_of_keys_reads_alone(x: TwitterEmulator, connect: Connect) -> None:
    x.says("ann", "tea")
    for keys in (Keys(BEARER), Keys(None, *KEYS.user)):
        assert len(list(connect(keys=keys).search("tea"))) == 1
    assert x.auths == ["app", "user"]
    with pytest.raises(NovaError, match="bearer token only"):
        connect(keys=Keys(None, *KEYS.user)).usage()


def test_check_proves_both_sets_of_keys(client: Twitter) -> None:
    assert client.check() == f"answers; the bearer token reads (17 posts read of 2000000); posts as @{OWN_NAME}"


def test_limits_are_told_as_x_tells_them(client: Twitter, x: TwitterEmulator) -> None:
    x.limits["GET /2/users/me"] = 75
    assert client.limits() == ()
    client.me()
    (limit,) = client.limits()
    assert (limit.endpoint, limit.window, limit.limit, limit.remaining) == ("GET /2/users/me", "15m", 75, 74)


def test_a_used_up_limit_holds_its_lane_and_no_other(client: Twitter, x: TwitterEmulator, hands: Remembering) -> None:
    x.limits["GET /2/users/{id}/mentions"] = 1
    list(client.mentions())
    assert 880 < hands.pace("twitter/mentions") <= 901
    with pytest.raises(RateLimited) as held:
        list(client.mentions())
    assert 880 < (held.value.retry_after_s or 0) <= 901
    assert len(x.requests) == 1, "what is known to be refused is not asked"
    client.me()
    hands.now += 901
    x.forget_limits()
    list(client.mentions())


def test_a_429_tells_how_long_by_the_clock_of_x(x: TwitterEmulator, connect: Connect, hands: Remembering) -> None:
    x.limits["GET /2/tweets/search/recent"] = 0
    x.use_until("GET /2/tweets/search/recent", time.time() + 120)
    client = connect(now=lambda: 0.0)  # a clock that is wrong by decades
    with pytest.raises(RateLimited) as limited:
        list(client.search("tea"))
    assert 110 < (limited.value.retry_after_s or 0) <= 122
    assert hands.slept == []


def _refusal(status: int) -> dict[str, str]:
    return {"title": "No", "detail": f"refused with {status}", "type": "about:blank"}


@each_fault
def test_a_reading_holds_the_promises(fault: Fault, x: TwitterEmulator, connect: Connect, hands: Remembering) -> None:
    with Faulty(x.url, _refusal) as faulty:
        silent_s, total_s = seconds_for(fault)
        limits = {"timeout_s": (2.0, silent_s), "total_s": total_s}
        client = connect(url=faulty.url, **limits, patience=SHORT, keys=Keys(BEARER))
        hold_reading(fault, faulty, hands, client.usage)


@pytest.mark.parametrize(
    ("status", "title", "kind"),
    [
        (402, "CreditsDepleted", PlatformRefused),
        (429, "UsageCapExceeded", PlatformRefused),
        (429, "Too Many", RateLimited),
    ],
)
def test_what_is_used_up_for_the_month_is_not_asked_for_again(
    status: int, title: str, kind: type[NovaError], x: TwitterEmulator, connect: Connect, hands: Remembering
) -> None:
    said = {"title": title, "detail": "No more.", "type": "about:blank"}
    with Faulty(x.url, lambda status: said) as faulty:
        faulty.plan(Fault("used up", kind, status=status), times=9)
        with pytest.raises(kind) as refused:
            connect(url=faulty.url, patience=SHORT, keys=Keys(BEARER)).usage()
    assert len(hands.slept) == (kind is RateLimited)
    assert refused.value.hint


def test_every_path_is_one_that_x_publishes(published: Published) -> None:
    assert set(PATHS) == published.requests()
