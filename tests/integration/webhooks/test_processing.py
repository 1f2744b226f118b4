"""What was kept has its effect once, in any order and however often it is cut; what is poison holds up nobody."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nova.bootstrap import Nova
from nova.clock import ManualClock, to_us
from nova.daemon import WaitingWebhooks
from nova.errors import LockHeld, NotFound, NovaError, Unreachable
from nova.fleet.webhooks import WebhookSender
from nova.ledger.deliveries import MOST_ATTEMPTS, Arrived, keep
from nova.ledger.links import Visit
from nova.money import Money
from nova.people import subject_of_email
from nova.revenue.sync import one_at_a_time
from nova.webhooks import service
from nova.webhooks.processing import KEPT, Processor
from nova.webhooks.vendors import Kept
from platforms import registry
from platforms.base import Missing
from platforms.events import PlatformEvent, SubscriptionFact
from tests.integration.webhooks.conftest import Told
from tests.signing import as_json

SHOP = WebhookSender("shop", "SHOP_SECRET", currency_path="currency", worker="mailer")
AT = datetime(2026, 11, 20, 9, tzinfo=UTC)


class Synced:
    def __init__(self) -> None:
        self.sources: list[str] = []
        self.problem: Exception | None = None

    def __call__(self, source: str, overlap: timedelta) -> None:
        self.sources.append(source)
        if self.problem is not None:
            raise self.problem


@pytest.fixture
def synced() -> Synced:
    return Synced()


@pytest.fixture
def processor(nova: Nova, synced: Synced) -> Processor:
    nova.fleet.add_webhook(SHOP)
    return Processor(nova, sync=synced)


def arrive(nova: Nova, endpoint: str, *bodies: Any, first: int = 1) -> None:
    now = to_us(nova.clock.now())
    sent = [body if isinstance(body, bytes) else as_json(body) for body in bodies]
    rows = [Arrived(endpoint, f"d{first + n}", now, None, body) for n, body in enumerate(sent)]
    nova.ledger.deliveries.keep(rows)


def order(id: str, amount: str = "10.00", currency: str = "USD") -> dict[str, str]:
    return {"id": id, "amount": amount, "currency": currency}


def states(nova: Nova) -> dict[str, int]:
    return {one.state: one.deliveries for one in nova.ledger.deliveries.counts()}


def revenue(nova: Nova, source: str) -> Money:
    with nova.ledger.read() as conn:
        rows = conn.exec_driver_sql("SELECT sum(micros) FROM entries WHERE source = ?", (source,)).scalar()
    return Money(rows or 0, "USD")


def test_a_sale_is_booked_once_for_its_worker(nova: Nova, processor: Processor, clock: ManualClock) -> None:
    arrive(nova, "shop", order("o-1"), order("o-1"), order("o-2", "5"))
    assert processor.step() == 3
    clock.advance(60)
    arrive(nova, "shop", order("o-2", "5.00"), first=10)
    processor.step()
    assert states(nova) == {"done": 4}
    assert revenue(nova, "webhook:shop") == Money.parse("15", "USD")
    assert {one.entry.worker for one in nova.ledger.entries.of_object("webhook:shop", "o-1")} == {"mailer"}


def test_a_sale_that_a_tracked_link_led_to_is_its_workers_and_the_clickers(nova: Nova, processor: Processor) -> None:
    link = nova.ledger.links.make("poster", "https://shop.example/")
    nova.ledger.links.visited(Visit("c1", link, AT))
    nova.fleet.add_webhook(replace(SHOP, worker=None, link_path="link", click_path="click", email_path="email"))
    arrive(nova, "shop", {**order("o-1"), "link": link.slug, "click": "c1", "email": "ann@example.com"})
    processor.step()
    [sale] = nova.ledger.entries.of_object("webhook:shop", "o-1")
    assert nova.ledger.entries.owner(sale) == "poster"
    assert [one.id for one in nova.ledger.touches.of(subject_of_email("ann@example.com"))] == ["click:c1"]


def test_a_refund_that_comes_before_its_sale_is_the_same_workers(nova: Nova, processor: Processor) -> None:
    nova.fleet.add_webhook(replace(SHOP, worker=None, worker_path="worker"))
    arrive(nova, "shop", order("o-1", "-10"))
    arrive(nova, "shop", {**order("o-1"), "worker": "mailer"}, first=2)
    processor.step()
    entries = nova.ledger.entries.of_object("webhook:shop", "o-1")
    assert sorted(one.entry.kind for one in entries if one.entry.source == "webhook:shop") == ["refund", "revenue"]
    assert {nova.ledger.entries.owner(one) for one in entries if one.entry.source == "webhook:shop"} == {"mailer"}


def test_what_cannot_be_used_is_dead_at_once_with_its_reason_and_can_be_replayed(
    nova: Nova, processor: Processor, told: Told
) -> None:
    arrive(nova, "shop", b"nonsense", order("o-1", "ten"), order("o-2", currency="euros"), order("o-3"))
    processor.step()
    assert states(nova) == {"dead": 3, "done": 1}
    reasons = " ".join(row["error"] for row in service.dead(nova))
    assert "not JSON" in reasons and "not an amount" in reasons and "no currency" in reasons
    assert told.of("webhook_dead") == 3  # which those who send alerts tell once
    nova.fleet.add_webhook(replace(SHOP, currency_path=None))
    service.replay(nova, "shop", [], "me")
    processor.step()
    assert states(nova) == {"dead": 2, "done": 2}
    assert service.show(nova, "shop", "d1")["body"] == "nonsense"


def test_another_amount_under_the_same_id_is_refused_and_shown(nova: Nova, processor: Processor) -> None:
    arrive(nova, "shop", order("o-1"), {**order("o-1"), "amount": "99"})
    processor.step()
    [row] = service.dead(nova)
    assert "o-1 is in the ledger as 10.00 USD" in row["error"]
    assert revenue(nova, "webhook:shop") == Money.parse("10", "USD")


def test_what_fails_is_tried_later_and_later_and_then_dead_with_one_alert(
    nova: Nova, processor: Processor, clock: ManualClock, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> str:
        raise RuntimeError("a bug")

    monkeypatch.setattr("nova.webhooks.processing.sale", broken)
    arrive(nova, "shop", order("o-1"))
    waits = []
    for _ in range(MOST_ATTEMPTS):
        processor.step()
        assert processor.step() == 0  # it is not due
        for one in nova.ledger.deliveries.in_state("waiting"):
            waits.append(round((one.due_at - clock.now()).total_seconds()))
            clock.set(one.due_at)
    assert waits == [10, 40, 160, 640, 2560, 10240, 21600]
    assert states(nova) == {"dead": 1} and told.of("webhook_dead") == 1
    assert "a bug" in service.dead(nova)[0]["error"]


def test_poison_does_not_hold_up_what_comes_after_it(
    nova: Nova, processor: Processor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nova.webhooks import vendors

    def sale(kept: vendors.Kept, sender: WebhookSender) -> str | None:
        if b"poison" in kept.delivery.body:
            raise NovaError("never")
        return vendors.sale(kept, sender)

    monkeypatch.setattr("nova.webhooks.processing.sale", sale)
    arrive(nova, "shop", *[b"poison"] * 3, order("o-1"))
    processor.step()
    assert states(nova) == {"waiting": 3, "done": 1}


def test_while_gumroad_does_not_answer_one_ping_asks_at_a_time_and_the_others_go_on(
    nova: Nova, processor: Processor, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def ping(kept: Kept) -> str | None:
        asked.append(kept.delivery.id)
        raise Unreachable("gumroad cannot be reached")

    monkeypatch.setattr("nova.webhooks.processing.gumroad_ping", ping)
    arrive(nova, "gumroad", *[f"sale_id={n}".encode() for n in range(20)])
    arrive(nova, "shop", order("o-1"))
    assert (processor.step(), processor.step()) == (1, 0)
    assert asked == ["d1"] and states(nova) == {"waiting": 20, "done": 1}
    clock.advance(16)
    processor.step()
    assert len(asked) == 2


def test_a_ping_waits_while_a_sync_is_at_work_and_loses_no_attempt_by_it(
    nova: Nova, processor: Processor, gumroad: Gumroad, clock: ManualClock
) -> None:
    arrive(nova, "gumroad", b"sale_id=s1")
    with one_at_a_time(nova.settings.run_dir, "gumroad"):
        assert processor.step() == 0
    [one] = nova.ledger.deliveries.in_state("waiting")
    assert (one.attempts, one.error) == (0, None)
    clock.advance(3)
    assert processor.step() == 1
    assert nova.ledger.entries.of_object("gumroad", "s1")


def test_what_came_while_the_clock_was_a_day_ahead_does_not_wait_for_that_day(
    nova: Nova, processor: Processor, clock: ManualClock
) -> None:
    right = clock.now()
    clock.set(right + timedelta(days=1))
    arrive(nova, "shop", order("o-1"))
    clock.set(right)
    assert processor.step() == 1
    assert revenue(nova, "webhook:shop") == Money.parse("10", "USD")


def test_nothing_more_is_begun_once_it_is_to_end(nova: Nova, processor: Processor) -> None:
    arrive(nova, "shop", *[order(f"o-{n}") for n in range(9)])
    looks = iter([False, False, True, True])
    assert processor.step(lambda: next(looks)) == 2
    assert states(nova) == {"done": 2, "waiting": 7}


def test_events_of_stripe_are_one_sync_of_all_that_came(
    nova: Nova, processor: Processor, synced: Synced, clock: ManualClock
) -> None:
    arrive(nova, "stripe", *[{"id": f"evt_{n}"} for n in range(50)])
    processor.step()
    assert synced.sources == []  # more may be on its way
    clock.advance(3)
    assert processor.step() == 50
    assert synced.sources == ["stripe"] and states(nova) == {"done": 50}
    arrive(nova, "stripe", {"id": "evt_x"}, first=100)
    clock.advance(5)
    assert processor.step() == 0  # it was synced a moment ago
    clock.advance(15)
    assert processor.step() == 1
    assert synced.sources == ["stripe"] * 2


def test_events_wait_while_stripe_does_not_answer_or_another_syncs(
    nova: Nova, processor: Processor, synced: Synced, clock: ManualClock
) -> None:
    arrive(nova, "stripe", {"id": "evt_1"})
    clock.advance(3)
    synced.problem = LockHeld("another one")
    assert processor.step() == 0
    [one] = nova.ledger.deliveries.in_state("waiting")
    assert one.attempts == 0
    clock.advance(20)
    synced.problem = Unreachable("stripe cannot be reached")
    processor.step()
    [one] = nova.ledger.deliveries.in_state("waiting")
    assert (one.attempts, one.error) == (1, "stripe cannot be reached")
    synced.problem = None
    clock.advance(3 * 86400)  # three days of silence
    assert processor.step() == 1


class Gumroad:
    """What a client of Gumroad is asked for here."""

    def __init__(self, sales: dict[str, Sequence[PlatformEvent]]) -> None:
        self.sales = sales
        self.asked: list[str] = []

    def sale_events(self, sale_id: str, ping: Mapping[str, str]) -> Sequence[PlatformEvent]:
        self.asked.append(sale_id)
        if sale_id not in self.sales:
            raise Missing("gumroad does not know it")
        return self.sales[sale_id]

    def facts_of_subscription(self, id: str) -> Sequence[SubscriptionFact]:
        self.asked.append(id)
        return [SubscriptionFact("gumroad", id, AT, "ended", None, "p", Money.parse("0", "USD"))]

    def close(self) -> None:
        pass


def gumroad_sale(id: str) -> PlatformEvent:
    return PlatformEvent("gumroad", id, "revenue", "gross", Money.parse("20", "USD"), AT, id, id, (id,))


@pytest.fixture
def gumroad(monkeypatch: pytest.MonkeyPatch) -> Gumroad:
    client = Gumroad({"s1": [gumroad_sale("s1")]})
    monkeypatch.setattr(registry, "revenue_platform", lambda settings, name, *hands: client)
    return client


def test_a_ping_is_believed_only_as_far_as_gumroad_tells_it_again(
    nova: Nova, processor: Processor, gumroad: Gumroad
) -> None:
    arrive(nova, "gumroad", b"sale_id=s1&price=999900&resource_name=sale", b"sale_id=s1&price=5", b"sale_id=nosuch")
    processor.step()
    assert revenue(nova, "gumroad") == Money.parse("20", "USD")
    assert states(nova) == {"done": 2, "waiting": 1}
    assert gumroad.asked == ["s1", "s1", "nosuch"]


def test_pings_of_a_subscription_fetch_it_again(nova: Nova, processor: Processor, gumroad: Gumroad) -> None:
    ping = b"subscription_id=u1&resource_name=subscription_ended"
    arrive(nova, "gumroad", ping, ping + b"&again=1")
    processor.step()
    assert [(one.id, one.kind) for one in nova.ledger.subscriptions.all()] == [("u1", "ended")]
    assert gumroad.asked == ["u1", "u1"] and states(nova) == {"done": 2}


def test_pings_of_something_else_are_a_sync_and_tests_are_nothing(
    nova: Nova, processor: Processor, gumroad: Gumroad, synced: Synced, clock: ManualClock
) -> None:
    arrive(nova, "gumroad", b"payout_id=1&resource_name=payout", b"sale_id=s1&test=true", b"", b"{}")
    clock.advance(3)
    processor.step()
    assert synced.sources == ["gumroad"] and gumroad.asked == []
    assert states(nova) == {"done": 2, "dead": 2}


def mail(kind: str, id: str, **fields: Any) -> dict[str, Any]:
    said = {"event": kind, "sg_event_id": id, "email": "Ann@Example.com", "timestamp": int(AT.timestamp())}
    return {**said, "nova_worker": "mailer", "nova_campaign": "may", **fields}


def test_opens_and_clicks_of_mails_are_touches_once(nova: Nova, processor: Processor) -> None:
    events = [mail("open", "e1"), mail("click", "e2"), mail("delivered", "e3"), mail("click", "e4", nova_worker=None)]
    arrive(nova, "sendgrid", events, events)
    processor.step()
    found = nova.ledger.touches.of(subject_of_email("ann@example.com"))
    assert [(one.kind, one.worker, one.campaign) for one in found] == [
        ("mail_open", "mailer", "may"), ("mail_click", "mailer", "may"),
    ]  # fmt: skip
    assert nova.ledger.deliveries.find("sendgrid", "d1").error == "2 click, 1 delivered, 1 open"


def test_who_bounces_complains_or_leaves_is_not_written_to_any_more(nova: Nova, processor: Processor) -> None:
    told = {
        "bounce": mail("bounce", "e1", type="bounce"), "blocked": mail("bounce", "e2", type="blocked"),
        "spam": mail("spamreport", "e3"), "left": mail("unsubscribe", "e4"), "group": mail("group_unsubscribe", "e5"),
        "spamlist": mail("dropped", "e6", reason="Spam Reporting Address"),
        "no": mail("dropped", "e7", reason="Invalid"),
        "content": mail("dropped", "e8", reason="Invalid SMTPAPI header"),
        "here": mail("delivered", "e9"),
        "back": mail("dropped", "e10", reason="Bounced Address"),
    }  # fmt: skip
    arrive(nova, "sendgrid", *[[{**event, "email": f"{name}@example.com"}] for name, event in told.items()])
    processor.step()
    of = nova.ledger.suppressions.of([subject_of_email(f"{name}@example.com") for name in told])
    assert {name: why for name in told if (why := of.get(subject_of_email(f"{name}@example.com")))} == {
        "bounce": "bounce", "spam": "spam", "left": "unsubscribe", "group": "unsubscribe", "spamlist": "spam",
        "no": "invalid", "back": "bounce",
    }  # fmt: skip
    assert "example.com" not in str(nova.ledger.suppressions.why(subject_of_email("spam@example.com")))


def test_deliveries_of_a_sender_that_was_removed_are_dead(nova: Nova, processor: Processor) -> None:
    arrive(nova, "shop", order("o-1"))
    nova.fleet.remove_webhook("shop")
    processor.step()
    assert "any more" in service.dead(nova, "shop")[0]["error"]


def test_what_is_done_goes_after_some_days_and_what_is_dead_stays(
    nova: Nova, processor: Processor, clock: ManualClock
) -> None:
    arrive(nova, "shop", order("o-1"), b"nonsense")
    processor.step()
    clock.advance(KEPT.total_seconds() + 3700)
    processor.step()
    assert states(nova) == {"dead": 1}


def test_one_process_at_a_time_looks_into_them(nova: Nova, open_nova: Callable[..., Nova], synced: Synced) -> None:
    other = Processor(open_nova(), sync=synced)
    nova.fleet.add_webhook(SHOP)
    counts: list[int] = []

    def slow(source: str, overlap: timedelta) -> None:
        counts.append(other.step())

    arrive(nova, "stripe", {"id": "evt_1"})
    nova.clock.advance(3)  # type: ignore[attr-defined]
    assert Processor(nova, sync=slow).step() == 1
    assert counts == [0]


def test_the_manager_looks_into_what_serve_left(nova: Nova) -> None:
    waiting = WaitingWebhooks(nova)
    waiting()
    nova.fleet.add_webhook(SHOP)
    arrive(nova, "shop", *[order(f"o-{number}") for number in range(3)])
    waiting()
    assert states(nova) == {"done": 3}


def test_an_id_is_found_by_its_beginning(nova: Nova) -> None:
    arrive(nova, "shop", order("o-1"), order("o-2"))
    assert nova.ledger.deliveries.find("shop", "d1").id == "d1"
    for id in ("d", "x", "%"):
        with pytest.raises(NotFound):
            nova.ledger.deliveries.find("shop", id)
    with pytest.raises(NotFound):
        service.replay(nova, "nobody", [], "me")


def test_whose_deliveries_are_due_is_told_the_longest_waiting_first(nova: Nova, clock: ManualClock) -> None:
    found = nova.ledger.deliveries
    assert found.endpoints_due(clock.now()) == []
    for name in ("shop", "stripe", "alpha"):
        arrive(nova, name, *[b"{}"] * 3)
        clock.advance(1)
    assert found.endpoints_due(clock.now()) == ["shop", "stripe", "alpha"]
    found.failed(found.due("shop", clock.now()), "later")
    found.done(found.due("stripe", clock.now())[:1])
    assert found.endpoints_due(clock.now()) == ["stripe", "alpha"]
    clock.advance(10)
    assert found.endpoints_due(clock.now()) == ["stripe", "alpha", "shop"]


def test_the_log_of_the_database_is_taken_in_beside_the_commits(
    open_nova: Callable[..., Nova], clock: ManualClock
) -> None:
    store = open_nova(grouped=True).ledger.store
    store.checkpoint_beside()
    body = b"x" * 900_000
    for number in range(12):
        store.apply(lambda conn, number=number: keep(conn, [Arrived("shop", f"d{number}", 0, None, body)]))
    assert store.path.stat().st_size < 5_000_000
    store.checkpoint()
    assert store.path.stat().st_size > 10_000_000
