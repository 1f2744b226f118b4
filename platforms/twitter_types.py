"""What X tells, as nova has it: posts, users, figures, limits. X is renaming tweets to posts: both names are read."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nova.clock import parse_time
from platforms.reading import readable
from platforms.twitter_text import links_in

_MENTIONS_FIRST = re.compile(r"(?:@\w{1,15}\s+)+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Metrics:
    """How often a post was liked, reposted, answered, quoted, bookmarked and seen, at the time of asking."""

    likes: int = 0
    retweets: int = 0
    replies: int = 0
    quotes: int = 0
    bookmarks: int = 0
    impressions: int = 0


@dataclass(frozen=True, slots=True)
class Post:
    """`links` are the addresses behind X's short ones; `plain` is the text as it was written, with them."""

    id: str
    text: str
    author_id: str | None
    author: str | None
    at: datetime | None
    conversation_id: str | None
    replied_to: str | None
    quoted: str | None
    metrics: Metrics
    links: tuple[str, ...]
    plain: str

    @property
    def url(self) -> str:
        return post_url(self.id, self.author)


@dataclass(frozen=True, slots=True)
class Page:
    """Some posts, newest first; `after` continues behind them, None: there are no more."""

    posts: tuple[Post, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class User:
    id: str
    username: str
    name: str
    description: str
    at: datetime | None
    verified: bool
    protected: bool
    followers: int
    following: int
    posts: int


@dataclass(frozen=True, slots=True)
class Posted:
    """A post of this account's own, as it was accepted. The id is empty where only a person said that it was posted."""

    id: str
    text: str

    @property
    def url(self) -> str:
        return post_url(self.id)


@dataclass(frozen=True, slots=True)
class Poll:
    """2 to 4 options of at most 25 characters, open for 5 minutes to 7 days."""

    options: tuple[str, ...]
    minutes: int = 1440


@dataclass(frozen=True, slots=True)
class Media:
    """What was uploaded: its id goes into posts, for a day. `kind` is image, gif or video."""

    id: str
    kind: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Limit:
    """How many more requests X takes of `endpoint` until `reset_at`, in its `window` (15 minutes or 24 hours)."""

    endpoint: str
    window: str
    limit: int
    remaining: int
    reset_at: datetime


@dataclass(frozen=True, slots=True)
class Usage:
    """Posts read this billing cycle by the app, of how many, and the day of the month on which it begins anew."""

    used: int
    cap: int | None
    reset_day: int | None


def post_url(id: str, author: str | None = None) -> str:
    return f"https://x.com/{author or 'i'}/status/{id}"


@readable("twitter")
def post_of(data: Mapping[str, Any], authors: Mapping[str, str] | None = None) -> Post:
    author = data.get("author_id")
    referenced = data.get("referenced_tweets") or data.get("referenced_posts") or ()
    refers = {one.get("type"): one.get("id") for one in referenced}
    return Post(
        id=str(data["id"]),
        text=html.unescape(data.get("text", "")),
        author_id=author,
        author=(authors or {}).get(author or ""),
        at=_time(data.get("created_at")),
        conversation_id=data.get("conversation_id"),
        replied_to=refers.get("replied_to"),
        quoted=refers.get("quoted"),
        metrics=metrics_of(data),
        links=tuple(_expanded(one) for one in _urls(data) if not _of_media(one)),
        plain=_plain(data),
    )


@readable("twitter")
def metrics_of(data: Mapping[str, Any]) -> Metrics:
    """What only the author may know is taken where it is told."""
    said = {**data.get("public_metrics", {}), **data.get("non_public_metrics", {})}
    return Metrics(
        likes=said.get("like_count", 0),
        retweets=said.get("retweet_count", said.get("repost_count", 0)),
        replies=said.get("reply_count", 0),
        quotes=said.get("quote_count", 0),
        bookmarks=said.get("bookmark_count", 0),
        impressions=said.get("impression_count", 0),
    )


@readable("twitter")
def user_of(data: Mapping[str, Any]) -> User:
    counts = data.get("public_metrics", {})
    return User(
        id=str(data["id"]),
        username=data["username"],
        name=data.get("name", ""),
        description=html.unescape(data.get("description", "")),
        at=_time(data.get("created_at")),
        verified=bool(data.get("verified")),
        protected=bool(data.get("protected")),
        followers=counts.get("followers_count", 0),
        following=counts.get("following_count", 0),
        posts=counts.get("tweet_count", counts.get("post_count", 0)),
    )


@readable("twitter")
def usage_of(data: Mapping[str, Any]) -> Usage:
    cap, day = data.get("project_cap"), data.get("cap_reset_day")
    used = int(data.get("project_usage", 0))
    return Usage(used, None if cap is None else int(cap), None if day is None else int(day))


@readable("twitter")
def page_of(body: Mapping[str, Any]) -> Page:
    included = body.get("includes", {}).get("users", ())
    authors = {str(one["id"]): str(one["username"]) for one in included}
    posts = tuple(post_of(one, authors) for one in body.get("data") or ())
    return Page(posts, body.get("meta", {}).get("next_token"))


def same_text(ours: str, theirs: str) -> bool:
    """Whether X's text is what was sent: spaces, schemes of links and the names it puts before an answer differ."""
    return _essence(ours) == _essence(theirs)


def _essence(text: str) -> str:
    text = unicodedata.normalize("NFC", html.unescape(text)).strip()
    for link in links_in(text):
        text = text.replace(link, re.sub(r"^https?://", "", link, flags=re.IGNORECASE).rstrip("/"))
    if first := _MENTIONS_FIRST.match(text):
        text = text[first.end() :]
    return " ".join(text.split())


def _plain(data: Mapping[str, Any]) -> str:
    text = html.unescape(data.get("text", ""))
    for one in _urls(data):
        text = text.replace(one["url"], "" if _of_media(one) else _expanded(one))
    return text.strip()


def _urls(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for one in data.get("entities", {}).get("urls", ()) if one.get("url")]


def _of_media(url: Mapping[str, Any]) -> bool:
    return bool(url.get("media_key")) or str(url.get("display_url", "")).startswith(("pic.x.com", "pic.twitter.com"))


def _expanded(url: Mapping[str, Any]) -> str:
    return str(url.get("expanded_url") or url["url"])


def _time(text: str | None) -> datetime | None:
    return parse_time(text) if text else None
