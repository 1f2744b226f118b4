"""Whose a payment is: a person's word, a claim, whose it is already, the tag. In that order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova.ledger.claims import Claim
from nova.revenue.resolve import NOBODY, Attribution, resolve
from platforms.events import Tag

NOW = datetime(2026, 5, 1, tzinfo=UTC)
TAG = Tag("tagged", "charge.metadata")
OWNER = Attribution("owner", "metadata", "charge.metadata.nova_worker")


def claim(worker: str, *, by: str = "claim", object: str = "pi_1", minutes: int = 0) -> Claim:
    return Claim("stripe", object, worker, "run-1" if by == "claim" else None, by, NOW + timedelta(minutes=minutes))


def test_a_person_comes_before_a_claim() -> None:
    found = resolve([claim("claimer"), claim("chosen", by="dana", object="ch_1", minutes=9)], OWNER, TAG)
    assert (found.worker, found.model, found.evidence, found.firm) == ("chosen", "manual", "by dana", True)


def test_a_claim_comes_before_a_tag() -> None:
    found = resolve([claim("claimer")], OWNER, TAG)
    assert found == Attribution("claimer", "claim", "claim of pi_1", "run-1", firm=True)


def test_the_first_claim_wins() -> None:
    assert resolve([claim("late", minutes=1, object="ch_1"), claim("early")], None, None).worker == "early"


def test_whose_it_is_already_comes_before_a_tag() -> None:
    assert resolve([], OWNER, TAG) == OWNER


def test_a_tag_says_where_it_was_found() -> None:
    assert resolve([], None, TAG) == Attribution("tagged", "metadata", "charge.metadata.nova_worker")


@pytest.mark.parametrize("name", ["a/b", "", "   ", "x" * 65, "a\nb"])
def test_a_tag_that_can_be_no_worker_is_nobodys(name: str) -> None:
    assert resolve([], None, Tag(name, "charge.metadata")) == NOBODY


def test_without_any_of_them_it_is_nobodys() -> None:
    assert resolve([], None, None) == NOBODY
    assert resolve([], NOBODY, None) == NOBODY


claims = st.lists(
    st.builds(
        claim,
        st.sampled_from(["a", "b"]),
        by=st.sampled_from(["claim", "dana"]),
        object=st.sampled_from(["pi_1", "ch_1", "txn_1"]),
        minutes=st.integers(0, 5),
    ),
    max_size=4,
    unique_by=lambda one: one.object,
)


@given(claims, st.randoms())
def test_the_order_of_the_claims_does_not_matter(said: list[Claim], random: object) -> None:
    shuffled = list(said)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert resolve(shuffled, None, TAG) == resolve(said, None, TAG)
