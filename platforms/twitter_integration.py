"""X (Twitter) through tweepy: posts, threads, likes, reposts and media; `twitter_reading` has what is read.

X knows no idempotency keys: what is posted goes through the hands' `once`, and whether a cut attempt was carried out is
looked up among the account's own posts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from platforms.base import BadAnswer, Declined, InDoubt, InvalidRequest, Missing, RateLimited, Unreachable
from platforms.twitter_keys import PLATFORM
from platforms.twitter_media import upload
from platforms.twitter_reading import Reading
from platforms.twitter_rules import check_post, post_id
from platforms.twitter_text import links_in
from platforms.twitter_types import Media, Poll, Posted, same_text
from platforms.twitter_wire import data_of

_LATEST = 100  # own posts among which one in doubt is looked for


class Twitter(Reading):
    """One account, for reading and writing. Every error is a NovaError, and none of them holds a key."""

    def post(
        self,
        text: str = "",
        *,
        reply_to: str | None = None,
        quote: str | None = None,
        poll: Poll | None = None,
        media: Sequence[str] = (),
        who_replies: str | None = None,
    ) -> Posted:
        """Once for each time it is asked for, also when a run that failed is made again. Raises Declined for repeats.

        `media` are ids of uploads; `who_replies` is following or mentionedUsers, everybody if left out.
        """
        self._keys.require_user("posts")
        check_post(text, poll=poll, media=media, quote=quote)
        reply_to, quote = _post(reply_to), _post(quote)
        content = {"text": text, "reply_to": reply_to, "quote": quote, "poll": asdict(poll) if poll else None}
        return self._post_once("post", json.dumps(content, sort_keys=True), content, media, who_replies)

    def thread(
        self, texts: Sequence[str], *, reply_to: str | None = None, media: Sequence[str] = (), resume: bool = False
    ) -> tuple[Posted, ...]:
        """Each text once, as an answer to the one before; `media` goes with the first.

        A run that is made again goes on where it was cut. `resume`: what stands among the account's own latest posts
        is not posted again, for somebody who remembers nothing.
        """
        self._keys.require_user("posts")
        if not texts:
            raise InvalidRequest("a thread needs at least one text")
        for number, text in enumerate(texts, 1):
            check_post(text, media=media if number == 1 else (), part=number)
        posted, reply_to = list[Posted](), _post(reply_to)
        for number, text in enumerate(texts):
            parent = posted[-1].id if posted else reply_to
            if parent == "":
                raise Missing(f"part {number} of the thread is not among the latest posts of the account")
            content = {"text": text, "reply_to": parent, "quote": None, "poll": None}
            name = json.dumps([reply_to, *texts[: number + 1]])
            shown = media if number == 0 else ()
            posted.append(self._post_once("thread", name, content, shown, None, resume=resume))
        return tuple(posted)

    def delete(self, id: str) -> bool:
        """Whether it was there. Deleting again is harmless."""
        self._keys.require_user("deletes")
        try:
            body = self._write("delete", "delete", lambda api: api.delete_tweet(post_id(id)), repeatable=True)
        except Missing:
            return False
        return bool(data_of(body).get("deleted"))

    def like(self, id: str) -> None:
        self._once_more("likes", "like", post_id(id), lambda api: api.like(post_id(id)))

    def unlike(self, id: str) -> None:
        self._once_more("likes", "unlike", post_id(id), lambda api: api.unlike(post_id(id)))

    def retweet(self, id: str) -> None:
        self._once_more("retweets", "retweet", post_id(id), lambda api: api.retweet(post_id(id)))

    def unretweet(self, id: str) -> None:
        self._once_more("retweets", "unretweet", post_id(id), lambda api: api.unretweet(post_id(id)))

    def upload(self, file: Path | bytes, *, alt_text: str | None = None) -> Media:
        """An image, an animated GIF or a video, told by its first bytes; large ones in parts. For posts of a day."""
        self._keys.require_user("uploads")
        return upload(self._upload_step, self.hands.wait, file, alt_text)

    def _post_once(
        self,
        what: str,
        name: str,
        content: dict[str, Any],
        media: Sequence[str],
        who_replies: str | None,
        resume: bool = False,
    ) -> Posted:
        doubtful = False

        def find(key: str) -> Any:
            nonlocal doubtful
            doubtful = True
            return self._found(content)

        def send(key: str) -> dict[str, str]:
            if resume and (there := self._found(content)):
                return there
            try:
                return self._send(content, media, who_replies)
            except Declined as problem:
                if not doubtful or "duplicate" not in problem.message:
                    raise
                there = self._found(content)
                if there is None:  # the list of own posts lags behind them
                    words = f"{PLATFORM} took the post before, and does not list it yet"
                    raise Unreachable(words, hint="try again later") from None
                return there

        key = self.hands.key(f"{PLATFORM}.{what}", name)
        done = self.hands.once(f"{PLATFORM}.{what}", key, content, send, find)
        return Posted("", content["text"]) if done is None else Posted(**done)

    def _send(self, content: Mapping[str, Any], media: Sequence[str], who_replies: str | None) -> dict[str, str]:
        poll = content["poll"]
        options: dict[str, Any] = {
            "text": content["text"] or None,
            "in_reply_to_tweet_id": content["reply_to"],
            "quote_tweet_id": content["quote"],
            "poll_options": list(poll["options"]) if poll else None,
            "poll_duration_minutes": poll["minutes"] if poll else None,
            "media_ids": list(media) or None,
            "reply_settings": who_replies,
        }
        operation = "post_with_link" if links_in(content["text"]) else "post"
        try:
            data = data_of(self._write("write", operation, lambda api: api.create_tweet(**options)))
        except Unreachable as problem:
            if not isinstance(problem, RateLimited):
                problem.hint = "it may stand there all the same: look at the account before you post it again"
            raise
        if not isinstance(data.get("id"), str):
            raise BadAnswer("twitter did not say which post it made")
        return {"id": data["id"], "text": content["text"]}

    def _found(self, content: Mapping[str, Any]) -> dict[str, str] | None:
        """The account's own post of this content among its latest hundred. Raises InDoubt where it has no text."""
        if not content["text"].strip():
            raise InDoubt(f"whether {PLATFORM} took a post without a text cannot be told", hint="look at the account")
        for post in self.own_posts(most=_LATEST):
            if post.replied_to != content["reply_to"] or (content["quote"] and post.quoted != content["quote"]):
                continue
            if same_text(content["text"], post.plain):
                return {"id": post.id, "text": content["text"]}
        return None

    def _once_more(self, part: str, what: str, id: str, request: Callable[[Any], Any]) -> None:
        """For what is harmless to repeat: in doubt it is done again."""
        self._keys.require_user(f"{what}s")

        def act(key: str) -> bool:
            try:
                data_of(self._write(part, what, request, repeatable=True))
            except Declined as problem:
                if "already" not in problem.message:
                    raise
            return True

        key = self.hands.key(f"{PLATFORM}.{what}", id)
        self.hands.once(f"{PLATFORM}.{what}", key, {"post": id}, act, lambda key: None)

    def _upload_step(self, method: str, route: str, **sent: Any) -> dict[str, Any]:
        operation = "media_metadata" if route.endswith("/metadata") else "media"
        return data_of(self._write("media", operation, lambda api: api.request(method, route, **sent), repeatable=True))

    def _write(
        self, part: str, operation: str, request: Callable[[Any], Any], *, repeatable: bool = False
    ) -> dict[str, Any]:
        return self._call(part, operation, request, repeatable=repeatable, price=self._price(operation))


def _post(text: str | None) -> str | None:
    return None if text is None else post_id(text)
