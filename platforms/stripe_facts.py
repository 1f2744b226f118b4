"""What became of an account's subscriptions, for what comes back monthly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from nova.money import Money
from platforms.events import SubscriptionFact, SubscriptionKind
from platforms.reading import readable
from platforms.stripe_mapping import SOURCE, Json, expanded, instant
from platforms.stripe_objects import subscription_in
from platforms.stripe_requests import Requests

_KEPT = timedelta(days=29)  # Stripe tells what happened for 30 days
_TYPES = [f"customer.subscription.{what}" for what in ("created", "updated", "deleted", "paused", "resumed")]
_PAYING = {"active", "past_due", "unpaid"}


def facts_of(requests: Requests, since: datetime | None, now: datetime) -> Iterator[SubscriptionFact]:
    """What is longer ago than Stripe tells events: as every subscription has it now. Then the events, which know it
    better.
    """
    if since is None or since < now - _KEPT:
        for said in requests.rows("/v1/subscriptions", {"status": "all"}):
            yield from (fact for fact in facts_in(said) if since is None or fact.at >= since)
    floor = {"gte": int(since.timestamp())} if since is not None else None
    for event in requests.rows("/v1/events", {"types": _TYPES, "created": floor}):
        fact = fact_of_event(event)
        if fact is not None:
            yield fact


@readable(SOURCE)
def facts_in(said: Json) -> tuple[SubscriptionFact, ...]:
    """As if it had always been as it is now, where it does not say otherwise."""
    return tuple(_facts_in(said))


def _facts_in(said: Json) -> Iterator[SubscriptionFact]:
    ended, cancelled, paused_in = said.get("ended_at"), said.get("canceled_at"), _period_start(said)
    paying = {**said, "status": "active", "pause_collection": None} if ended or _is_paused(said) else said
    yield _fact(paying, "started", said["created"])
    if cancelled:
        yield _fact(paying, "cancelled", cancelled)
    if ended:
        yield _nothing(said, "ended", ended)
    elif _is_paused(said) and paused_in is not None:
        yield _nothing(said, "paused", paused_in)


@readable(SOURCE)
def fact_of_event(event: Json) -> SubscriptionFact | None:
    said, what = event["data"]["object"], event["type"].rpartition(".")[2]
    before = expanded(event["data"].get("previous_attributes")) or {}
    if what == "created":
        return _fact(said, "started", said["created"])
    if what == "deleted":
        return _nothing(said, "ended", said.get("ended_at") or event["created"])
    if what == "paused":
        return _nothing(said, "paused", event["created"])
    kind = "resumed" if what == "resumed" else _change(said, before)
    if kind == "cancelled":
        return _fact(said, kind, said.get("canceled_at") or event["created"])
    return None if kind is None else _fact(said, kind, event["created"])


def _change(said: Json, before: Json) -> SubscriptionKind | None:
    if "pause_collection" in before:
        return "paused" if said.get("pause_collection") else "resumed"
    if "cancel_at_period_end" in before or "cancel_at" in before:
        return "cancelled" if said.get("cancel_at_period_end") or said.get("cancel_at") else "resumed"
    return "changed" if any(name in before for name in ("items", "plan", "quantity", "status")) else None


def _fact(said: Json, kind: SubscriptionKind, at: int) -> SubscriptionFact:
    one = subscription_in(said)
    paying = said["status"] in _PAYING and not _is_paused(said)
    monthly = one.monthly if paying else Money.zero(one.monthly.currency)
    product = next((item.price.product for item in one.items), None)
    return SubscriptionFact(SOURCE, one.id, instant(at), kind, one.customer, product, monthly, one.worker)


def _nothing(said: Json, kind: SubscriptionKind, at: int) -> SubscriptionFact:
    fact = _fact(said, kind, at)
    return replace(fact, monthly=Money.zero(fact.monthly.currency))


def _is_paused(said: Json) -> bool:
    return bool(said.get("pause_collection")) or said["status"] == "paused"


def _period_start(said: Json) -> int | None:
    """Since when it is paused, nobody says: since the period it is in."""
    starts = [row.get("current_period_start") for row in said["items"]["data"]]
    start: int | None = said.get("current_period_start") or next((one for one in starts if one), None)
    return start
