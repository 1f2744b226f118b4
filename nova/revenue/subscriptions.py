"""Keeps what platforms tell of subscriptions, beside the money: for the figures of what comes back every month."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING

from nova.errors import PlatformRefused, Unreachable
from nova.ledger.subscriptions import SubscriptionEvent
from nova.people import subject_of, subject_of_email
from nova.revenue.recheck import recheck_of
from platforms.base import PlatformFailed

if TYPE_CHECKING:
    from nova.ledger.ledger import Ledger
    from platforms.events import SubscriptionFact, SubscriptionPlatform

log = logging.getLogger(__name__)

_BATCH = 500


def cursor_of(source: str) -> str:
    """A name that no source of money can have."""
    return f"{source}/subscriptions"


def follow(ledger: Ledger, client: SubscriptionPlatform, source: str, overlap: timedelta) -> None:
    """Reads on where the last reading began. A platform that will not tell is noted, and stops no money."""
    name, now = cursor_of(source), ledger.store.clock.now()
    covered = ledger.cursors.get(name).covered_at
    since = None if covered is None else min(covered, now) - max(overlap, recheck_of(client, covered, now))
    try:
        for facts in _batches(iter(client.subscription_facts(since))):
            ledger.subscriptions.put([event_of(fact) for fact in facts])
    except (PlatformFailed, PlatformRefused, Unreachable) as problem:
        ledger.cursors.failed(name, problem.message)
        log.warning(
            "subscriptions_failed",
            extra={"action": "subscriptions_failed", "source": source, "error": problem.message},
        )
    else:
        ledger.cursors.succeeded(name, None, now)


def event_of(fact: SubscriptionFact) -> SubscriptionEvent:
    """As the ledger keeps it, without the customer's name."""
    subject = None if fact.customer is None else _subject(fact.source, fact.customer)
    return SubscriptionEvent(fact.source, fact.id, fact.at, fact.kind, fact.monthly, subject, fact.worker, fact.product)


def _subject(source: str, customer: str) -> str:
    return subject_of_email(customer) if "@" in customer else subject_of(source, customer)


def _batches(facts: Iterator[SubscriptionFact]) -> Iterator[list[SubscriptionFact]]:
    while batch := list(islice(facts, _BATCH)):
        yield batch
