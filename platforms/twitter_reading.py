"""What X tells: posts, search, mentions, profiles, figures, limits; and the way of every request through tweepy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from nova.errors import UsageProblem
from nova.money import Money
from platforms.connections import Connections
from platforms.hands import Hands
from platforms.line import Line, Patience
from platforms.twitter_keys import PLATFORM, Keys, named
from platforms.twitter_rules import post_id, username
from platforms.twitter_types import (
    Limit,
    Metrics,
    Page,
    Post,
    Usage,
    User,
    page_of,
    post_of,
    usage_of,
    user_of,
)
from platforms.twitter_wire import Wire, data_of, understood

API = "https://api.twitter.com"
_AT_ONCE = 100  # ids in one question, and posts on one page
_POST_FIELDS = ["author_id", "created_at", "conversation_id", "entities", "public_metrics", "referenced_tweets"]
_USER_FIELDS = ["created_at", "description", "protected", "public_metrics", "verified"]

_FULL = {"tweet_fields": _POST_FIELDS, "expansions": ["author_id"], "user_fields": ["username"]}

Price = Callable[[str], Money | None]


class Reading:
    """One account. Every error is a NovaError, and none of them holds a key. For several threads.

    `price` says what X charges for an operation; what is read is charged by the piece.
    """

    name = PLATFORM

    def __init__(
        self,
        keys: Keys,
        api_base: str | None = None,
        *,
        hands: Hands | None = None,
        connections: Connections | None = None,
        price: Price = lambda operation: None,
        timeout_s: tuple[float, float] = (5.0, 30.0),
        total_s: float = 60.0,
        patience: Patience | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        keys.require_any()
        self._keys = keys
        self._price = price
        self._wire: Wire = (connections or Connections()).of(
            PLATFORM, lambda: Wire(api_base or API, timeout_s, total_s, now, keys.all), lambda wire: wire.close()
        )
        self._shared = connections is not None
        self.line = Line(PLATFORM, self._wire.problem, hands, patience)
        self.hands = self.line.hands

    def check(self) -> str:
        """Proves each set of keys with a harmless call, and says what they allow."""
        said = []
        if self._keys.bearer:
            usage = self.usage()
            said.append(f"the bearer token reads ({usage.used} posts read of {usage.cap or 'any number'})")
        if self._keys.can_write:
            said.append(f"posts as @{self.me().username}")
        else:
            said.append(f"cannot post: {named(self._keys.missing())} missing")
        return f"answers; {'; '.join(said)}"

    def limits(self) -> tuple[Limit, ...]:
        """What X said last of each endpoint that this client has called."""
        return tuple(limit for _, limit in sorted(self._wire.limits.items()))

    def usage(self) -> Usage:
        """How many posts the app has read this billing cycle. Asks with the bearer token."""
        self._keys.require_bearer()
        body = self._call("usage", "usage", lambda api: api.request("GET", "/2/usage/tweets"))
        return understood(usage_of, data_of(body))

    @property
    def own_id(self) -> str:
        self._keys.require_user("tells whose account it is")
        return self._keys.own_id

    def me(self) -> User:
        self._keys.require_user("tells whose account it is")
        body = self._paid_read("me", "user", 1, lambda api: api.get_me(user_fields=_USER_FIELDS))
        return understood(user_of, data_of(body))

    def user(self, who: str) -> User:
        """By name, with or without @, or by id where `who` is a number. Raises Missing."""
        which = {"id": who} if who.isdecimal() else {"username": username(who)}
        body = self._paid_read(
            "users", "user", 1, lambda api: api.get_user(**which, user_fields=_USER_FIELDS, user_auth=self._as_user)
        )
        return understood(user_of, data_of(body))

    def users(self, names: Sequence[str]) -> tuple[User, ...]:
        """Those of them that there are."""
        wanted = [username(name) for name in names]
        return tuple(understood(user_of, one) for some in _parts(wanted) for one in self._some_users(some))

    def _some_users(self, names: list[str]) -> list[dict[str, Any]]:
        body = self._paid_read(
            "users",
            "user",
            len(names),
            lambda api: api.get_users(usernames=names, user_fields=_USER_FIELDS, user_auth=self._as_user),
        )
        return body.get("data") or []

    def posts(self, ids: Sequence[str], *, own: bool = False) -> tuple[Post, ...]:
        """Those of them that there are, in the order asked. `own`: with what only the author may know."""
        if own:
            self._keys.require_user("tells what only the author may know")
        fields = [*_POST_FIELDS, "non_public_metrics"] if own else _POST_FIELDS
        wanted = list(dict.fromkeys(map(post_id, ids)))
        every = [understood(post_of, one) for some in _parts(wanted) for one in self._some_posts(some, fields, own)]
        found = {one.id: one for one in every}
        return tuple(found[id] for id in wanted if id in found)

    def metrics(self, ids: Sequence[str]) -> dict[str, Metrics]:
        """By id; a post that is gone has none."""
        fields = ["public_metrics"]
        wanted = map(post_id, ids)
        every = [understood(post_of, one) for some in _parts(wanted) for one in self._some_posts(some, fields)]
        return {one.id: one.metrics for one in every}

    def _some_posts(self, ids: list[str], fields: list[str], own: bool = False) -> list[dict[str, Any]]:
        as_user = own or self._as_user
        body = self._paid_read(
            "posts", "read", len(ids), lambda api: api.get_tweets(ids, tweet_fields=fields, user_auth=as_user)
        )
        return body.get("data") or []

    def post_of(self, id: str) -> Post:
        """Raises Missing."""
        body = self._paid_read(
            "posts",
            "read",
            1,
            lambda api: api.get_tweet(post_id(id), tweet_fields=_POST_FIELDS, user_auth=self._as_user),
        )
        return understood(post_of, data_of(body))

    def search(self, query: str, *, most: int = 100, since_id: str | None = None) -> Iterator[Post]:
        """Posts of the last seven days, newest first, page by page while they are asked for."""

        def page(after: str | None, size: int) -> Page:
            body = self._paid_read(
                "search",
                "read",
                size,
                lambda api: api.search_recent_tweets(
                    query,
                    max_results=max(size, 10),
                    next_token=after,
                    since_id=since_id,
                    user_auth=self._as_user,
                    **_FULL,
                ),
            )
            return understood(page_of, body)

        return _through(page, most, least=10)

    def mentions(self, *, since_id: str | None = None, user_id: str | None = None, most: int = 100) -> Iterator[Post]:
        """Of the account or another one, newest first, only those after `since_id`."""
        return self._timeline("mentions", "get_users_mentions", user_id, since_id, most)

    def own_posts(self, *, since_id: str | None = None, user_id: str | None = None, most: int = 100) -> Iterator[Post]:
        """What the account or another one posted, newest first."""
        return self._timeline("timeline", "get_users_tweets", user_id, since_id, most)

    def _timeline(self, part: str, method: str, user_id: str | None, since_id: str | None, most: int) -> Iterator[Post]:
        whose = user_id or self.own_id
        own = self._keys.can_write and whose == self.own_id  # cheaper, and by the account's own limits

        def page(after: str | None, size: int) -> Page:
            body = self._paid_read(
                part,
                "owned_read" if own else "read",
                size,
                lambda api: getattr(api, method)(
                    whose,
                    max_results=max(size, 5),
                    pagination_token=after,
                    since_id=since_id,
                    user_auth=own or self._as_user,
                    **_FULL,
                ),
            )
            return understood(page_of, body)

        return _through(page, most, least=5)

    def close(self) -> None:
        """Unless the connections are its process's."""
        if not self._shared:
            self._wire.close()

    def _paid_read(self, part: str, operation: str, most: int, request: Callable[[Any], Any]) -> dict[str, Any]:
        """What fails costs nothing; else each piece that came does."""
        price = self._price(operation)
        if price is None:
            return self._call(part, operation, request)
        with self.hands.paying(price * most, f"{PLATFORM} {part}") as bill:
            spent = price * 0
            try:
                body = self._call(part, operation, request)
                data = body.get("data")
                spent = price * (len(data) if isinstance(data, list) else int(data is not None))
            finally:
                if bill is not None:
                    bill.settle(spent)
        return body

    def _call(
        self,
        part: str,
        what: str,
        request: Callable[[Any], Any],
        *,
        repeatable: bool = True,
        price: Money | None = None,
    ) -> dict[str, Any]:
        lane = f"{PLATFORM}/{part}"

        def make() -> dict[str, Any]:
            answer = request(self._api)
            wait_s = self._wire.wait_s(answer.headers)
            if wait_s is not None:
                self.hands.hold(lane, wait_s)
            return {} if answer.status_code == 204 else dict(answer.json())

        return self.line.call(what, make, part=part, repeatable=repeatable, price=price)

    @cached_property
    def _api(self) -> Any:
        """tweepy's client with the wire for its session; it gives answers back as they came."""
        import requests
        import tweepy

        keys = self._keys
        api = tweepy.Client(
            keys.bearer, *keys.user, return_type=requests.Response, wait_on_rate_limit=False
        )  # the line waits, so that waits are shared and seen
        api.session.close()
        api.session = self._wire
        return api

    @property
    def _as_user(self) -> bool:
        """Whether reading is done in the account's name, for want of a bearer token."""
        return not self._keys.bearer


def _through(page: Callable[[str | None, int], Page], most: int, least: int) -> Iterator[Post]:
    if most < 1:
        raise UsageProblem(f"at least one post must be asked for, not {most}")
    after, left = None, most
    while left > 0:
        found = page(after, max(least, min(left, _AT_ONCE)))
        yield from found.posts[:left]
        left -= len(found.posts)
        after = found.after
        if after is None:
            return


def _parts(ids: Iterable[str]) -> Iterator[list[str]]:
    every = list(dict.fromkeys(ids))
    for first in range(0, len(every), _AT_ONCE):
        yield every[first : first + _AT_ONCE]
