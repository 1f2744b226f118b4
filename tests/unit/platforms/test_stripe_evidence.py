"""What a charge at Stripe tells of who paid and of what led there."""

from __future__ import annotations

from typing import Any

from nova.people import subject_of, subject_of_click, subject_of_email
from platforms.stripe_evidence import evidence_in, subjects_in

CHARGE: dict[str, Any] = {
    "id": "ch_1",
    "customer": "cus_1",
    "billing_details": {"email": "Ann@example.com"},
    "metadata": {"nova_link": "abc", "utm_campaign": " may "},
    "payment_intent": {"id": "pi_1", "metadata": {"nova_click": "c1", "nova_link": "other", "nova_coupon": "TEN"}},
}


def test_what_led_to_a_payment_stands_in_its_metadata() -> None:
    assert evidence_in(CHARGE) == {"link": "abc", "campaign": "may", "coupon": "TEN"}


def test_who_paid_is_known_by_every_name_and_none_is_plain() -> None:
    subjects = subjects_in(CHARGE)
    assert subjects == (subject_of("stripe", "cus_1"), subject_of_email("ann@example.com"), subject_of_click("c1"))
    assert "example.com" not in str(subjects)
    assert subjects_in({**CHARGE, "customer": {"id": "cus_1"}}) == subjects


def test_a_charge_without_any_tells_nothing() -> None:
    for charge in (None, {}, {"metadata": None, "billing_details": None, "payment_intent": "pi_1", "customer": None}):
        assert evidence_in(charge) == {} and subjects_in(charge) == ()
    assert evidence_in({"metadata": {"nova_link": " "}}) == {}
