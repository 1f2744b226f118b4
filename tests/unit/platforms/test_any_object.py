"""Whatever stands in any field of what Stripe, X and SendGrid tell: it is read, or a BadAnswer, and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from platforms import sendgrid_contacts, sendgrid_integration, sendgrid_suppressions, stripe_objects, twitter_types
from platforms.base import BadAnswer
from platforms.stripe_facts import fact_of_event, facts_in

ROW: Mapping[str, Any] = {
    "id": "x_1", "object": "x", "amount": 5, "currency": "usd", "created": 1_700_000_000, "status": "active",
    "name": "n", "url": "https://x.example/", "active": True, "reason": "r", "arrival_date": 1_700_000_000,
    "unit_amount": 5, "quantity": 1, "customer": "cus_1", "email": "ann@example.com", "contact_count": 1,
    "items": {"data": [{"id": "si_1", "quantity": 1, "price": {"id": "price_1", "unit_amount": 5, "currency": "usd",
    "recurring": {"interval": "month", "interval_count": 1}}}], "has_more": False}, "lines": {"data": []},
    "text": "t", "author_id": "7", "created_at": "2026-03-01T12:00:00Z", "public_metrics": {"like_count": 1},
    "entities": {"urls": [{"url": "https://t.co/x", "expanded_url": "https://x.example/"}]}, "username": "ann",
    "referenced_tweets": [{"type": "quoted", "id": "8"}], "metadata": {"nova_worker": "w"}, "data": [],
    "includes": {"users": [{"id": "7", "username": "ann"}]}, "result": {}, "project_usage": "5", "urls": [],
}  # fmt: skip
READERS: list[Callable[[Any], Any]] = [
    *(read for name, read in vars(stripe_objects).items() if name.endswith("_in") and callable(read)),
    lambda said: list(facts_in(said)),
    lambda said: fact_of_event({"data": {"object": said}, "type": "customer.subscription.updated", "created": 1}),
    twitter_types.post_of, twitter_types.user_of, twitter_types.usage_of, twitter_types.page_of,
    sendgrid_contacts._contact, sendgrid_contacts._contacts, sendgrid_contacts._list, sendgrid_contacts._by_email,
    sendgrid_suppressions._group, lambda said: sendgrid_suppressions._suppression(said, "bounce"),
    sendgrid_integration._template, sendgrid_integration._days,
]  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from([2**63, 10**40]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(sorted(ROW)), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=600)
@given(st.sampled_from(READERS), st.dictionaries(st.sampled_from(sorted(ROW)), values, max_size=3), values)
def test_any_object_is_read_or_refused(read: Callable[[Any], Any], changed: Mapping[str, Any], whole: Any) -> None:
    for said in ({**ROW, **changed}, whole):
        with contextlib.suppress(BadAnswer):
            read(said)
