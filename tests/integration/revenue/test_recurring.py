"""From a platform's subscriptions to the figures of what comes back every month."""

from __future__ import annotations

from nova.bootstrap import Nova
from nova.clock import ManualClock
from nova.demo.storefront import Storefront
from nova.revenue.analytics.cohorts import cohort_table
from nova.revenue.analytics.recurring import recurring
from nova.revenue.sync import sync


def test_a_sync_brings_subscriptions_and_who_pays_for_them(nova: Nova, store: Storefront, clock: ManualClock) -> None:
    store.subscribe("20.00", worker="mailer")
    store.subscribe("30.00", worker="poster")
    clock.advance(60)
    sync(nova)
    sync(nova)
    found = recurring(nova)
    assert (found["mrr"], found["customers"], found["arpa"], found["problems"]) == ("50.00", 2, "25.00", [])
    assert recurring(nova, worker="mailer")["mrr"] == "20.00"
    (paid,) = cohort_table(nova, of="payment")["cohorts"]
    (subscribed,) = cohort_table(nova, of="subscription")["cohorts"]
    assert paid["customers"] == subscribed["customers"] == 2
