"""What is written: posts, threads, likes, reposts and media; each once, whatever happens to the answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nova.errors import BudgetExceeded, NovaError, PlatformNotConfigured, Unreachable
from nova.money import Money
from platforms.base import Declined, InDoubt, InvalidRequest, Missing
from platforms.twitter_integration import Twitter
from platforms.twitter_keys import Keys
from platforms.twitter_types import Poll, Posted
from tests.emulators.faults import LOST, Fault, Faulty, each_fault, each_lost_answer, hold_effect, seconds_for
from tests.emulators.twitter import BEARER, SECRETS, TOKEN, TwitterEmulator
from tests.hands import QuickHands, Settled
from tests.integration.twitter.conftest import SHORT, Remembering

Connect = Callable[..., Twitter]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
GIF = b"GIF89a" + bytes(9_000_000)


def test_a_post_is_signed_and_tells_its_address(client: Twitter, x: TwitterEmulator) -> None:
    posted = client.post("Grüße: 5 > 3 & so on https://example.com/a?b=c&d=e")
    assert posted.url == f"https://x.com/i/status/{x.own()[0].id}"
    assert x.texts() == ["Grüße: 5 > 3 & so on https://example.com/a?b=c&d=e"]
    assert x.auths == ["user"]


def test_a_post_answers_quotes_asks_and_shows(client: Twitter, x: TwitterEmulator) -> None:
    other = x.says("ann", "a question")
    client.post("an answer", reply_to=f"https://x.com/ann/status/{other}", who_replies="following")
    client.post("as ann says", quote=other)
    client.post("which?", poll=Poll(("tea", "coffee"), 60))
    picture = client.upload(PNG, alt_text="a tea pot")
    client.post("look", media=[picture.id])
    answer, quote, poll, shown = x.own()
    assert (answer.reply_to, quote.quote) == (other, other)
    assert poll.poll == {"options": ["tea", "coffee"], "duration_minutes": 60}
    assert shown.media == (picture.id,)
    assert (x.uploads[picture.id].content, x.uploads[picture.id].alt) == (PNG, "a tea pot")


def test_a_repeat_is_declined_and_a_long_text_never_sent(client: Twitter, x: TwitterEmulator) -> None:
    client.post("once")
    with pytest.raises(Declined, match="duplicate content"):
        client.hands.done.clear()  # type: ignore[attr-defined]
        client.post("once")
    sent = len(x.requests)
    with pytest.raises(InvalidRequest, match="290 characters long as X counts them, 10 more than the 280"):
        client.post("日本" * 72 + "ab")
    for wrong in ({"poll": Poll(("a",))}, {"poll": Poll(("a", "b"), 1)}, {"media": ["1"], "quote": "2"}, {"text": " "}):
        with pytest.raises(InvalidRequest):
            client.post(**{"text": "x", **wrong})  # type: ignore[arg-type]
    assert len(x.requests) == sent


def test_an_answer_to_what_is_gone_is_declined(client: Twitter) -> None:
    with pytest.raises(Declined, match="not visible"):
        client.post("hello?", reply_to="12345")


@each_lost_answer
def test_a_lost_answer_never_makes_a_second_post(
    fault: Fault, x: TwitterEmulator, connect: Connect, hands: Remembering
) -> None:
    with Faulty(x.url) as faulty:
        x.known_as.append(faulty.url)
        silent_s, total_s = seconds_for(fault)
        client = connect(url=faulty.url, timeout_s=(2.0, silent_s), total_s=total_s, patience=SHORT)
        faulty.plan(fault, method="POST")
        with pytest.raises(Unreachable) as lost:
            client.post("Look: https://example.com/ & more")
        assert "look at the account" in str(lost.value.hint)
        assert client.post("Look: https://example.com/ & more").id == x.own()[0].id
    assert len(x.own()) == 1


@each_fault
def test_whatever_comes_back_there_is_one_post_at_most(fault: Fault, x: TwitterEmulator, connect: Connect) -> None:
    with Faulty(x.url) as faulty:
        x.known_as.append(faulty.url)
        silent_s, total_s = seconds_for(fault)
        client = connect(url=faulty.url, timeout_s=(2.0, silent_s), total_s=total_s, patience=SHORT)
        hold_effect(fault, faulty, lambda: client.post("hello"), lambda: len(x.own()))
    assert len(x.own()) == 1


def test_in_doubt_the_word_of_x_that_it_is_a_repeat_tells_that_it_was_done(
    x: TwitterEmulator, connect: Connect
) -> None:
    x.lagging = True
    with Faulty(x.url) as faulty:
        x.known_as.append(faulty.url)
        client = connect(url=faulty.url, patience=SHORT)
        faulty.plan(LOST[0], method="POST")
        with pytest.raises(Unreachable):
            client.post("hello")
        with pytest.raises(Unreachable, match="does not list it yet"):
            client.post("hello")
        x.settle()
        assert client.post("hello").id == x.own()[0].id
    assert len(x.own()) == 1


def test_a_post_without_a_text_stays_in_doubt(x: TwitterEmulator, connect: Connect) -> None:
    with Faulty(x.url) as faulty:
        x.known_as.append(faulty.url)
        client = connect(url=faulty.url, patience=SHORT)
        picture = client.upload(PNG).id
        faulty.plan(LOST[0], method="POST")
        with pytest.raises(Unreachable):
            client.post(media=[picture])
        with pytest.raises(InDoubt):
            client.post(media=[picture])
    assert len(x.own()) == 1


class Cutting(Remembering):
    """The answer to the second effect is lost."""

    def __init__(self, faulty: Faulty) -> None:
        super().__init__()
        self.faulty = faulty

    def once(self, *args: Any, **options: Any) -> Any:
        if len(self.done) == 1 and not self.doubtful:
            self.faulty.plan(LOST[0], method="POST")
        return super().once(*args, **options)


def test_a_thread_cut_in_its_middle_is_finished_without_repeating(x: TwitterEmulator, connect: Connect) -> None:
    texts = ["one", "two https://example.com", "three"]
    with Faulty(x.url) as faulty:
        x.known_as.append(faulty.url)
        hands = Cutting(faulty)
        client = connect(url=faulty.url, patience=SHORT, hands=hands)
        with pytest.raises(Unreachable):
            client.thread(texts)
        assert (len(x.own()), len(hands.done)) == (2, 1), "the second part was taken, and the answer lost"
        posted = client.thread(texts)
        assert client.thread(texts) == posted
    parts = x.own()
    assert [part.text for part in parts] == texts
    assert [part.reply_to for part in parts] == [None, parts[0].id, parts[1].id]
    assert [part.id for part in posted] == [part.id for part in parts]


def test_somebody_who_remembers_nothing_resumes_a_thread(x: TwitterEmulator, connect: Connect) -> None:
    texts = ["one & only", "two", "three"]
    first = connect(hands=QuickHands())
    begun = first.thread(texts[:2])
    finished = connect(hands=QuickHands()).thread(texts, resume=True)
    assert finished[:2] == begun and x.texts() == texts
    with pytest.raises(InvalidRequest, match="part 2 of the thread"):
        first.thread(["short", "x" * 281])


def test_deleting_liking_and_reposting(client: Twitter, x: TwitterEmulator) -> None:
    mine, other = client.post("mine").id, x.says("ann", "hers")
    client.like(other)
    client.retweet(other)
    assert (len(x.posts[other].likes), len(x.posts[other].retweets)) == (1, 1)
    client.hands.done.clear()  # type: ignore[attr-defined]
    client.retweet(other)  # that it is so already is no failure
    client.unlike(other)
    client.unretweet(other)
    assert (len(x.posts[other].likes), len(x.posts[other].retweets)) == (0, 0)
    assert client.delete(mine) and not client.delete(mine)
    with pytest.raises(NovaError):
        client.delete(other)
    assert list(x.posts) == [other]


def test_a_video_goes_in_parts_and_is_waited_for(
    client: Twitter, x: TwitterEmulator, hands: Remembering, tmp_path: Path
) -> None:
    file = tmp_path / "film.bin"
    file.write_bytes(GIF)
    media = client.upload(file, alt_text="it moves")
    upload = x.uploads[media.id]
    assert (media.kind, media.bytes, upload.type) == ("gif", len(GIF), "image/gif")
    assert len(upload.parts) == 3 and upload.content == GIF and upload.alt == "it moves"
    assert hands.slept[-2:] == [2, 2]
    x.states = ["failed"]
    with pytest.raises(Declined, match="could not use the video"):
        client.upload(b"\x00\x00\x00\x20ftypisom" + bytes(50))


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"%PDF-1.7", "none of them"), (b"\x89PNG\r\n\x1a\n" + bytes(5_000_001), "X takes 5,000,000 at most")],
)
def test_what_x_does_not_take_is_not_uploaded(client: Twitter, x: TwitterEmulator, content: bytes, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        client.upload(content)
    with pytest.raises(InvalidRequest, match="cannot be read"):
        client.upload(Path("missing.png"))
    assert x.requests == []


def test_it_says_which_key_is_missing_for_what(x: TwitterEmulator, connect: Connect) -> None:
    with pytest.raises(PlatformNotConfigured) as nothing:
        connect(keys=Keys(api_key="k"))
    assert "TWITTER_BEARER_TOKEN to read" in str(nothing.value.hint)
    reader = connect(keys=Keys(BEARER, api_key="k", access_token=TOKEN))
    with pytest.raises(PlatformNotConfigured) as half:
        reader.post("no")
    assert half.value.hint == "set TWITTER_API_SECRET and TWITTER_ACCESS_SECRET"
    assert "cannot post: TWITTER_API_SECRET and TWITTER_ACCESS_SECRET missing" in reader.check()
    odd = connect(keys=Keys(None, "k", "s", "an-oauth-2-token", "t"))
    with pytest.raises(PlatformNotConfigured, match="no access token of an account"):
        odd.post("no")
    assert x.posts == {}


def test_a_wrong_secret_is_refused_and_shown_nowhere(x: TwitterEmulator, connect: Connect) -> None:
    wrong = "s3cr3t-that-nobody-may-see"
    client = connect(keys=Keys(wrong, SECRETS["api_key"], SECRETS["api_secret"], TOKEN, wrong))
    for call in (lambda: client.post("x"), client.usage):
        with pytest.raises(NovaError) as refused:
            call()
        assert refused.value.exit_code == 5
        assert wrong not in f"{refused.value!r} {refused.value.hint} {refused.value.__dict__}"
    assert wrong not in repr(client.__dict__["_keys"])


def test_prices_are_asked_for_before_and_settled_by_the_piece(
    x: TwitterEmulator, connect: Connect, hands: Remembering
) -> None:
    prices = {"post": "0.015", "post_with_link": "0.20", "read": "0.005"}
    client = connect(price=lambda what: Money.parse(prices[what], "USD") if what in prices else None)
    x.says("ann", "tea one")
    x.says("ann", "tea two")
    client.post("plain")
    client.post("go to example.com")
    list(client.search("tea"))
    assert [str(money) for money in hands.bill.settled] == ["0.015", "0.20", "0.01"]
    poor = connect(price=lambda what: Money.parse("1", "USD"), hands=Remembering(poor=True))
    asked = len(x.requests)
    for call in (lambda: poor.post("no money"), lambda: poor.user("ann")):
        with pytest.raises(BudgetExceeded):
            call()
    assert len(x.requests) == asked


def test_of_what_a_person_saw_posted_x_tells_which_it_is_where_it_can(x: TwitterEmulator, connect: Connect) -> None:
    first = connect().post("one")
    settled = connect(hands=Settled())
    assert settled.post("one") == first
    assert settled.post("two") == Posted("", "two")
    assert settled.post(poll=Poll(("a", "b"), 60), text="a poll").id == ""
    with pytest.raises(Missing, match="part 1 of the thread"):
        settled.thread(["three", "four"])
    assert [one.id for one in x.own()] == [first.id]
