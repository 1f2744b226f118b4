"""What is sent is verified, kept once and then acknowledged; what is not the sender's leaves no trace."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from nova.bootstrap import Nova
from nova.clock import ManualClock
from nova.errors import NotFound, NovaError, Unreachable
from nova.fleet.webhooks import WebhookSender
from nova.ledger import deliveries
from nova.ledger.deliveries import Delivery
from nova.webhooks.endpoints import Endpoints, endpoints
from nova.webhooks.intake import Intake, Stale
from platforms.signatures import Forged
from tests import signing
from tests.integration.webhooks.conftest import KEYS, Told

SENDERS = (
    WebhookSender("shop", "SHOP_SECRET"),
    WebhookSender("plain", "PLAIN_SECRET", scheme="hmac-sha256", timestamp_header="X-Timestamp"),
    WebhookSender("bare", "NOT_SET"),
    WebhookSender("wrong", "PLAIN_WRONG"),
)


@pytest.fixture
def grouped(open_nova: Callable[..., Nova]) -> Nova:
    return open_nova(grouped=True)


@pytest.fixture
def known(grouped: Nova) -> Endpoints:
    return endpoints(grouped.settings, SENDERS, {**KEYS, "PLAIN_WRONG": "é"})


def take(nova: Nova, known: Endpoints, name: str, *sent: tuple[bytes, Mapping[str, str], str]) -> list[object]:
    """All at once; what became of each."""

    async def all_of() -> list[object]:
        intake = Intake(nova.ledger.store, nova.clock, nova.alerts.send)
        calls = (intake.take(known.find(name), body, headers, rest) for body, headers, rest in sent)
        found = await asyncio.gather(*calls, return_exceptions=True)
        await intake.drained()
        return list(found)

    return asyncio.run(all_of())


def waiting(nova: Nova, name: str) -> list[Delivery]:
    found = nova.ledger.deliveries
    return [found.find(one.endpoint, one.id) for one in found.in_state("waiting", name)]


def test_each_vendors_delivery_is_kept_as_it_came(grouped: Nova, known: Endpoints, clock: ManualClock) -> None:
    at, body = clock.now().timestamp(), signing.stripe_event("evt_7", "charge.refunded")
    mails = b'[{"event": "open"}]'
    assert take(grouped, known, "stripe", (body, signing.by_stripe(body, at), "")) == [None]
    assert take(grouped, known, "sendgrid", (mails, signing.by_sendgrid(mails, at), "")) == [None]
    assert take(grouped, known, "gumroad", (b"sale_id=1", {}, KEYS["GUMROAD_WEBHOOK_SECRET"])) == [None]
    assert take(grouped, known, "shop", (b"{}", signing.by_standard(b"{}", at, "msg_5"), "")) == [None]
    plain = signing.by_hmac(b"{}", KEYS["PLAIN_SECRET"], at)
    assert take(grouped, known, "plain", (b"{}", plain, "")) == [None]
    [event] = waiting(grouped, "stripe")
    assert (event.id, event.kind, event.body) == ("evt_7", "charge.refunded", body)
    assert [one.id for one in waiting(grouped, "shop")] == ["msg_5"]
    assert {one.endpoint for one in grouped.ledger.deliveries.in_state("waiting")} == {
        "stripe", "sendgrid", "gumroad", "shop", "plain",
    }  # fmt: skip


def test_what_comes_often_or_at_once_is_kept_once(grouped: Nova, known: Endpoints, clock: ManualClock) -> None:
    body = signing.stripe_event("evt_1")
    headers = signing.by_stripe(body, clock.now().timestamp())
    assert take(grouped, known, "stripe", *[(body, headers, "")] * 40) == [None] * 40
    assert take(grouped, known, "stripe", (body, headers, "")) == [None]
    assert len(waiting(grouped, "stripe")) == 1


def test_an_id_that_is_not_signed_makes_no_other_delivery_of_the_same(
    grouped: Nova, known: Endpoints, clock: ManualClock
) -> None:
    signed = signing.by_hmac(b"{}", KEYS["PLAIN_SECRET"], clock.now().timestamp())
    sent = [(b"{}", {**signed, "webhook-id": f"msg_{n}"}, "") for n in range(5)]
    assert take(grouped, known, "plain", *sent) == [None] * 5
    assert len(waiting(grouped, "plain")) == 1


def test_what_is_forged_is_not_kept(grouped: Nova, known: Endpoints, clock: ManualClock) -> None:
    body = signing.stripe_event()
    good = signing.by_stripe(body, clock.now().timestamp())
    for sent, headers in ((body[:-3], good), (body, signing.by_stripe(body, 1.0, "whsec_other")), (body, {})):
        [problem] = take(grouped, known, "stripe", (sent, headers, ""))
        assert isinstance(problem, Forged)
    [problem] = take(grouped, known, "gumroad", (b"sale_id=1", {}, "guess"))
    assert isinstance(problem, Forged)
    assert grouped.ledger.deliveries.counts() == []


@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_clock_that_is_off_refuses_and_is_told_once(
    grouped: Nova, known: Endpoints, clock: ManualClock, told: Told, minutes: int, caplog: pytest.LogCaptureFixture
) -> None:
    at = clock.now().timestamp() + 60 * minutes
    sent = [(signing.stripe_event(f"evt_{n}"), n) for n in range(20)]
    found = take(grouped, known, "stripe", *[(body, signing.by_stripe(body, at), "") for body, _ in sent])
    assert all(isinstance(one, Stale) for one in found)
    assert told.of("clock_is_off") == 1
    assert ("ahead" if minutes > 0 else "old") in told.alerts[0][2]
    assert waiting(grouped, "stripe") == []


def test_an_old_signature_among_fresh_ones_is_a_replay_and_no_wrong_clock(
    grouped: Nova, known: Endpoints, clock: ManualClock, told: Told
) -> None:
    now, body = clock.now().timestamp(), signing.stripe_event()
    old, fresh = (body, signing.by_stripe(body, now - 301), ""), (body, signing.by_stripe(body, now - 299), "")
    found = take(grouped, known, "stripe", *[old, fresh] * 10)
    assert [type(one) for one in found] == [Stale, type(None)] * 10
    assert told.of("clock_is_off") == 0
    assert [type(one) for one in take(grouped, known, "stripe", *[old] * 10)] == [Stale] * 10
    assert told.of("clock_is_off") == 0


def test_who_is_not_declared_or_has_no_secret_is_not_found(known: Endpoints) -> None:
    for name in ("nobody", "bare", "wrong", ""):
        with pytest.raises(NotFound):
            known.find(name)
    assert known.wanting["bare"] == "NOT_SET is not set"
    assert "é" not in known.wanting["wrong"]


def test_what_cannot_be_written_is_not_acknowledged(
    grouped: Nova, known: Endpoints, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Unreachable("no space")

    body = signing.stripe_event()
    with monkeypatch.context() as patched:
        patched.setattr(deliveries, "keep", full)
        [problem] = take(grouped, known, "stripe", (body, signing.by_stripe(body, clock.now().timestamp()), ""))
    assert isinstance(problem, NovaError)
    assert take(grouped, known, "stripe", (body, signing.by_stripe(body, clock.now().timestamp()), "")) == [None]


def test_it_is_unwell_for_a_while_after_it_could_not_write_and_no_longer(
    grouped: Nova, known: Endpoints, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Unreachable("no space")

    intake = Intake(grouped.ledger.store, clock, grouped.alerts.send)
    monkeypatch.setattr(deliveries, "keep", full)
    with pytest.raises(Unreachable):
        asyncio.run(intake.take(known.find("gumroad"), b"a=b", {}, KEYS["GUMROAD_WEBHOOK_SECRET"]))
    assert not intake.writable
    clock.advance(31)
    assert intake.writable


def test_a_flood_of_forgeries_is_told_by_count(
    grouped: Nova, known: Endpoints, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    intake = Intake(grouped.ledger.store, clock, grouped.alerts.send)
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            intake.refusals.refused("stripe", "forged")
        clock.advance(11)
        intake.refusals.refused("stripe", "forged")
    assert [record.__dict__["count"] for record in caplog.records] == [1, 1000]


def test_a_declared_sender_is_found_by_its_own_name_alone(grouped: Nova) -> None:
    grouped.fleet.add_webhook(SENDERS[0])
    assert not grouped.fleet.add_webhook(SENDERS[0])
    assert grouped.fleet.add_webhook(replace(SENDERS[0], amount_path="total"))
    assert [one.amount_path for one in grouped.fleet.snapshot().webhooks] == ["total"]
    with pytest.raises(NovaError):
        grouped.fleet.add_webhook(replace(SENDERS[0], name="Shop"))
    grouped.fleet.remove_webhook("shop")
    with pytest.raises(NotFound):
        grouped.fleet.remove_webhook("shop")
