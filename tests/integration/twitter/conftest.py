"""X's emulator, with every exchange held against what X publishes, and clients whose waiting is only written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nova.errors import NovaError, Unreachable
from platforms.base import InDoubt, RateLimited
from platforms.line import Patience
from platforms.twitter_integration import Twitter
from platforms.twitter_keys import Keys
from tests.emulators.twitter import BEARER, SECRETS, TOKEN, Exchange, TwitterEmulator
from tests.hands import QuickHands
from tests.published import Document

KEYS = Keys(BEARER, SECRETS["api_key"], SECRETS["api_secret"], TOKEN, SECRETS["access_secret"])
SHORT = Patience(attempts=2)


class Remembering(QuickHands):
    """As a run's hands: what was done under a key is told again, and what nobody knows the end of is looked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.done: dict[str, Any] = {}
        self.doubtful: set[str] = set()

    def key(self, what: str, content: str) -> str:
        return f"{what} {content}"

    def once(self, what: str, key: str, payload: Any, action: Any, find: Any = None, *, known_s: float = 0.0) -> Any:
        if key in self.done:
            return self.done[key]
        if key in self.doubtful:
            if find is None:
                raise InDoubt
            found = find(key)
            if found is not None:
                return self.done.setdefault(key, found)
        try:
            self.done[key] = action(key)
        except NovaError as problem:
            if isinstance(problem, Unreachable) and not isinstance(problem, RateLimited):
                self.doubtful.add(key)
            raise
        return self.done[key]


class Published:
    """X's documents: that of what tweepy speaks, and a newer one for media and usage."""

    def __init__(self) -> None:
        self._old, self._new = Document("twitter", forms=True), Document("twitter_media", forms=True)

    def requests(self) -> set[str]:
        return self._old.requests() | self._new.requests()

    def hear(self, exchange: Exchange) -> None:
        newer = exchange.request.partition(" ")[2].startswith(("/2/media", "/2/usage"))
        (self._new if newer else self._old).hear(exchange)

    def take_problems(self) -> str:
        return self._old.take_problems() + self._new.take_problems()


@pytest.fixture(scope="session")
def published() -> Published:
    return Published()


@pytest.fixture
def x(published: Published) -> Iterator[TwitterEmulator]:
    """At the end every exchange must have been as X publishes it."""
    with TwitterEmulator(published.hear) as emulator:
        yield emulator
    problems = published.take_problems()
    assert not problems, problems


@pytest.fixture
def hands() -> Remembering:
    return Remembering()


@pytest.fixture
def connect(x: TwitterEmulator, hands: Remembering) -> Iterator[Callable[..., Twitter]]:
    opened: list[Twitter] = []

    def open_one(**options: Any) -> Twitter:
        keys, url = options.pop("keys", KEYS), options.pop("url", x.url)
        client = Twitter(keys, url, hands=options.pop("hands", hands), **options)
        opened.append(client)
        return client

    yield open_one
    for client in opened:
        client.close()


@pytest.fixture
def client(connect: Callable[..., Twitter]) -> Twitter:
    return connect()
