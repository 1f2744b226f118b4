"""The emulated SendGrid, with every exchange held against SendGrid's published document."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from nova.errors import NovaError
from platforms.base import InDoubt, nothing_done
from platforms.hands import Find
from platforms.line import Patience
from platforms.sendgrid_integration import Address, SendGrid
from tests.emulators.sendgrid import Exchange, SendGridEmulator
from tests.hands import QuickHands
from tests.published import Document


class Published(Document):
    """SendGrid's document, mended where SendGrid's own API and SDKs do otherwise."""

    def __init__(self) -> None:
        super().__init__("sendgrid", forms=True)
        schemas, answers = self._document["components"]["schemas"], self._document["responses"]
        schemas["error"] = schemas["global_error_response_schema"]
        # it knows its patterns of properties by an extension only, and so forbids every property
        contact = {"properties": {"contact": {"$ref": "#/components/schemas/contact-details3"}}}
        found = answers["POST /marketing/contacts/search/emails"]["properties"]["result"]
        found["additionalProperties"] = contact
        # ids of jobs are texts, and who is not suppressed is an empty object
        answers["DELETE /marketing/contacts"]["properties"]["job_id"] = {"type": "string"}
        del answers["GET /asm/suppressions/global/{email}"]["required"]
        # the ids of dynamic templates begin with d- and are no UUIDs
        schemas["transactional-templates-template-lean"]["properties"]["id"] = {"type": "string", "pattern": "^d-"}
        schemas["transactional-templates-version-output-lean"]["properties"]["template_id"] = {"type": "string"}

    def hear(self, exchange: Exchange) -> None:  # type: ignore[override]
        """A mail by template is wrongly refused without subject and content: they are supposed."""
        if exchange.request == "POST /mail/send" and "template_id" in exchange.params:
            supposed = {"subject": "-", "content": [{"type": "text/plain", "value": "-"}]}
            exchange = replace(exchange, params={**supposed, **exchange.params})
        super().hear(exchange)


class RunHands(QuickHands):
    """Those of a run of `w`: what it did is remembered for its repetitions, what it left in the middle is in doubt."""

    def __init__(self) -> None:
        super().__init__()
        self.done: dict[str, Any] = {}
        self.begun: set[str] = set()
        self.blocked: dict[str, str] = {}
        self._asked: dict[str, int] = {}

    def again(self) -> None:
        """The run is made again."""
        self._asked.clear()

    def key(self, what: str, content: str) -> str:
        number = self._asked[content] = self._asked.get(content, 0) + 1
        return f"{what} {content} {number}"

    def once(
        self,
        what: str,
        key: str,
        payload: Any,
        action: Callable[[str], Any],
        find: Find | None = None,
        *,
        known_s: float = 0.0,
    ) -> Any:
        if key in self.done:
            return self.done[key]
        if key in self.begun:
            raise InDoubt
        self.begun.add(key)
        try:
            self.done[key] = action(key)
        except NovaError as problem:
            if nothing_done(problem):
                self.begun.discard(key)
            raise
        return self.done[key]

    def labels(self) -> Mapping[str, str]:
        return {"nova_worker": "w", "nova_run": "r1"}

    def suppressed(self, addresses: Sequence[str]) -> Mapping[str, str]:
        return {one: self.blocked[one.lower()] for one in addresses if one.lower() in self.blocked}


@pytest.fixture(scope="session")
def published() -> Published:
    return Published()


@pytest.fixture
def account(published: Published) -> Iterator[SendGridEmulator]:
    """At the end every exchange must have been as SendGrid publishes it."""
    with SendGridEmulator(published.hear) as opened:
        yield opened
    assert not (problems := published.take_problems()), problems


@pytest.fixture
def hands() -> RunHands:
    return RunHands()


@pytest.fixture
def connect(hands: RunHands) -> Callable[..., SendGrid]:
    """Opens clients whose waiting is written down instead of done."""

    def open_one(url: str, **options: Any) -> SendGrid:
        given = {"key": SendGridEmulator.__name__, **options}
        key = given.pop("key")
        sender = Address("news@shop.example", "The Shop")
        known = {"hands": hands, "sender": sender, "patience": Patience(attempts=2), **given}
        return SendGrid(key, url, **known)

    return open_one


@pytest.fixture
def sendgrid(account: SendGridEmulator, connect: Callable[..., SendGrid]) -> SendGrid:
    return connect(account.url, key=account.key)
