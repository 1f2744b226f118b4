"""What follows from a delivery of each sender, booked and marked as done in one transaction."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, cast

from nova.ledger import deliveries, suppressions, touches
from nova.ledger.deliveries import Delivery
from nova.ledger.entries import find_entries
from nova.ledger.touches import Touch
from nova.people import subject_of_email
from nova.revenue import booking
from nova.revenue.subscriptions import event_of
from nova.revenue.sync import one_at_a_time
from nova.webhooks.bodies import BadDelivery, MailEvent, Nothing, mail_events, read_form, read_json, sale_of
from platforms.events import PlatformEvent, SubscriptionFact

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from nova.fleet.webhooks import WebhookSender
    from nova.ledger.store import Store
    from nova.webhooks.office import Office

log = logging.getLogger(__name__)

_GAP_S = 0.02  # between two pings: a sync that waits comes in there
_TOUCHES = {"open": "mail_open", "click": "mail_click"}
_PINGS_OF_SUBSCRIPTIONS = ("cancellation", "subscription_updated", "subscription_ended", "subscription_restarted")
_PINGS_OF_SALES = ("sale", "refund", "refunded", "dispute", "dispute_won", "")


class Sales(Protocol):
    def sale_events(self, sale_id: str, ping: Mapping[str, str] | None = None) -> Sequence[PlatformEvent]:
        """Of one sale as Gumroad tells it now, with the address that the ping names. Raises Missing."""
        ...

    def facts_of_subscription(self, id: str) -> Sequence[SubscriptionFact]:
        """All that is known of one subscription. Raises Missing."""
        ...

    def close(self) -> None: ...


Settled = Callable[["Connection", "Store", PlatformEvent], PlatformEvent]


@dataclass(frozen=True, slots=True)
class Kept:
    """A delivery, and the program around it."""

    nova: Office
    delivery: Delivery

    def done(self, remark: str | None = None) -> str | None:
        self.nova.ledger.deliveries.done([self.delivery], remark)
        return remark

    def book(self, told: Sequence[PlatformEvent], settled: Settled | None = None) -> str:
        """Raises BadDelivery, with nothing booked, where the ledger holds something else under the same id."""
        store, now = self.nova.ledger.store, self.nova.clock.now()

        def work(conn: Connection) -> str:
            events = told if settled is None else [settled(conn, store, event) for event in told]
            tags = {event.id: event.tag for event in events if event.tag is not None}
            booked = booking.book(conn, store, told[0].source, events, tags)
            if booked.conflicts:
                raise BadDelivery(booked.conflicts[0])
            remark = f"{len(booked.new)} booked" if booked.new else "booked before"
            deliveries.done(conn, [self.delivery], now, remark)
            return remark

        return self.nova.ledger.apply(work)


def _as_it_stands(conn: Connection, store: Store, event: PlatformEvent) -> PlatformEvent:
    """A sender's messages come in any order, so none restates another: the first word on an id holds."""
    known = find_entries(conn, store, [(event.source, event.id)]).get((event.source, event.id))
    if known is None:
        return event
    if known.effect != event.effect:
        there, now = (f"{one} {one.currency}" for one in (known.effect, event.effect))
        raise BadDelivery(f"{known.ref} is in the ledger as {there}, not {now}")
    return replace(event, at=known.entry.at)


def sale(kept: Kept, sender: WebhookSender) -> str | None:
    """What a declared sender tells of a sale or a refund."""
    one = kept.delivery
    told = sale_of(sender, one.body, one.received_at, kept.nova.ledger.store.currency)
    return kept.done(told.why) if isinstance(told, Nothing) else kept.book([told], _as_it_stands)


def asks_for_sync(one: Delivery) -> bool:
    """Whether a ping of Gumroad is about no one sale or subscription: then all that Gumroad tells is fetched."""
    try:
        said = _ping(one.body)
    except BadDelivery:
        return False
    resource = said.get("resource_name", "")
    of_one = (resource in _PINGS_OF_SALES and "sale_id" in said) or _of_subscription(said)
    return said.get("test") != "true" and not of_one


def _of_subscription(said: Mapping[str, str]) -> bool:
    return said.get("resource_name", "") in _PINGS_OF_SUBSCRIPTIONS and "subscription_id" in said


def gumroad_ping(kept: Kept) -> str | None:
    """A ping proves nothing: the sale, or the subscription, is fetched again. Raises LockHeld while another syncs."""
    from platforms.registry import revenue_platform

    said = _ping(kept.delivery.body)
    if said.get("test") == "true":
        return kept.done("a test: nothing to book")
    with (
        one_at_a_time(kept.nova.settings.run_dir, "gumroad"),
        closing(cast("Sales", revenue_platform(kept.nova.settings, "gumroad", kept.nova.exchange.alone))) as client,
    ):
        remark = _fetched(kept, client, said)
    time.sleep(_GAP_S)
    return remark


def _fetched(kept: Kept, client: Sales, said: Mapping[str, str]) -> str | None:
    if _of_subscription(said):
        told = [event_of(fact) for fact in client.facts_of_subscription(said["subscription_id"])]
        kept.nova.ledger.subscriptions.put(told)
        return kept.done(f"{len(told)} facts of a subscription")
    events = client.sale_events(said["sale_id"], said)
    return kept.book(events) if events else kept.done("a sale without money: nothing to book")


def _ping(body: bytes) -> dict[str, str]:
    if body.lstrip().startswith(b"{"):
        read = read_json(body)
        found = {key: one for key, one in read.items() if isinstance(one, str)}
    else:
        found = read_form(body)
    if not found:
        raise BadDelivery("the body is no ping of Gumroad")
    return found


def mail_report(kept: Kept) -> str:
    """Who opened and clicked what, and who is not to be written to any more. Addresses stay in the delivery."""
    events = mail_events(kept.delivery.body)
    counts = ", ".join(f"{number} {kind}" for kind, number in sorted(Counter(one.kind for one in events).items()))

    def work(conn: Connection) -> None:
        touches.add(conn, [touch for one in events if (touch := _touch(one)) is not None])
        for one in events:
            if one.suppressed is not None:
                suppressions.add(conn, [subject_of_email(one.address)], one.suppressed, "sendgrid", one.at)
        deliveries.done(conn, [kept.delivery], kept.nova.clock.now(), counts)

    kept.nova.ledger.apply(work)
    return counts


def _touch(one: MailEvent) -> Touch | None:
    kind = _TOUCHES.get(one.kind)
    if kind is None or one.worker is None:
        return None
    subject = subject_of_email(one.address)
    return Touch(f"sendgrid:{one.id}", subject, one.worker, kind, one.at, "mail", one.campaign)
